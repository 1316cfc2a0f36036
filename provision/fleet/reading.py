"""An inventory as somebody wrote it: what is wrong is drawn into the user's own lines.

Aliases and merged keys are welcome, for Ansible knows them too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from provision.config.problems import Key, Problem
from provision.config.source import Document, read_text
from provision.errors import UsageError

DEEPEST = 50  # groups in groups; an alias may make a circle


@dataclass(frozen=True)
class Written:
    """Where each value of an inventory stands.

    Args:
        path: the file.
        source: what is known of its lines; empty where Ansible has read it.
    """

    path: Path
    source: Document = field(default_factory=Document)

    def refuse(self, key: Key, message: str, mend: str = "") -> NoReturn:
        """Say what is wrong with a value.

        Raises:
            UsageError: always.
        """
        spot = self.source.find(key)
        text = message if spot else f"{self.path}: {message}"
        raise UsageError(Problem((), text, mend, spot=spot).draw())

    def mapping(self, key: Key, value: Any, what: str, mend: str) -> Mapping[str, Any]:
        """A mapping, by words; nothing is an empty one.

        Raises:
            UsageError: it is something else.
        """
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.refuse(key, f"{what} is not a mapping", mend)
        return {str(name): each for name, each in value.items()}


Variables = dict[str, tuple[Any, Key]]
"""Variables of a host or group: the value of each, and where it stands."""


@dataclass
class HostEntry:
    """What an inventory says of a host.

    Args:
        variables: its own, and those of its groups.
        groups: that it is in.
    """

    variables: Variables = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Told:
    """The variables of one host, each as what it must be.

    Args:
        written: the inventory.
        host: its name.
        variables: see `HostEntry`.
    """

    written: Written
    host: str
    variables: Variables

    def word(self, name: str, default: str) -> str:
        """A variable that is a word; ``default`` where it is not given.

        Raises:
            UsageError: it is none.
        """
        if name not in self.variables:
            return default
        value, _ = self.variables[name]
        if not _is_word(value) or value == "":
            self._refuse(name, "not a word", f"{name}: WORD")
        return str(value)

    def port(self, name: str, default: int) -> int:
        """A variable that is a TCP port.

        Raises:
            UsageError: it is none.
        """
        value, _ = self.variables.get(name, (default, ()))
        digits = str(value) if isinstance(value, str | int) and _is_word(value) else ""
        if not (digits.isascii() and digits.isdecimal() and 0 < int(digits[:6]) < 1 << 16):
            self._refuse(name, "not a number from 1 to 65535", f"{name}: {default}")
        return int(digits)

    def words(self, name: str) -> tuple[str, ...]:
        """A variable that is a list of words, or one text with commas.

        Raises:
            UsageError: it is none.
        """
        value, _ = self.variables.get(name, ([], ()))
        several = value.split(",") if isinstance(value, str) else value
        if not isinstance(several, list) or not all(map(_is_word, several)):
            self._refuse(name, "not a list of words", f"{name}: [WORD, WORD]")
        return tuple(str(each).strip() for each in several if str(each).strip())

    def _refuse(self, name: str, what: str, mend: str) -> NoReturn:
        value, key = self.variables[name]
        shown = "empty" if value is None else repr(value)[:60]
        self.written.refuse(key, f"host {self.host}: {name} is {shown}, {what}", mend)


def _is_word(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def load(path: Path) -> tuple[Any, Written]:
    """Read a YAML file; a missing one is empty.

    Raises:
        UsageError: it cannot be read, or is no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}, Written(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    source = read_text(text, str(path))
    try:
        return YAML(typ="safe", pure=True).load(text) or {}, Written(path, source)
    except (YAMLError, ValueError, RecursionError) as error:
        drawn = [problem.draw() for problem in source.problems[:1]]
        raise UsageError(drawn[0] if drawn else f"{path}: {error}") from error
