"""Know what products say and what they were made with, and what waits to be asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = (
    ("datasets", lambda: sa.Column("content", sa.String(64), nullable=False, server_default="")),
    ("tasks", lambda: sa.Column("changed", sa.Text, nullable=False, server_default="")),
    (
        "awaited",
        lambda: sa.Column("is_content", sa.Boolean, nullable=False, server_default=sa.text("true")),
    ),
    ("jobs", lambda: sa.Column("made_with", sa.JSON)),
)


def upgrade() -> None:
    """Make the tables of this version from those before it."""
    for table, column in COLUMNS:
        op.add_column(table, column())


def downgrade() -> None:
    """Go back to the tables of the version before."""
    for table, column in reversed(COLUMNS):
        op.drop_column(table, column().name)
