"""Read what VBoxManage prints: ``--machinereadable`` listings and the few others we need."""

import re
from collections.abc import Iterator, Mapping

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_KEY = re.compile(r'(?:"(?P<quoted>(?:[^"\\\n]|\\.)*)"|(?P<plain>[^="\n]+))=')
_LISTED = re.compile(rf'^"(.*?)" \{{({_UUID})\}}$', re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^([A-Z][A-Za-z ()]*):[ \t]+(.*)$")


def pairs(text: str) -> Iterator[tuple[str, str]]:
    r"""Read a ``--machinereadable`` listing, in order; a key may come more than once.

    A quoted value ends at a quote before the end of a line, so that it may span lines. VirtualBox
    escapes ``"`` and ``\`` in most values, and forgets it in some (paths of serial ports), which
    this rule survives. Lines without ``=`` (one: ``rec_screen0``) are headings and left out.
    """
    lines = iter(text.split("\n"))  # splitlines() would also end a line at other characters
    for line in lines:
        if not (key := _KEY.match(line)):
            continue
        value = line[key.end() :]
        if value.startswith('"'):
            value = value[1:]
            while not _is_closed(value):
                following = next(lines, None)
                if following is None:
                    break
                value += "\n" + following
            value = unescape(value.removesuffix('"'))
        name = key["quoted"]
        yield unescape(name) if name is not None else key["plain"], value


def unescape(text: str) -> str:
    r"""Undo VirtualBox's escapes of ``"`` and ``\``."""
    return re.sub(r'\\(["\\])', r"\1", text)


def properties(text: str) -> Mapping[str, str]:
    """Read a ``--machinereadable`` listing whose keys are unique; the last of a kind wins."""
    return dict(pairs(text))


def machines(text: str) -> tuple[tuple[str, str], ...]:
    """Read ``list vms`` or ``list runningvms``: (name, UUID), names unescaped, with newlines."""
    return tuple((found[1], found[2]) for found in _LISTED.finditer(text))


def fields(text: str) -> Mapping[str, str]:
    """Read a human listing of ``Field:   value`` lines, as ``showmediuminfo`` gives only.

    A line that is no field continues the one before it.
    """
    result: dict[str, str] = {}
    last = ""
    for line in text.rstrip("\n").split("\n"):
        if found := _FIELD.match(line):
            last = found[1]
            result[last] = found[2].strip()
        elif last:
            result[last] += "\n" + line.strip()
    return result


def extradata(text: str) -> Mapping[str, str]:
    """Read ``getextradata … enumerate``; values may span lines."""
    parts = re.split(r"^Key: ", text, flags=re.MULTILINE)[1:]
    split = (part.removesuffix("\n").partition(", Value: ") for part in parts)
    return {key: value for key, _, value in split}


def _is_closed(value: str) -> bool:
    if not value.endswith('"'):
        return False
    body = value[:-1]
    return (len(body) - len(body.rstrip("\\"))) % 2 == 0
