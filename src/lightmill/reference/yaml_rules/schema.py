"""The JSON Schema of the YAML form, made of its vocabulary: for editors and validators."""

from __future__ import annotations

import json
from typing import Any

from lightmill.reference.yaml_rules.vocabulary import HEADER_KEY, KINDS

__all__ = ["schema", "schema_text"]

_TEXT = {"type": ["string", "number", "boolean"]}
_TITLES = {
    "observatory": "The observatory the rules are for",
    "instrument": "The instrument the rules are for",
    "type": "The type of reference they choose; by default the name of the file",
    "name": "Name of the mapping, where it has to be a certain one",
    "derived_from": "What the rules were made from",
    "description": "What a reader should know",
    "classes": "Kinds of selectors, as mapping files name them; for other tools only",
    "extra_fields": "Fields that conditions ask for, beside those matched",
    "comment_fields": "Fields that are kept for people and not compared",
    "relevant_when": "Condition: else the type does not apply to the data (N/A)",
    "omit_when": "Condition: then the type is left out of the answer",
    "field_relevant_when": "Field → condition: else the field does not matter (N/A)",
    "substitutions": "Field → text in a cell → what it stands for",
    "required": "Whether data that fit no row are an error; else they need no reference",
    "merge_overlaps": "Whether dates of equally specific rows are united",
    "reference_to_dataset": "Keyword of a reference → field of the data",
    "hooks": "Names of functions other tools call",
    "row_keys": "Columns that tell rows of a table apart, for tools that compare tables",
}


def schema() -> dict[str, Any]:
    """Return the schema of a file of rules."""
    fields = {
        "oneOf": [_TEXT, {"type": "array", "items": _TEXT}],
        "title": "Fields: paths of metadata, or FITS keywords",
    }
    levels = {
        kind.level: {**fields, "title": f"Fields of a level that selects by {kind.level}"}
        for kind in KINDS
    }
    cell = {"type": ["string", "number", "boolean", "array"]}
    answer = {"type": ["string", "array", "object"], "title": "File, N/A or OMIT; or several files"}
    keys: dict[str, Any] = {kind.entry: cell for kind in KINDS}
    keys["match"] = {"type": ["string", "number", "boolean", "array", "object"]}
    level = {
        "oneOf": [
            {"enum": [kind.level for kind in KINDS]},
            {
                "type": "object",
                "properties": levels,
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            },
        ]
    }
    entry = {
        "type": "object",
        "properties": {
            **keys, "file": answer, "entries": {"$ref": "#/$defs/entries"}, "select": level,
        },
        "additionalProperties": False,
        "oneOf": [{"required": ["file"]}, {"required": ["entries"]}],
        "anyOf": [{"required": [word]} for word in keys],
    }  # fmt: skip
    header = {word: {"title": _TITLES[word]} for word in HEADER_KEY}
    tables = {
        "entries": {"$ref": "#/$defs/entries", "title": "The rows"},
        "types": {"type": "object", "title": "Type → file of its rules"},
        "instruments": {"type": "object", "title": "Instrument → file of its rules"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "lightmill:schemas/rules-1.0.0",
        "title": "Rules that choose reference files",
        "type": "object",
        "properties": {
            **header,
            "match": levels["match"],
            "use_after": levels["use_after"],
            "select": {"oneOf": [level, {"type": "array", "items": level}]},
            "parkey": {"title": "Fields of all levels, where they have to stand as they are"},
            "mapping": {"title": "Kind of mapping, where it is not as usual"},
            "comment": {"type": "string"},
            "header": {"type": "object", "title": "Free keys of the header"},
            "header_order": {"type": "array", "title": "Order of keys in a mapping file's header"},
            "without": {"type": "array", "title": "Usual keys the header of a mapping file lacks"},
            **tables,
        },
        "additionalProperties": False,
        "oneOf": [{"required": [word]} for word in tables],
        "$defs": {"entries": {"type": "array", "items": entry}},
    }


def schema_text() -> str:
    """Return the schema as JSON."""
    return json.dumps(schema(), indent=2) + "\n"
