"""The ASDF tree a FITS product carries in its last extension, and .asdf files.

The tree is YAML. It is read with PyYAML and written by `yaml_text`, so that a
product does not cost the import of the asdf package; nodes with tags stay what they
are and are written again.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from lightmill.errors import CorruptFileError, DataError
from lightmill.models.checker import plain
from lightmill.models.yaml_text import NotPlain, block

__all__ = ["AsdfSection", "ObjectNode", "Tagged", "array_reference", "array_tag", "dump_tree"]

TAG = "tag:stsci.edu:asdf/"
_SHORT_TAG = re.compile(r"[A-Za-z0-9_./-]+\Z")
_WHOLE_TAG = re.compile(r"tag:[A-Za-z0-9_./:-]+\Z")
_NDARRAY = re.compile(re.escape(TAG) + r"core/ndarray-")
_HEADER = "#ASDF 1.0.0\n#ASDF_STANDARD {standard}\n"
STANDARD = "1.6.0"
_STANDARD = re.compile(rb"#ASDF_STANDARD (\d+\.\d+\.\d+)\r?\n")
_BLOCK = b"\xd3BLK"
_INDEX = b"#ASDF BLOCK INDEX"
MAX_DEPTH = 200


class Tagged:
    """A node with a tag, kept as it is."""

    __slots__ = ("tag", "value")

    def __init__(self, tag: str, value: Any) -> None:
        self.tag = tag
        self.value = value

    def __repr__(self) -> str:
        return f"<{self.tag.removeprefix(TAG)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tagged) and (self.tag, self.value) == (other.tag, other.value)

    __hash__ = None  # type: ignore[assignment]  # holds mutable values


class ObjectNode(Tagged):
    """A node of a tree whose object is at hand; its tag and value are made when written.

    Parameters
    ----------
    held : object
        What the node stands for.
    """

    __slots__ = ("_nodes", "held")

    def __init__(self, held: Any) -> None:
        self.held = held
        self._nodes: dict[str, Tagged] = {}  # by version of the standard

    @property
    def tag(self) -> str:  # type: ignore[override]  # made when asked for
        """The tag."""
        return self._made().tag

    @property
    def value(self) -> Any:
        """The content."""
        return self._made().value

    def of(self, standard: str) -> Tagged:
        """Return the node with the tags of a version of the standard."""
        if standard not in self._nodes:
            from lightmill.models.content import node_of  # which needs this module

            self._nodes[standard] = node_of(self.held, standard)
        return self._nodes[standard]

    def _made(self) -> Tagged:
        return self.of(STANDARD)

    def __repr__(self) -> str:
        return f"<{type(self.held).__name__}>"

    __hash__ = None


class AsdfSection:
    """The bytes of an ASDF file inside a FITS file, read when asked for.

    Parameters
    ----------
    load : callable
        Returns the bytes.
    place : str
        Name for error messages, ``file[ASDF]``.
    """

    __slots__ = ("_bytes", "_load", "_replaced", "_tree", "place")

    def __init__(self, load: Any, place: str) -> None:
        self._load = load
        self.place = place
        self._bytes: bytes | None = None
        self._tree: dict[str, Any] | None = None
        self._replaced = False

    @property
    def content(self) -> bytes:
        """The bytes."""
        if self._bytes is None:
            self._bytes = self._load()
        return self._bytes

    def may_hold(self, name: str) -> bool:
        """Whether a name occurs in the text at all; if not, the tree need not be read."""
        return name.encode() in self.content

    def tree(self) -> dict[str, Any]:
        """Return the whole tree.

        Raises
        ------
        CorruptFileError
            If the bytes are not an ASDF tree.
        """
        if self._tree is None:
            self._tree = self._parsed()
        return self._tree

    def replace(self, tree: dict[str, Any]) -> None:
        """Let a tree that needs no binary blocks stand for the bytes."""
        self._tree = tree
        self._replaced = True

    def meta(self) -> dict[str, Any]:
        """Return the metadata part of the tree."""
        meta = self.tree().get("meta")
        return meta if isinstance(meta, dict) else {}

    def rest(self) -> dict[str, Any]:
        """Return what is neither metadata, nor an array of an extension, nor bookkeeping."""
        own = {"meta", "asdf_library", "history", "_fits_hash", "extra_fits", "lightmill"}
        return {
            key: value
            for key, value in self.tree().items()
            if key not in own and not _refers_to_fits(value)
        }

    def standard(self) -> str:
        """Return the version of the standard whose tags the tree has."""
        found = _STANDARD.search(self.content[:200])
        return found[1].decode() if found else STANDARD

    def blocks(self) -> bytes:
        """Return the binary blocks behind the tree, without their index."""
        if self._replaced:
            return b""
        start = self.content.find(_BLOCK, _end_of_yaml(self.content))
        if start < 0:
            return b""
        end = self.content.rfind(_INDEX)
        return self.content[start : end if end > start else None]

    def history(self) -> list[str]:
        """Return the descriptions of the history entries."""
        history = self.tree().get("history")
        entries = history.get("entries", []) if isinstance(history, dict) else history
        found = []
        for entry in entries if isinstance(entries, list) else []:
            value = entry.value if isinstance(entry, Tagged) else entry
            if isinstance(value, dict) and "description" in value:
                found.append(str(value["description"]))
        return found

    def _parsed(self) -> dict[str, Any]:
        content = self.content
        if not content.strip(b"\0 \n"):
            return {}
        if not content.startswith(b"#ASDF"):
            raise self._damaged(content[:30], "#ASDF")
        import yaml

        text = content[: _end_of_yaml(content)]
        try:
            tree = yaml.load(text, Loader=_loader())  # noqa: S506 - derived from a safe loader
        except (yaml.YAMLError, ValueError, TypeError, RecursionError, KeyError, AttributeError,
                OverflowError) as error:  # fmt: skip
            raise self._damaged(error, "a tree in YAML") from error
        if isinstance(tree, Tagged):
            tree = tree.value
        if tree is None:
            return {}
        if not isinstance(tree, dict):
            raise self._damaged(type(tree).__name__, "a mapping")
        return tree

    def _damaged(self, found: object, expected: str) -> CorruptFileError:
        return CorruptFileError(
            "the ASDF tree is damaged",
            place=self.place,
            found=found,
            expected=expected,
            remedy="fetch the file again, or delete the ASDF extension: the headers repeat it",
        )


def array_tag(standard: str = STANDARD) -> str:
    """Return the tag of arrays in a version of the standard."""
    version = tuple(map(int, standard.split(".")))
    return f"{TAG}core/ndarray-1.{0 if version < (1, 6, 0) else 1}.0"


def array_reference(
    extension: str, version: int, shape: tuple[int, ...], dtype: Any, standard: str = STANDARD
) -> Tagged:
    """Return the node that stands for an array of an extension."""
    return Tagged(
        array_tag(standard),
        {
            "source": f"fits:{extension},{version}",
            "datatype": dtype,
            "byteorder": "big",
            "shape": [int(length) for length in shape],
        },
    )


def datatype_of(dtype: np.dtype) -> Any:
    """Return how ASDF names a dtype: a word, or a list for a table."""
    if dtype.names:
        columns = []
        for name in dtype.names:
            field = dtype[name]
            column: dict[str, Any] = {
                "name": name, "datatype": datatype_of(field.base), "byteorder": "big",
            }  # fmt: skip
            if field.shape:
                column["shape"] = list(field.shape)
            columns.append(column)
        return columns
    if dtype.kind == "S":
        return ["ascii", dtype.itemsize]
    if dtype.kind == "U":
        return ["ascii", dtype.itemsize // 4]
    return "bool8" if dtype.kind == "b" else dtype.name


def dump_tree(tree: Mapping[str, Any], blocks: bytes = b"", standard: str = STANDARD) -> bytes:
    """Return an ASDF file of a tree: header, YAML, and the binary blocks as given.

    Parameters
    ----------
    tree : mapping
    blocks : bytes
    standard : str
        Version of the standard whose tags the tree has.
    """
    whole = {
        "asdf_library": Tagged(
            f"{TAG}core/software-1.0.0", {"name": "lightmill", "version": _version()}
        ),
        **tree,
    }
    root = Tagged(f"{TAG}core/asdf-1.1.0", whole)
    try:
        text = f"%YAML 1.1\n%TAG ! {TAG}\n--- {block(root, _tag_of)}...\n".encode()
    except NotPlain:
        text = dump_any(root)
    return _HEADER.format(standard=standard).encode() + text + blocks


def _tag_of(value: Any) -> tuple[str, Any] | None:
    """Return the short tag and the content of a tagged node; None of any other."""
    if not isinstance(value, Tagged):
        return None
    tag = value.tag
    short = tag.removeprefix(TAG)
    if short != tag and _SHORT_TAG.match(short):
        return f"!{short}", value.value
    if not _WHOLE_TAG.match(tag):
        raise NotPlain
    return f"!<{tag}>", value.value


def dump_any(root: Tagged) -> bytes:
    """Return a tree as PyYAML spells it: slowly, but whatever is in it.

    Raises
    ------
    DataError
        If it holds what YAML cannot carry.
    """
    import yaml

    try:
        return bytes(
            yaml.dump(
                root,
                Dumper=_dumper(),
                version=(1, 1),
                tags={"!": TAG},
                explicit_start=True,
                explicit_end=True,
                sort_keys=False,
                allow_unicode=True,
                width=100,
                encoding="utf-8",
            )
        )
    except yaml.YAMLError as error:
        raise DataError(
            "the tree holds something YAML cannot carry",
            place="ASDF",
            found=error,
            expected="numbers, text, lists and mappings",
        ) from error


def _version() -> str:
    return str(getattr(sys.modules.get("lightmill"), "__version__", "0"))


def _refers_to_fits(value: Any) -> bool:
    if not isinstance(value, Tagged) or not _NDARRAY.match(value.tag):
        return False
    source = value.value.get("source") if isinstance(value.value, dict) else None
    return isinstance(source, str) and source.startswith("fits:")


def _end_of_yaml(content: bytes) -> int:
    match = re.search(rb"\n\.\.\.\r?\n", content)
    return match.end() if match else len(content)


@functools.cache
def _loader() -> Any:
    import yaml

    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc, valid-type]  # chosen at run time
        """Keeps nodes with tags."""

    def construct(loader: Any, suffix: str, node: Any) -> Tagged:
        if isinstance(node, yaml.MappingNode):
            value = loader.construct_mapping(node, deep=True)
        elif isinstance(node, yaml.SequenceNode):
            value = loader.construct_sequence(node, deep=True)
        else:
            value = loader.construct_scalar(node)
        return Tagged(suffix, value)

    Loader.add_multi_constructor("", construct)
    return Loader


@functools.cache
def _dumper() -> Any:
    import yaml

    base = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc, valid-type]  # chosen at run time
        """Writes nodes with tags, small mappings of scalars on one line."""

    def represent(dumper: Any, tagged: Tagged) -> Any:
        value = tagged.value
        if isinstance(value, Mapping):
            return dumper.represent_mapping(tagged.tag, value)
        if isinstance(value, (list, tuple)):
            return dumper.represent_sequence(tagged.tag, value)
        return dumper.represent_scalar(tagged.tag, str(value))

    def represent_complex(dumper: Any, value: complex) -> Any:
        text = f"{value.real!r}{value.imag:+}j"
        return dumper.represent_scalar(f"{TAG}core/complex-1.0.0", text)

    Dumper.add_representer(Tagged, represent)
    Dumper.add_representer(complex, represent_complex)
    Dumper.add_multi_representer(np.generic, lambda d, value: d.represent_data(plain(value)))
    Dumper.add_multi_representer(np.ndarray, lambda d, value: d.represent_data(value.tolist()))
    Dumper.add_representer(tuple, lambda d, value: d.represent_list(list(value)))
    Dumper.add_multi_representer(Mapping, lambda d, value: d.represent_dict(dict(value)))
    return Dumper
