"""What a log of events adds up to at one of its events, kept beside it in parts.

Everything here follows from the events and may be thrown away at any time. A part is found only
with the digest that the snapshot's head gave for it: what was damaged, or written anew by another
process meanwhile, is not there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, inspect, select

from lightmill.workflow.store import tables as t

__all__ = ["HEAD", "Head", "digest_of", "read_head", "read_parts", "write_parts"]

HEAD = ""  # name of the part that is read first
_AT_ONCE = 500  # parts asked for by name in one question


class Head(NamedTuple):
    """The part of a snapshot that is read first.

    Parameters
    ----------
    seq : int
        Last event that it knows.
    made_by : str
        Who wrote it: a digest of the code, or what else it depends on.
    content : bytes
        As it was given to `write_parts`.
    """

    seq: int
    made_by: str
    content: bytes


def digest_of(content: bytes) -> str:
    """Return the digest by which the content of a part is known.

    Parameters
    ----------
    content : bytes
        Of the part.

    Returns
    -------
    digest : str
        SHA-256, 64 hexadecimal digits.
    """
    return hashlib.sha256(content).hexdigest()


def read_head(connection: Any, subject: str) -> Head | None:
    """Return the head of a subject's snapshot.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        To the store.
    subject : str
        Of the events it is the sum of.

    Returns
    -------
    head : Head or None
        None if there is none, it is damaged, or the store is of a version without snapshots.
    """
    if not inspect(connection).has_table(t.snapshots.name):
        return None
    s = t.snapshots.c
    query = select(s.seq, s.made_by, s.sha256, s.content)
    row = connection.execute(query.where(s.subject == subject, s.part == HEAD)).first()
    if row is None or digest_of(row.content) != row.sha256:
        return None
    return Head(int(row.seq), row.made_by, bytes(row.content))


def read_parts(
    connection: Any, subject: str, digests: Mapping[str, str]
) -> Iterator[tuple[str, bytes]]:
    """Yield the parts of a snapshot that are as they were written.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        To the store.
    subject : str
        Of the snapshot.
    digests : mapping
        Name of each part → its digest.

    Yields
    ------
    part, content : str, bytes
        Parts that are missing, or not what their digest says, are left out.
    """
    s = t.snapshots.c
    query = select(s.part, s.content).where(s.subject == subject)
    names = list(digests)
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        for part, content in connection.execute(query.where(s.part.in_(some))):
            if digest_of(content) == digests[part]:
                yield part, bytes(content)


def write_parts(
    connection: Any,
    subject: str,
    head: Head,
    parts: Mapping[str, bytes],
    gone: Iterable[str] | None = (),
) -> None:
    """Replace the head and some parts of a snapshot, in the transaction of the connection.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        To the store, in a transaction.
    subject : str
        Of the events.
    head : Head
        Replaces the one there is.
    parts : mapping
        Name → content of those that changed.
    gone : iterable of str or None
        Names of parts that are no more; None: all that are not in `parts`.
    """
    made = {**parts, HEAD: head.content}
    s = t.snapshots.c
    old = delete(t.snapshots).where(s.subject == subject)
    if gone is None:
        connection.execute(old)
    else:
        names = [*made, *gone]
        for start in range(0, len(names), _AT_ONCE):
            connection.execute(old.where(s.part.in_(names[start : start + _AT_ONCE])))
    rows = [
        {"subject": subject, "part": part, "seq": head.seq, "made_by": head.made_by,
         "sha256": digest_of(content), "content": content}
        for part, content in made.items()
    ]  # fmt: skip
    connection.execute(insert(t.snapshots), rows)
