"""Links that a teacher sets up in a platform's course: what they are to open."""

import secrets
from typing import Any

from provision.guest.lti.launch import LINKS, LTI, Launch

LINK = "ltiResourceLink"
MOST = 1000  # links that are set up at once


class Choices:
    """Links that are being set up, until it is chosen what they open; the newest of them."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, Launch]] = {}

    def keep(self, name: str, launch: Launch) -> str:
        """Remember one; its key.

        Args:
            name: who chooses.
            launch: with which the platform has asked.
        """
        key = secrets.token_urlsafe(18)
        self._open[key] = name, launch
        while len(self._open) > MOST:
            del self._open[next(iter(self._open))]
        return key

    def look(self, name: str, key: str) -> Launch | None:
        """The one that somebody chooses for; arguments as of ``take``."""
        whose, launch = self._open.get(key, ("", None))
        return launch if whose == name else None

    def take(self, name: str, key: str) -> Launch | None:
        """The one that somebody has chosen for, once; None: there is none.

        Args:
            name: who.
            key: from ``keep``.
        """
        launch = self.look(name, key)
        if launch:
            del self._open[key]
        return launch


def response(launch: Launch, place: str, assignment: str, wanted: str) -> dict[str, Any]:
    """What a platform is told of a link that was chosen (LTI Deep Linking 2.0).

    Args:
        launch: with which the platform has asked.
        place: the address of each of our links.
        assignment: which it opens; empty: none.
        wanted: else, ``course`` or nothing: the notebook.
    """
    link: dict[str, Any] = {"type": LINK, "url": place, "title": wanted or "Notebook"}
    if assignment:
        link["custom"] = {"assignment": assignment}
        link["lineItem"] = {"scoreMaximum": 100, "label": assignment, "resourceId": assignment}
    elif wanted == "course":
        link |= {"custom": {"open": "course"}, "title": launch.course}
    told = {
        **{"iss": launch.platform.client_id, "aud": [launch.platform.issuer]},
        "nonce": secrets.token_urlsafe(24),
        f"{LTI}/deployment_id": launch.deployment,
        f"{LTI}/message_type": "LtiDeepLinkingResponse",
        f"{LTI}/version": "1.3.0",
        f"{LINKS}/content_items": [link],
    }
    data = launch.chooses.get("data")
    return {**told, **({} if data is None else {f"{LINKS}/data": data})}
