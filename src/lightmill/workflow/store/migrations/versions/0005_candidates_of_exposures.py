"""Know which candidates an exposure belongs to, when it is taken out or in again."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of this version from those before it."""
    op.add_column("datasets", sa.Column("belongs", sa.JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    """Go back to the tables of the version before."""
    op.drop_column("datasets", "belongs")
