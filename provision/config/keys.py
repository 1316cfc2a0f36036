"""The keys of the model as a tree of names, kinds, defaults and explanations."""

from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from provision.config.model import Config
from provision.config.problems import Key, enumeration
from provision.config.section import Section


@dataclass(frozen=True)
class Entry:
    """One key of a section.

    Args:
        name: as written in the file.
        explanation: its one line.
        kind: what a value looks like, in words.
        required: whether a record must give it.
        default: as a user would write it; None if required.
        section: the section below it, if it is a mapping of fixed keys.
    """

    name: str
    explanation: str
    kind: str
    required: bool
    default: Any
    section: type[Section] | None


def entries(section: type[Section] = Config) -> tuple[Entry, ...]:
    """The keys of one section in their order."""
    defaults = section.model_construct().model_dump(mode="json")
    return tuple(
        Entry(
            name=name,
            explanation=(field.description or "").strip(),
            kind=describe(TypeAdapter(_with_metadata(field)).json_schema()),
            required=field.is_required(),
            default=defaults.get(name),
            section=_section(field.annotation),
        )
        for name, field in section.model_fields.items()
    )


def section_at(key: Key) -> type[Section] | None:
    """The section whose keys stand below ``key``, which may lead through lists and records."""
    found: Any = Config
    for part in key:
        if _is_section(found):
            field = found.model_fields.get(part)
            if field is None:
                return None
            found = _plain(field.annotation)
        else:
            found = _item(found)
    return found if _is_section(found) else None


def sections() -> dict[str, type[Section]]:
    """Every section by the dotted name of its place; ``NAME`` stands for a record's own name."""
    found: dict[str, type[Section]] = {}

    def collect(section: type[Section], place: str) -> None:
        found[place] = section
        for name, field in section.model_fields.items():
            kind, below = _plain(field.annotation), f"{place}.{name}".removeprefix(".")
            if _is_section(kind):
                collect(kind, below)
            elif _is_section(item := _item(kind)):
                collect(item, f"{below}.NAME" if get_origin(kind) is dict else f"{below}[]")

    collect(Config, "")
    return found


def explanation(key: Key) -> str:
    """The one line about a key; of a record, empty."""
    section = section_at(key[:-1])
    field = section.model_fields.get(str(key[-1])) if section else None
    return (field.description or "").strip() if field else ""


def place_of(name: str) -> str | None:
    """The dotted name of the first section that has a key so named; empty for the top level."""
    return next((place for place, found in sections().items() if name in found.model_fields), None)


def describe(schema: dict[str, Any]) -> str:  # noqa: PLR0911 - one line a kind
    """The kind of a value in words, from its JSON Schema."""
    if "anyOf" in schema:
        return enumeration([describe(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return "one of " + ", ".join(str(word) for word in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "$ref" in schema:
        return "record"
    if "format" in schema:
        return str(schema["format"])
    if schema.get("type") == "array":
        return f"list of {describe(schema['items'])}"
    if schema.get("type") == "integer":
        return f"number, {schema['minimum']} to {schema['maximum']}"
    words = {"boolean": "true or false", "string": "text", "null": "null", "object": "mapping"}
    return words[schema["type"]]


def _with_metadata(field: FieldInfo) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _section(kind: Any) -> type[Section] | None:
    plain = _plain(kind)
    return plain if _is_section(plain) else None


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _item(kind: Any) -> Any:
    """What a list or a mapping of named records holds."""
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        return _plain(arguments[0])
    if get_origin(kind) is dict:
        return _plain(arguments[1])
    return None


def _plain(kind: Any) -> Any:
    """A type without its constraints and without ``| None``."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    choices = [choice for choice in get_args(kind) if choice is not NoneType]
    if NoneType in get_args(kind) and len(choices) == 1:
        return _plain(choices[0])
    return kind
