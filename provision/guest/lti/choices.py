"""Links that a teacher sets up in a platform's course: what they open, and what waits for it."""

import secrets
import time
from typing import Any

from provision.guest.lti.launch import LINKS, LTI, Launch

LINK = "ltiResourceLink"
MOST = 1000  # that wait at once
LIFE = 3600  # seconds


class Choices:
    """Launches that somebody is to go on with, once and within an hour; the newest of them.

    Whoever has a key goes on with it: it is in a page of that browser's only.
    """

    def __init__(self) -> None:
        self._open: dict[str, tuple[float, str, Launch]] = {}

    def keep(self, name: str, launch: Launch) -> str:
        """Remember one; its key.

        Args:
            name: who goes on.
            launch: with which the platform has asked.
        """
        key = secrets.token_urlsafe(18)
        self._open[key] = time.monotonic(), name, launch
        while len(self._open) > MOST:
            del self._open[next(iter(self._open))]
        return key

    def take(self, key: str, name: str = "") -> tuple[str, Launch] | None:
        """Who goes on with what; None: nobody, or not any more.

        Args:
            key: from ``keep``.
            name: who is signed in; empty: that is not known.
        """
        when, whose, launch = self._open.get(key, (float("-inf"), "", None))
        if launch is None or time.monotonic() - when > LIFE or name not in ("", whose):
            return None
        del self._open[key]
        return whose, launch


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
