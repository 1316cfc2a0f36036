"""Pages that a platform shows inside one of its own, as Moodle does with the choice of a link.

There a browser keeps the hub's cookies back, and the notebook does not show itself at all. So what
is shown there needs no cookie, and a window of its own is offered for all else.
"""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from provision.guest.lti.platforms import Platform

FRAMES = ("iframe", "frame", "embed", "object")
_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]+")  # nothing that begins another rule


def in_frame(headers: Mapping[str, str]) -> bool:
    """Whether a browser shows the answer inside another page (https://www.w3.org/TR/fetch-metadata/).

    Args:
        headers: of the request.
    """
    return headers.get("Sec-Fetch-Dest") in FRAMES


def policy(platforms: Iterable[Platform], *further: object) -> str:
    """Who may show a page inside one of its own, as Content-Security-Policy says it.

    Args:
        platforms: those who may.
        further: addresses of pages that may, too; what is none is left out.
    """
    told = [each for p in platforms for each in (p.issuer, p.authorization, p.keys, p.token)]
    found = {_origin(each) for each in (*told, *further) if isinstance(each, str)} - {""}
    return " ".join(("frame-ancestors 'self'", *sorted(found)))


def _origin(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    known = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.netloc)
    return f"{parts.scheme}://{parts.netloc}" if known else ""
