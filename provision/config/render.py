"""Write a configuration, its reference and its schema for people and editors."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2

from provision import resources
from provision.config.keys import Entry, entries, explanation, sections
from provision.config.model import Config
from provision.config.problems import Key, dotted_key

_COLUMN = 36
_WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./@+-]*|[0-9]+[KMGTsmhd%]", re.ASCII)
_WORDS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n", "~")


@dataclass(frozen=True)
class Chapter:
    """One section of the reference."""

    place: str
    entries: tuple[Entry, ...]


def commented_file(*, public: bool = False) -> str:
    """The appliance.yml that ``appliance init`` writes: each key with default and explanation.

    Args:
        public: whether the notebook's port is open to the room.
    """
    values = Config().model_dump(mode="json")
    for name in ("notebook", "sessions"):
        values["network"]["forwards"][name]["public"] = public
    lines: list[str] = []
    for key, value in _walk(values):
        block = [*_with_comment(_line(key, value), explanation(key)), *_example(key, value)]
        if len(key) == 1 and (_branches(value) or len(block) > 2):
            lines.append("")
        lines += block
    return _template("appliance.yml.j2").render(lines=lines)


def effective(config: Config, origin: Callable[[str], str]) -> str:
    """A configuration as YAML, with a comment on each value.

    Args:
        config: the values.
        origin: the comment for a dotted key; empty for none.
    """
    lines: list[str] = []
    for key, value in _walk(config.model_dump(mode="json")):
        comment = "" if _branches(value) else origin(dotted_key(key))
        lines += _with_comment(_line(key, value), comment)
    return "\n".join(lines) + "\n"


def reference() -> str:
    """The text of docs/configuration.md."""
    chapters = [Chapter(place, entries(section)) for place, section in sections().items()]
    return _template("configuration.md.j2").render(chapters=chapters, scalar=scalar)


def schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors.

    The records that we know may be given in part, which the model alone does not say.
    """
    whole = Config.model_json_schema()
    defaults = Config().model_dump(mode="json")
    for owner, name, known, removable in (
        (whole, "disks", defaults["disks"], False),
        (whole["$defs"]["Network"], "forwards", defaults["network"]["forwards"], True),
    ):
        records = owner["properties"][name]
        ((pattern, complete),) = records.pop("patternProperties").items()
        record = whole["$defs"][complete["$ref"].rpartition("/")[2]]
        partial = {key: value for key, value in record.items() if key != "required"}
        records |= {
            "default": known,
            "properties": dict.fromkeys(
                known, {"anyOf": [partial, {"type": "null"}]} if removable else partial
            ),
            "patternProperties": {f"^(?!({'|'.join(known)})$){pattern[1:]}": complete},
        }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


def leaves(config: Config) -> dict[str, Any]:
    """Every value that is not itself a mapping, by its dotted key."""
    values = config.model_dump(mode="json")
    return {dotted_key(key): value for key, value in _walk(values) if not _branches(value)}


def scalar(value: Any) -> str:
    """A value in YAML's short form."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {scalar(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(scalar(item) for item in value) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


def _walk(values: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Each key with its value; a mapping's own keys follow it."""
    for name, value in values.items():
        key = (*above, name)
        yield key, value
        if _branches(value):
            yield from _walk(value, key)


def _branches(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value)


def _line(key: Key, value: Any) -> str:
    text = f"{'  ' * (len(key) - 1)}{key[-1]}:"
    return text if _branches(value) else f"{text} {scalar(value)}"


def _with_comment(line: str, comment: str) -> list[str]:
    if not comment:
        return [line]
    beside = f"{line.ljust(_COLUMN - 1)} # {comment}"
    if len(beside) <= _WIDTH:
        return [beside]
    indent = " " * (len(line) - len(line.lstrip()))
    return [f"{indent}# {comment}", line]


def _example(key: Key, value: Any) -> list[str]:
    """What a record looks like where none is given, as comments."""
    if value not in ([], None):
        return []
    return _record(dotted_key(key), f"{'  ' * (len(key) - 1)}#   ")


def _record(place: str, indent: str) -> list[str]:
    lines = []
    for mark, path in (("  ", place), ("- ", f"{place}[]")):
        for number, entry in enumerate(entries(sections()[path]) if path in sections() else ()):
            line = f"{indent}{mark if number == 0 else '  '}{entry.name}: ({entry.kind})"
            lines += _with_comment(line, entry.explanation)
            lines += _record(f"{path}.{entry.name}", f"{indent}    ")
    return lines


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.templates() / "host"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - YAML and Markdown, not HTML
    )
    return environment.get_template(name)
