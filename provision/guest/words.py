"""What people read in the guest's language: gettext's catalogues, ``languages/LANGUAGE.po``.

The guest's locale decides; without a catalogue it is English, in which all is written.
"""

import gettext
import io
import os
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = Path(__file__).with_name("languages")


def language() -> str:
    """The language of the guest's locale, as HTML has it."""
    found = os.environ.get("LANG", "").partition(".")[0].partition("_")[0]
    return found if (LANGUAGES / f"{found}.po").exists() else "en"


@cache
def catalogue(name: str) -> Any:
    """All that is known of a language.

    Args:
        name: which has a file.
    """
    # The notebook has it, and needs it for other languages only.
    from babel.messages import pofile  # type: ignore[import-not-found]  # noqa: PLC0415

    with (LANGUAGES / f"{name}.po").open("rb") as file:
        return pofile.read_po(file, locale=name)


@cache
def translations(name: str) -> gettext.NullTranslations:
    """The same as Python and Jinja take it; English is what is written.

    Args:
        name: from ``language``.
    """
    if name == "en":
        return gettext.NullTranslations()
    from babel.messages import mofile  # noqa: PLC0415 - likewise

    file = io.BytesIO()
    mofile.write_mo(file, catalogue(name))
    file.seek(0)
    return gettext.GNUTranslations(file)


def say(text: str, /, **values: Any) -> str:
    """A text in the guest's language.

    Args:
        text: in English, with the values' names in braces.
        values: what stands in their place.
    """
    said = translations(language()).gettext(text)
    return said.format(**values) if values else said


def no_formula(text: str) -> str:
    """A text that no program of tables takes for a formula.

    Args:
        text: that somebody else has chosen, as a student the name of a file.
    """
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
