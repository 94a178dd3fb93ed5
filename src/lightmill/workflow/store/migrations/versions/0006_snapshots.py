"""Keep what a log adds up to beside it, so that it need not be read from its beginning."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of this version from those before it."""
    op.create_table(
        "snapshots",
        sa.Column("subject", sa.String(20), nullable=False),
        sa.Column("part", sa.String(40), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("subject", "part", name="pk_snapshots"),
    )


def downgrade() -> None:
    """Go back to the tables of the version before."""
    op.drop_table("snapshots")
