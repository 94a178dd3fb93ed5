"""Find what a job made, lists of a state and jobs that ended in a span of time without a search."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INDICES = (
    ("ix_datasets_job_id", "datasets", ["job_id"]),
    ("ix_datasets_state_id", "datasets", ["state", "id"]),
    ("ix_jobs_ended_at", "jobs", ["ended_at"]),
)


def upgrade() -> None:
    """Make the tables of the version before those of this one."""
    for name, table, columns in INDICES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    """Go back to the tables of the version before."""
    for name, table, _ in reversed(INDICES):
        op.drop_index(name, table)
