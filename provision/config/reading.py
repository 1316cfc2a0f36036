"""From what the user wrote to a valid configuration, or to every problem at once."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from provision.config.keys import place_of, section_at
from provision.config.model import Config
from provision.config.problems import (
    InvalidConfigError,
    Key,
    Problem,
    Spot,
    dotted_key,
    enumeration,
    split,
)
from provision.config.rules import check
from provision.config.source import Document, read_assignment, read_file
from provision.config.values import nearest
from provision.errors import ConfigError

PREFIX = "APPLIANCE_"
DEFAULT_NAME = "appliance.yml"


@dataclass(frozen=True)
class Loaded:
    """A valid configuration and where its values come from.

    Args:
        config: the values.
        path: the file that was read; None when all came from elsewhere.
        origins: the place of each value that is not a default, by dotted key.
    """

    config: Config
    path: Path | None
    origins: Mapping[str, Spot]

    def origin(self, key: str) -> str:
        """``file:line:column``, the variable or option, or ``default``, of a dotted key."""
        spot = self.origins.get(key)
        return "default" if spot is None else str(spot)


def find(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Path | None:
    """The file to read: the one named, else ``$APPLIANCE_CONFIG``, else ./appliance.yml.

    Raises:
        ConfigError: the named one is not there.
    """
    named = path or (environ if environ is not None else os.environ).get(f"{PREFIX}CONFIG")
    if named is None:
        here = Path(DEFAULT_NAME)
        return here if here.exists() else None
    if not Path(named).is_file():
        raise ConfigError(
            f"there is no file {named}", hint=f"make one with: appliance init {named}"
        )
    return Path(named)


def load(path: Path | None = None) -> Config:
    """Read a configuration; the environment's ``APPLIANCE_*`` go before the file.

    Args:
        path: the appliance.yml; None for the defaults.

    Raises:
        InvalidConfigError: with every problem, drawn into what the user wrote.
    """
    return read(path).config


def read(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    assignments: Iterable[str] = (),
) -> Loaded:
    """Read a configuration and remember where its values come from.

    Args:
        path: the appliance.yml; None for none.
        environ: where ``APPLIANCE_*`` variables are looked up; None for the process's own.
        assignments: ``pool.count=3`` from the command line, which go before everything else.

    Raises:
        InvalidConfigError: with every problem, drawn into what the user wrote.
    """
    source = read_file(path) if path else Document()
    for name, text in sorted((os.environ if environ is None else environ).items()):
        if name.startswith(PREFIX):
            _read_variable(source, name, text)
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        read_assignment(source, tuple(name.split(".")), f"--set {name}", text)
    base = path.parent if path else Path()
    config, found = validate(source.data, base)
    problems = source.problems + [_place(p, source) for p in found if p.key not in source.unread]
    if problems or config is None:
        raise InvalidConfigError(problems)
    origins = {dotted_key(key): spot for key, spot in source.spots.items() if key}
    return Loaded(config, path, origins)


def validate(data: dict[str, Any], base: Path) -> tuple[Config | None, list[Problem]]:
    """Check plain data, in which lists are tuples.

    What is malformed is reported and left out, so that the rest can still be checked for
    combinations that cannot work.

    Args:
        data: what the file holds.
        base: the directory from which relative paths are taken.

    Returns:
        The configuration (None: not even a part of it is valid) and every problem.
    """
    problems: list[Problem] = []
    left_out: set[Key] = set()
    while True:
        try:
            config = Config.model_validate(data, context={"base": base})
        except ValidationError as error:
            details = error.errors(include_url=False)
            if not left_out:
                problems = [_problem(detail) for detail in details]
            keys = {_culprit(detail) for detail in details}
            if () in keys or keys <= left_out:
                return None, problems
            left_out |= keys
            for key in keys:
                data = _without(data, key)
        else:
            break
    combined = [
        problem
        for problem in check(config)
        if not any(_touches(key, out) for key in (problem.key, *problem.others) for out in left_out)
    ]
    return config, problems + combined


def _read_variable(source: Document, name: str, text: str) -> None:
    key = tuple(part.lower() for part in name.removeprefix(PREFIX).split("__"))
    if key[0] in Config.model_fields:
        read_assignment(source, key, name, text)
    elif (meant := nearest(key[0], Config.model_fields)) and key[0] != "config":
        spot = Spot(name, f"{name}={text}", 0, 1, len(name))
        message = f"no such key{meant.lower()}"
        source.problems.append(Problem((), message, "rename or unset the variable", spot=spot))


def _place(problem: Problem, source: Document) -> Problem:
    """Draw a problem at the first of its keys that the user wrote."""
    for key in (problem.key, *problem.others):
        if key in source.names or key in source.spots:
            return replace(
                problem, spot=source.names.get(key) if _about_name(problem) else source.find(key)
            )
    return replace(problem, spot=source.find(problem.key))


def _about_name(problem: Problem) -> bool:
    return problem.message.startswith("no such key")


def _culprit(detail: ErrorDetails) -> Key:
    """What to leave out so that the rest can be checked."""
    key: Key = tuple(detail["loc"])
    if detail["type"] == "missing" or (key and key[-1] == "[key]"):
        key = key[:-1]
    numbers = [place for place, part in enumerate(key) if isinstance(part, int)]
    return key[: numbers[0]] if numbers else key


def _without(data: dict[str, Any], key: Key) -> dict[str, Any]:
    name = str(key[0])
    inner = data.get(name)
    if len(key) > 1 and isinstance(inner, dict):
        return data | {name: _without(inner, key[1:])}
    return {other: value for other, value in data.items() if other != name}


def _touches(one: Key, other: Key) -> bool:
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def _problem(detail: ErrorDetails) -> Problem:
    key: Key = tuple(detail["loc"])
    if key and key[-1] == "[key]":
        key = key[:-1]
    message, mend = _words(detail, key)
    return Problem(key, message, mend)


def _words(detail: ErrorDetails, key: Key) -> tuple[str, str]:  # noqa: PLR0911 - one a kind
    """What is wrong, and the mend, for one complaint of the model."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    match kind:
        case "value_error":
            return split(str(context["error"]))
        case "extra_forbidden":
            return _unknown_key(key)
        case "missing":
            return f"{key[-1]} is missing", f"add {key[-1]}:"
        case "literal_error":
            choices = str(context["expected"]).replace("'", "")
            hint = (
                nearest(value, choices.replace(" or ", ", ").split(", "))
                if isinstance(value, str)
                else ""
            )
            return "not one of the choices", f"write {choices}{hint}"
        case "greater_than_equal":
            return "too small", f"write at least {context['ge']}"
        case "less_than_equal":
            return "too large", f"write at most {context['le']}"
        case "string_type" if isinstance(value, bool | int | float):
            return "a number or a truth value, not text", "put it in quotes"
    wanted = {
        "string_type": ("not text", "write text"),
        "bool_type": ("not a truth value", "write true or false"),
        "int_type": ("not a whole number", "write digits only"),
        "tuple_type": ("not a list", "write a list, as in [one, two]"),
        "dict_type": ("not a mapping", "write indented lines of the form name: …"),
        "model_type": ("not a mapping", _keys_of(key)),
    }
    message, mend = wanted.get(kind, (detail["msg"], ""))
    if value is None:
        return "has no value", f"{mend}, or leave the key out"
    return message, mend


def _keys_of(key: Key) -> str:
    section = section_at(key)
    return f"write indented lines with {enumeration(section.model_fields)}" if section else ""


def _unknown_key(key: Key) -> tuple[str, str]:
    name, section = str(key[-1]), section_at(key[:-1])
    known = list(section.model_fields) if section else []
    if meant := nearest(name, known):
        return "no such key", meant.strip(" ()")
    if (place := place_of(name)) is not None:
        return "no such key", f"it belongs {f'under {place}' if place else 'to the top level'}"
    return "no such key", f"known here: {', '.join(known)}" if len(known) < 16 else "remove it"
