"""Find what a job made, lists of a state, who waits longest and jobs of a span of time without a search."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INDICES = (
    ("ix_datasets_job_id", "datasets", ["job_id"]),
    ("ix_datasets_state_id", "datasets", ["state", "id"]),
    ("ix_jobs_ended_at", "jobs", ["ended_at"]),
    ("ix_jobs_state_id", "jobs", ["state", "id"]),
    ("ix_tasks_state_id", "tasks", ["state", "id"]),
    ("ix_tasks_state_since_at", "tasks", ["state", "since_at"]),
)


def upgrade() -> None:
    """Make the tables of the version before those of this one."""
    op.drop_index("ix_tasks_state", "tasks")
    for name, table, columns in INDICES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    """Go back to the tables of the version before."""
    for name, table, _ in reversed(INDICES):
        op.drop_index(name, table)
    op.create_index("ix_tasks_state", "tasks", ["state"])
