# SPDX-License-Identifier: GPL-3.0-or-later
"""From plain data to the dataclasses of types.py, by their type hints. Every fault is reported."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .problems import Problems, did_you_mean, join
from .source import is_secret
from .values import Doc, Number, Text, Twice

T = TypeVar("T")
BROKEN = object()


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a mapping, as its dataclass declares it (`return_` is the key `return`)."""

    attribute: str
    hint: Any
    default: Any
    required: bool

    @property
    def name(self) -> str:
        """The key as it is written."""
        return self.attribute.rstrip("_")


@functools.cache
def fields_of(cls: Any) -> tuple[Field, ...]:
    """The keys that can be written for a dataclass, without `name` where that is the key above it."""
    hints = get_type_hints(cls, include_extras=True)
    found = []
    for item in dataclasses.fields(cls):
        if item.name == "name" and hints["name"] is str:
            continue
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        found.append(Field(item.name, hints[item.name], default, default is MISSING))
    return tuple(found)


@functools.cache
def named(cls: Any) -> bool:
    """Whether the dataclass takes its name from the key that it stands under."""
    return get_type_hints(cls, include_extras=True).get("name") is str


def peel(hint: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """The bare type of a hint, its annotations from the inside out, and whether null is allowed."""
    notes: tuple[Any, ...] = ()
    optional = False
    while True:
        if get_origin(hint) is Annotated:
            hint, *extra = get_args(hint)
            notes = (*extra, *notes)
        elif get_origin(hint) in (Union, types.UnionType):
            optional = True
            (hint,) = (arm for arm in get_args(hint) if arm is not type(None))
        else:
            return hint, notes, optional


def note(notes: tuple[Any, ...], kind: type[T]) -> T | None:
    """The annotation of this kind, the outermost first."""
    return next((found for found in reversed(notes) if isinstance(found, kind)), None)


def doc(notes: tuple[Any, ...]) -> str | None:
    found = note(notes, Doc)
    return found.text if found else None


class Builder:
    """Builds values by their type hints; what is wrong goes to `problems`.

    A fault in a key with a default leaves the default; in one without, the mapping is left out of what
    it is part of. The outermost mapping is always built, from examples where it must, so that all
    else can still be checked.
    """

    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def build(self, cls: Any, data: Any, path: str, name: str | None = None) -> Any:
        """One dataclass from a mapping, or None if it cannot be made."""
        if not isinstance(data, Mapping):
            keys = ", ".join(field.name for field in fields_of(cls))
            self.problems.add(path, f"is {_kind(data)}", f"write a mapping with the keys {keys}")
            return None
        self._unknown(cls, data, path)
        values: dict[str, Any] = {"name": name} if named(cls) else {}
        whole = True
        for field in fields_of(cls):
            value = self._field(field, data, join(path, field.name))
            if value is BROKEN:
                value = field.default if not field.required else self._stand_in(field, path)
            whole = whole and value is not BROKEN
            values[field.attribute] = value
        return cls(**values) if whole else None

    def _unknown(self, cls: Any, data: Mapping[Any, Any], path: str) -> None:
        known = [field.name for field in fields_of(cls)]
        for key in data:
            if key not in known and not is_secret(str(key)):
                self.problems.add(
                    join(path, str(key)), "is not a key that is known here", did_you_mean(str(key), known)
                )

    def _field(self, field: Field, data: Mapping[Any, Any], path: str) -> Any:
        bare, notes, optional = peel(field.hint)
        if field.name not in data:
            if not field.required:
                return field.default
            self.problems.add(path, "is missing", f"write {_wanted(bare, notes)}")
            return BROKEN
        value = data[field.name]
        if value is None and (optional or not field.required):
            return field.default
        return self.value(field.hint, value, path)

    def _stand_in(self, field: Field, path: str) -> Any:
        """What takes the place of a required key of the outermost mapping."""
        bare, notes, _ = peel(field.hint)
        text = note(notes, Text)
        if path:
            return BROKEN
        if get_origin(bare) is dict:
            return {}
        return text.parse(text.example) if text else get_args(bare)[0]

    def value(self, hint: Any, data: Any, path: str) -> Any:
        """A value of any hint, or BROKEN."""
        bare, notes, optional = peel(hint)
        origin = get_origin(bare)
        if data is None and optional:
            return None
        if dataclasses.is_dataclass(bare) and note(notes, Text) is None:
            built = self.build(bare, data, path)
            return BROKEN if built is None else built
        if origin is tuple:
            return self._list(get_args(bare)[0], data, path, note(notes, Twice))
        if origin is dict:
            key, item = get_args(bare)
            return self._mapping(key, item, data, path)
        if origin is Literal:
            return self._choice(get_args(bare), data, path)
        return self._scalar(bare, notes, data, path)

    def _list(self, hint: Any, data: Any, path: str, twice: Twice | None) -> Any:
        bare, notes, _ = peel(hint)
        if not isinstance(data, list):
            cure = f"in brackets, [{data}]" if isinstance(data, str | int) else f"of {_wanted(bare, notes)}"
            self.problems.add(path, f"is {_kind(data)}, not a list", f"write a list {cure}")
            return BROKEN
        made = []
        for number, item in enumerate(data):
            here = f"{path}[{number}]"
            value = self.value(hint, item, here)
            if value is not BROKEN and value in made:
                told = twice or Twice("is in the list already", "remove one of the two")
                self.problems.add(here, f"'{item}' {told.text}", told.cure)
            elif value is not BROKEN:
                made.append(value)
        return tuple(made)

    def _mapping(self, key_hint: Any, hint: Any, data: Any, path: str) -> Any:
        if not isinstance(data, Mapping):
            self.problems.add(path, f"is {_kind(data)}", "write a mapping: names, each with its value")
            return BROKEN
        bare = peel(hint)[0]
        made = {}
        for key, item in data.items():
            here = join(path, str(key))
            if self.value(key_hint, str(key), here) is BROKEN:
                continue
            if dataclasses.is_dataclass(bare):
                value = self.build(bare, item, here, str(key))
            else:
                value = self.value(hint, item, here)
            if value is not BROKEN and (value is not None or (item is None and not dataclasses.is_dataclass(bare))):
                made[str(key)] = value
        return made

    def _choice(self, choices: tuple[str, ...], data: Any, path: str) -> Any:
        if data in choices:
            return data
        if isinstance(data, str):
            self.problems.add(path, f"'{data}' is not known here", did_you_mean(data, choices))
        else:
            self.problems.add(path, f"is {_kind(data)}", f"write one of {', '.join(choices)}")
        return BROKEN

    def _scalar(self, bare: Any, notes: tuple[Any, ...], data: Any, path: str) -> Any:
        text, number = note(notes, Text), note(notes, Number)
        if self.problems.at(path):  # Jinja, most likely: one word about it is enough
            return BROKEN
        if text is not None:
            return self._text(text, data, path)
        right = isinstance(data, bare) and (bare is bool or not isinstance(data, bool))
        if not right:
            shown = "" if isinstance(data, dict | list) else f"'{data}' "
            self.problems.add(path, f"{shown}is {_kind(data)}", f"write {_wanted(bare, notes)}")
            return BROKEN
        if number is not None and not number.low <= data <= number.high:
            self.problems.add(path, f"{data} is out of range", f"write {_wanted(bare, notes)}")
            return BROKEN
        return data

    def _text(self, text: Text, data: Any, path: str) -> Any:
        if not isinstance(data, str):
            shown = "" if isinstance(data, dict | list) else f"'{data}' "
            cure = f"write it in quotes, '{data}'" if _meant(text, data) else f"write {_wanted(str, (text,))}"
            self.problems.add(path, f"{shown}is {_kind(data)}", cure)
            return BROKEN
        try:
            return text.parse(data)
        except ValueError as error:
            what = error.args[0] if error.args else f"is not {text.what}"
            cure = error.args[1] if len(error.args) > 1 else f"write one such as {text.example}"
            self.problems.add(path, f"'{data}' {what}", cure)
            return BROKEN


def _meant(text: Text, data: Any) -> bool:
    """Whether a number is the right text, but for the quotes: YAML takes what has only digits for a number."""
    if not isinstance(data, int) or isinstance(data, bool):
        return False
    try:
        text.parse(str(data))
    except ValueError:
        return False
    return True


def _kind(data: Any) -> str:
    if isinstance(data, bool):
        return "true or false"
    if data is None:
        return "empty"
    names = {int: "a number", float: "a broken number", str: "text", list: "a list"}
    return names.get(type(data), "a mapping" if isinstance(data, Mapping) else "of an unknown kind")


def _wanted(bare: Any, notes: tuple[Any, ...]) -> str:
    """What a value should be, in words."""
    text, number = note(notes, Text), note(notes, Number)
    if text is not None:
        return f"{text.what}, such as {text.example}"
    if number is not None:
        return f"a whole number from {number.low} to {number.high}{f' ({number.unit})' if number.unit else ''}"
    if get_origin(bare) is Literal:
        return " or ".join(get_args(bare)) if len(get_args(bare)) < 3 else f"one of {', '.join(get_args(bare))}"
    if get_origin(bare) is tuple:
        inner, inner_notes, _ = peel(get_args(bare)[0])
        return f"a list of {_wanted(inner, inner_notes)}"
    plain = {bool: "true or false", int: "a whole number", str: "text in quotes"}
    return plain.get(bare, "a mapping")
