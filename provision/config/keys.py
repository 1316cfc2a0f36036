"""The keys of the model as a tree of names, kinds, defaults and explanations."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from provision.config.model import Config, Section
from provision.config.problems import Key, listed


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
    return tuple(_entry(name, field) for name, field in section.model_fields.items())


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


def records() -> dict[str, type[Section]]:
    """The sections that occur as named records or items of a list, by a name for each."""
    found: dict[str, type[Section]] = {}

    def collect(section: type[Section], path: str) -> None:
        for name, field in section.model_fields.items():
            kind = _plain(field.annotation)
            item = _item(kind)
            place = f"{path}{name}"
            if _is_section(item):
                found[f"{place}.NAME" if get_origin(kind) is dict else f"{place}[]"] = item
            elif _is_section(kind):
                if field.get_default(call_default_factory=True) is None:
                    found[place] = kind
                collect(kind, f"{place}.")

    collect(Config, "")
    return found


def names_everywhere() -> Iterator[tuple[str, str]]:
    """Each key of the whole file with its section's dotted name, from the top down."""
    level: list[tuple[str, type[Section]]] = [("", Config)]
    while level:
        deeper = []
        for path, section in level:
            for name, field in section.model_fields.items():
                yield name, path
                kind = _plain(field.annotation)
                if _is_section(kind):
                    deeper.append((f"{path}.{name}".removeprefix("."), kind))
        level = deeper


def describe(schema: dict[str, Any]) -> str:  # noqa: PLR0911 - one line a kind
    """The kind of a value in words, from its JSON Schema."""
    if "anyOf" in schema:
        return listed([describe(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return "one of " + ", ".join(str(word) for word in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "$ref" in schema:
        return "mapping"
    if "format" in schema:
        return str(schema["format"])
    if schema.get("type") == "array":
        return f"list of {describe(schema['items'])}s".replace("mappings", "records")
    if schema.get("type") == "integer":
        return f"number, {schema['minimum']} to {schema['maximum']}"
    words = {"boolean": "true or false", "string": "text", "null": "null", "object": "mapping"}
    return words[schema["type"]]


def _entry(name: str, field: FieldInfo) -> Entry:
    default = None
    if not field.is_required():
        default = TypeAdapter(Any).dump_python(
            field.get_default(call_default_factory=True), mode="json"
        )
    kind = _plain(field.annotation)
    return Entry(
        name=name,
        explanation=(field.description or "").strip(),
        kind=describe(TypeAdapter(_with_metadata(field)).json_schema()),
        required=field.is_required(),
        default=default,
        section=kind if _is_section(kind) else None,
    )


def _with_metadata(field: FieldInfo) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


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
