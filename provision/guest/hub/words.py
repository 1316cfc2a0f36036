"""The guest's language in the hub's pages, by Jinja's extension for gettext.

Our own templates mark their texts. JupyterHub's have no marks: what a catalogue has in the context
``jupyterhub`` is replaced in them as they are read, where it stands alone between tags, quotes and
Jinja's own.
"""

import re
from pathlib import Path

from jinja2 import Environment
from jinja2.ext import InternationalizationExtension

from provision.guest.words import catalogue, language, translations

OWN = Path(__file__).with_name("templates")
THEIRS = "jupyterhub"
# What JupyterHub's templates show of what its code, and ours, has said.
_SAID = re.compile(r"\{\{ (login_error|message|status_message|failed_message|error_message) \}\}")


class Words(InternationalizationExtension):
    """Jinja's extension for marked texts, in the guest's language, JupyterHub's templates too."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.policies["ext.i18n.trimmed"] = True
        # Not the new style: there, whatever is said is taken for HTML.
        self._install(translations(language()), newstyle=False)

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Replace what is not marked, in templates that are not ours."""
        source = str(super().preprocess(source, name, filename))
        if filename is None or Path(filename).parent == OWN:
            return source
        return translate(source, language())


def translate(source: str, name: str) -> str:
    """A template of JupyterHub's in another language.

    Args:
        source: the template.
        name: of the language.
    """
    if name == "en":
        return source
    source = source.replace('<html lang="en">', f'<html lang="{name}">')
    source = _SAID.sub(r"{{ _(\1) }}", source)
    for message in catalogue(name):
        if message.context == THEIRS and message.string:
            source = pattern(message.id).sub(rf"\1{_literal(message.string)}\2", source)
    return source


def pattern(text: str) -> re.Pattern[str]:
    """Where a text stands alone, however its words are broken into lines."""
    words = r"\s+".join(map(re.escape, text.split()))
    return re.compile(rf"""([>"'}}]\s*){words}(\s*[<"'{{])""")


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")
