"""The tables of the archive store.

Nothing is deleted. Rows of `events` are never changed, which triggers see to; of the other tables
only the columns change that say how far something has come. Only `snapshots`, which follow from
events, are replaced.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

__all__ = [
    "awaited",
    "candidates",
    "datasets",
    "events",
    "inputs",
    "jobs",
    "metadata",
    "settings",
    "snapshots",
    "tasks",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_KEY = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER counts up by itself there

events = Table(
    "events",
    metadata,
    # The order of things is this number, not the time of a clock.
    Column("seq", _KEY, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),  # seconds since 1970 by the clock of who wrote it
    Column("kind", String(40), nullable=False),  # DatasetArrived, TaskStarted …
    Column("subject", String(20), nullable=False),  # dataset, candidate, task, job, store
    Column("subject_id", _KEY),
    Column("who", String(80), nullable=False, server_default="service"),
    Column("told", JSON, nullable=False),
    Index("ix_events_subject_id", "subject", "subject_id"),
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("name", String(200), nullable=False),  # of the file
    Column("revision", Integer, nullable=False),  # 1, 2, … as they arrived
    Column("generation", String(32), nullable=False),  # sortable date, of the data, not of arrival
    Column("sha256", String(64), nullable=False),
    # Of what it says, without how and when it was written; empty: its bytes are what it says.
    Column("content", String(64), nullable=False, server_default=""),
    Column("size", BigInteger, nullable=False),
    Column("path", Text, nullable=False),  # below the archive's folder
    Column("kind", String(20), nullable=False),  # exposure, product, companion
    Column("suffix", String(40), nullable=False, server_default=""),  # uncal, rate, i2d …
    Column("state", String(12), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("program", String(40), nullable=False, server_default=""),
    Column("target", String(120), nullable=False, server_default=""),
    Column("facts", JSON, nullable=False),  # the row of the pool, for exposures
    Column("belongs", JSON, nullable=False, server_default="{}"),  # candidates, what it announces
    Column("job_id", _KEY, ForeignKey("jobs.id")),  # that made it
    Column("arrived_at", Float, nullable=False),
    UniqueConstraint("name", "revision"),
    Index("ix_datasets_program", "program"),
    Index("ix_datasets_sha256", "sha256"),
    Index("ix_datasets_state_kind", "state", "kind"),
    Index("ix_datasets_state_id", "state", "id"),  # lists of a state, the newest first
    Index("ix_datasets_job_id", "job_id"),
    Index(
        "uq_datasets_current",
        "name",
        unique=True,
        sqlite_where=text("state = 'CURRENT'"),
        postgresql_where=text("state = 'CURRENT'"),
    ),
)

candidates = Table(
    "candidates",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("program", String(40), nullable=False),
    Column("name", String(40), nullable=False),  # o001, c1000 …
    Column("expected", Integer),  # exposures; None where no header tells
    Column("present", Integer, nullable=False, server_default="0"),
    Column("announced", JSON, nullable=False, server_default="{}"),  # group → [announced, present]
    Column("state", String(12), nullable=False),
    Column("changed_at", Float, nullable=False),  # last arrival
    Column("is_dirty", Boolean, nullable=False),  # its associations are not those of its exposures
    UniqueConstraint("program", "name"),
    Index("ix_candidates_is_dirty", "is_dirty"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    # What stays the same from version to version: program, candidate, rule and products.
    Column("identity", String(400), nullable=False),
    Column("version", Integer, nullable=False),
    Column("name", String(200), nullable=False),  # of the association's file, or of the exposure's
    Column("type", String(40), nullable=False),  # exposure, image2, image3, spec2 …
    Column("level", Integer, nullable=False),
    Column("pipeline", String(80), nullable=False),
    Column("program", String(40), nullable=False, server_default=""),
    Column("candidate", String(40), nullable=False, server_default=""),
    Column("target", String(120), nullable=False, server_default=""),
    Column("document", JSON),  # the association
    Column("document_sha256", String(64), nullable=False, server_default=""),
    Column("state", String(12), nullable=False),
    Column("missing", Integer, nullable=False),  # of the watch list
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("memory_factor", Float, nullable=False, server_default="1"),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("reason", Text, nullable=False, server_default=""),
    Column("held_from", String(12), nullable=False, server_default=""),
    Column("changed", Text, nullable=False, server_default=""),  # what is not asked for yet
    Column("since_at", Float, nullable=False),  # when the state began
    Column("turn", Integer, nullable=False, server_default="0"),  # counts changes: who was first
    UniqueConstraint("identity", "version"),
    CheckConstraint("missing >= 0", name="missing"),
    Index("ix_tasks_state_id", "state", "id"),
    Index("ix_tasks_state_since_at", "state", "since_at"),  # who waits longest
    Index("ix_tasks_program", "program"),
)

awaited = Table(
    "awaited",
    metadata,
    Column("task_id", _KEY, ForeignKey("tasks.id"), primary_key=True),
    Column("name", String(200), primary_key=True),  # of the dataset
    Column("role", String(40), nullable=False, server_default=""),  # science, background …
    Column("is_present", Boolean, nullable=False),
    # False: it has to be there, but the task is not made of it.
    Column("is_content", Boolean, nullable=False, server_default=text("true")),
    Index("ix_awaited_name", "name"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("task_id", _KEY, ForeignKey("tasks.id"), nullable=False),
    Column("number", Integer, nullable=False),  # of the attempt
    Column("state", String(12), nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("not_before", Float, nullable=False, server_default="0"),
    Column("memory_mb", Float, nullable=False, server_default="0"),  # that it asks for
    Column("cores", Integer, nullable=False, server_default="1"),
    Column("engine", String(40), nullable=False, server_default=""),
    Column("handle", String(200), nullable=False, server_default=""),  # what the engine calls it
    Column("is_cancelled", Boolean, nullable=False, server_default=text("false")),
    Column("queued_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("exit_status", Integer),
    Column("peak_mb", Float),
    Column("cpu_s", Float),
    Column("reason", Text, nullable=False, server_default=""),  # why it failed
    Column("command", JSON),  # words for the shell that do the same
    Column("made_with", JSON),  # versions of software and steps, context and names of references
    UniqueConstraint("task_id", "number"),
    Index("ix_jobs_state", "state", "not_before"),
    Index("ix_jobs_state_id", "state", "id"),
    Index("ix_jobs_ended_at", "ended_at"),
)

inputs = Table(
    "inputs",
    metadata,
    Column("job_id", _KEY, ForeignKey("jobs.id"), primary_key=True),
    Column("dataset_id", _KEY, ForeignKey("datasets.id"), primary_key=True),
    Index("ix_inputs_dataset_id", "dataset_id"),
)

settings = Table(
    "settings",
    metadata,
    Column("name", String(60), primary_key=True),
    Column("value", JSON, nullable=False),
)

snapshots = Table(  # what events add up to: disposable
    "snapshots",
    metadata,
    Column("subject", String(20), primary_key=True),  # of the events
    Column("part", String(40), primary_key=True),  # empty: the one that is read first
    Column("seq", BigInteger, nullable=False),  # last event it knows
    Column("made_by", String(64), nullable=False),  # digest of the code that made it
    Column("sha256", String(64), nullable=False),  # of the content
    Column("content", LargeBinary, nullable=False),
)
