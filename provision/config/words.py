"""Time zones, locales and keyboard layouts: as the guest knows them, not this host.

``lists/`` has what the packages tzdata, locales and xkb-data of Debian 13 and Ubuntu 26.04 bring; a
second word in a line of ``locales.txt`` is the only distribution that has it. The guest's own files
are compared with them in ``tests/integration``, and a build fails where the guest lacks one.
"""

import difflib
import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from provision.config.model import Config
from provision.config.problems import Problem, enumeration

LISTS = Path(__file__).with_name("lists")
OTHERS_AT_MOST = 3
# What people write for a layout, which is called after a country, not a language.
_LAYOUTS_MEANT: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "uk": ("gb", "ua"), "en": ("us", "gb"), "ja": ("jp",), "ko": ("kr",), "zh": ("cn",),
    "da": ("dk",), "sv": ("se",), "nb": ("no",), "nn": ("no",), "cs": ("cz",), "el": ("gr",),
    "he": ("il",), "fa": ("ir",), "sr": ("rs",), "sl": ("si",), "et": ("ee",), "ar": ("ara",),
    "sq": ("al",), "hi": ("in",), "ca": ("es",), "eu": ("es",), "ga": ("ie",), "cy": ("gb",),
})  # fmt: skip


def check(config: Config) -> Iterator[Problem]:
    """What of a configuration's zone, locale and keyboard its guest does not know."""
    yield from _timezone(config.timezone)
    yield from _locale(config.locale, config.distribution)
    yield from _keyboard(config.keyboard)


def zones() -> frozenset[str]:
    """The time zones of the package tzdata."""
    return frozenset(_lines("zones"))


def locales(distribution: str) -> frozenset[str]:
    """The locales that can be generated, without their character set: de_DE, ca_ES@valencia."""
    rows = (line.split() for line in _lines("locales"))
    return frozenset(name for name, *only in rows if not only or distribution in only)


def layouts() -> frozenset[str]:
    """The layouts of the package xkb-data."""
    return frozenset(_lines("layouts"))


def _timezone(value: str) -> Iterator[Problem]:
    known = zones()
    if value in known:
        return
    key, what = ("timezone",), "is no time zone of the guest"
    renamed = dict(line.split() for line in _lines("old-zones"))
    if value in renamed:
        yield Problem(
            key,
            f"{value} is an old name, which the guest does not have",
            f"did you mean {renamed[value]}?",
        )
        return
    city = [zone for zone in sorted(known) if _last(zone) == _last(value)]
    yield Problem(
        key, f"{value} {what}", _near(city, value, known, "write one as in Europe/Berlin")
    )


def _locale(value: str, distribution: str) -> Iterator[Problem]:
    if value == "C.UTF-8":
        return
    known, wanted = locales(distribution), value.replace(".UTF-8", "")
    if wanted in known:
        return
    language, _, country = wanted.partition("@")[0].partition("_")
    at_home = f"{country.lower()}_{country}"
    there = sorted(known, key=lambda name: (name != at_home, name))
    first = [
        next((name for name in there if name.endswith(f"_{country}")), ""),
        next((name for name in sorted(known) if name == f"{language}_{language.upper()}"), ""),
        *(name for name in ("en_US", "en_GB") if language == "en"),
    ]
    spelled = {
        name: name.replace("@", ".UTF-8@") if "@" in name else f"{name}.UTF-8" for name in known
    }
    yield Problem(
        ("locale",),
        f"{value} is no locale of the guest",
        _near(
            [spelled[name] for name in first if name],
            value,
            spelled.values(),
            "write one as in en_US.UTF-8",
        ),
    )


def _keyboard(value: str) -> Iterator[Problem]:
    known = layouts()
    if value in known:
        return
    first = _LAYOUTS_MEANT.get(value, ())
    yield Problem(
        ("keyboard",),
        f"{value} is no keyboard layout of the guest",
        _near(first, value, known, "write a country's code, as in us or de"),
    )


def _near(first: Iterable[str], value: str, known: Iterable[str], otherwise: str) -> str:
    """A question for what was meant: what is known to be near, then what is spelled like it."""
    found = list(dict.fromkeys(first)) or difflib.get_close_matches(value, [*known], n=2)
    return f"did you mean {enumeration(found[:OTHERS_AT_MOST])}?" if found else otherwise


def _last(zone: str) -> str:
    return zone.rpartition("/")[2].lower().replace(" ", "_")


@functools.cache
def _lines(name: str) -> tuple[str, ...]:
    return tuple((LISTS / f"{name}.txt").read_text(encoding="ascii").splitlines())
