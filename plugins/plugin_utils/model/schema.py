# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the JSON Schema of cloud.yml from its types, so that editors complete and check it."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args, get_origin

from .build import doc, fields_of, note, peel
from .types import Site
from .values import Number, Text

Schema = dict[str, Any]
DIALECT = "http://json-schema.org/draft-07/schema#"


def json_schema() -> Schema:
    """The schema of a whole cloud.yml (draft 7, which editors' YAML support knows best)."""
    definitions: dict[str, Schema] = {}
    return {
        "$schema": DIALECT,
        "$id": "https://example.org/updraft/cloud.schema.json",
        "title": "cloud.yml of Updraft",
        **_object(Site, definitions),
        "definitions": dict(sorted(definitions.items())),
    }


def _object(cls: type, definitions: dict[str, Schema]) -> Schema:
    fields = fields_of(cls)
    properties: dict[str, Schema] = {}
    for field in fields:
        properties[field.name] = _value(field.hint, definitions)
        default = _default(field.default)
        if not field.required and default is not None:
            properties[field.name]["default"] = default
    return {
        "description": (cls.__doc__ or "").strip().splitlines()[0],
        "type": "object",
        "additionalProperties": False,
        "required": [field.name for field in fields if field.required],
        "properties": properties,
    }


def _default(value: Any) -> Any:
    if isinstance(value, str | int | bool):
        return value
    return list(value) if isinstance(value, tuple) and value else None


def _value(hint: Any, definitions: dict[str, Schema]) -> Schema:
    bare, notes, optional = peel(hint)
    schema = _bare(bare, notes, definitions)
    if optional:
        schema = {"anyOf": [schema, {"type": "null"}]}
    described = doc(notes)
    if described and "$ref" in schema:
        schema = {"allOf": [schema]}
    return {"description": described, **schema} if described else schema


def _bare(bare: Any, notes: tuple[Any, ...], definitions: dict[str, Schema]) -> Schema:
    text, number, origin = note(notes, Text), note(notes, Number), get_origin(bare)
    if text is not None:
        pattern = {"pattern": text.pattern} if text.pattern else {}
        return {"type": "string", **pattern, "examples": [text.example]}
    if number is not None:
        return {"type": "integer", "minimum": number.low, "maximum": number.high}
    if origin is tuple:
        return {"type": "array", "uniqueItems": True, "items": _value(get_args(bare)[0], definitions)}
    if origin is dict:
        key, value = get_args(bare)
        names = note(peel(key)[1], Text)
        schema: Schema = {"type": "object", "additionalProperties": _value(value, definitions)}
        return {**schema, "propertyNames": {"pattern": names.pattern}} if names else schema
    if origin is Literal:
        return {"enum": list(get_args(bare))}
    if dataclasses.is_dataclass(bare) and isinstance(bare, type):
        if bare.__name__ not in definitions:
            definitions[bare.__name__] = {}
            definitions[bare.__name__] = _object(bare, definitions)
        return {"$ref": f"#/definitions/{bare.__name__}"}
    plain: dict[Any, Schema] = {bool: {"type": "boolean"}, int: {"type": "integer"}, str: {"type": "string"}}
    return dict(plain[bare])
