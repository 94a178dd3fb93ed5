"""Know how many exposures headers announce."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of this version from those before it."""
    op.add_column(
        "candidates", sa.Column("announced", sa.JSON, nullable=False, server_default="{}")
    )


def downgrade() -> None:
    """Go back to the tables of the version before."""
    op.drop_column("candidates", "announced")
