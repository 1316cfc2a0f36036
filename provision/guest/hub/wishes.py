"""What the administrator asks for while the notebook runs: limits of students, messages to them.

The hub's user writes it; root's sampler reads it, checks it again and applies it.
"""

import contextlib
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provision.guest.pool.entitlement import KINDS
from provision.guest.pool.files import read_untrusted

SHORTEST = {"memory": 128 << 20, "cpu": 1, "disk": 1 << 20}
LONGEST = {"memory": 1 << 44, "cpu": 6400, "disk": 1 << 50}
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
MESSAGE_SECONDS = 3600
LARGEST = 4 << 20  # bytes of a file of wishes


class Wishes:
    """The files of wishes.

    Args:
        state: directory of the hub's own files.
    """

    def __init__(self, state: Path) -> None:
        self._limits, self._messages = state / "limits.json", state / "messages.json"

    def limits(self) -> dict[str, dict[str, int]]:
        """Students' own limits, by name and kind; what cannot be used is left out."""
        return {name: sound(given) for name, given in _read(self._limits).items() if sound(given)}

    def messages(self) -> dict[str, str]:
        """What students should read now, by name."""
        fresh = time.time() - MESSAGE_SECONDS
        return {
            name: str(told["text"])
            for name, told in _read(self._messages).items()
            if told["time"] > fresh
        }

    def limit(self, name: str, words: Mapping[str, str]) -> None:
        """Give a student limits; an empty word takes the student's own away.

        Args:
            name: the student.
            words: by kind: sizes as 512M or 2G, processor time in percent of a core.

        Raises:
            ValueError: a word cannot be understood, or is out of bounds.
        """
        found = {kind: parse(kind, words[kind]) for kind in KINDS if words.get(kind, "").strip()}
        self._change(self._limits, name, found or None)

    def tell(self, name: str, text: str) -> None:
        """Show a student a message for an hour; an empty one takes it away."""
        told = {"text": text, "time": time.time()} if text.strip() else None
        self._change(self._messages, name, told)

    def _change(self, path: Path, name: str, value: Any) -> None:
        found = {key: kept for key, kept in _read(path).items() if key != name}
        found |= {} if value is None else {name: value}
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(found))
        fresh.replace(path)


def parse(kind: str, word: str) -> int:
    """Read one limit.

    Raises:
        ValueError: it cannot be understood, or is out of bounds.
    """
    match = re.fullmatch(r"([0-9]{1,9})\s*([KMGT%]?)", word.strip().upper())
    if match is None or (kind == "cpu") != (match[2] in ("", "%")):
        example = "50 (percent of a core)" if kind == "cpu" else "512M or 2G"
        raise ValueError(f"{word!r} is not a limit of {kind}; write one as in {example}.")
    value = int(match[1]) * UNITS.get(match[2], 1)
    if not SHORTEST[kind] <= value <= LONGEST[kind]:
        raise ValueError(f"{word!r} is out of bounds for {kind}.")
    return value


def sound(given: Any) -> dict[str, int]:
    """The limits of one student that are numbers within bounds."""
    return {
        kind: value
        for kind, value in (given.items() if isinstance(given, dict) else ())
        if kind in KINDS and isinstance(value, int) and SHORTEST[kind] <= value <= LONGEST[kind]
    }


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(read_untrusted(path, LARGEST))  # root reads them, too
        return found if isinstance(found, dict) else {}
    return {}
