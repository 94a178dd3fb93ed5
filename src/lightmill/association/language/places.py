"""Where in a YAML file something stands: looked up only for the sake of an error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["place_of"]


def place_of(path: str, where: Sequence[str | int]) -> str:
    """Return ``file:line:column`` of a part of a YAML file.

    Parameters
    ----------
    path : str
        The file; what is no file that can be read is returned as it is.
    where : sequence of str and int
        Keys and indices, from the outside in; as far as they lead.
    """
    import yaml

    try:
        node = yaml.compose(Path(path).read_bytes(), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return path
    mark = None if node is None else node.start_mark
    for step in where:
        if isinstance(node, yaml.MappingNode):
            pair = next((p for p in node.value if p[0].value == str(step)), None)
            if pair is None:
                break
            mark, node = pair[0].start_mark, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            if step >= len(node.value):
                break
            node = node.value[step]
            mark = node.start_mark
        else:
            break
    return path if mark is None else f"{path}:{mark.line + 1}:{mark.column + 1}"
