"""What a platform is asked, by the hub itself.

An address that leads on elsewhere is not followed, and an answer is read to a limit: what is asked
is where the configuration or a signed token says, and nothing else.
"""

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders

from provision.guest.hub.silence import Silence
from provision.guest.lti.keys import Pair
from provision.guest.lti.platforms import Platform

SECONDS = 5
PAGES = 200  # of one roster
ROSTER = "https://purl.imsglobal.org/spec/lti-nrps/scope/contextmembership.readonly"
OF_ROSTER = "application/vnd.ims.lti-nrps.v2.membershipcontainer+json"
_NEXT = re.compile(r"""<([^>]*)>\s*;[^,<]*\brel="?next\b""")
LONGEST = 4 << 20  # bytes of an answer
_BROKEN = (OSError, HTTPClientError)  # there is none


class UnansweredError(Exception):
    """A platform does not answer, or nothing that can be used.

    Args:
        why: in words.
        code: of its answer; 0: there was none.
    """

    def __init__(self, why: str, code: int = 0) -> None:
        super().__init__(why)
        self.code = code


class Services:
    """A platform's services.

    Args:
        pair: with which they are opened.
    """

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._silence: dict[str, Silence] = {}

    async def keys(self, platform: Platform) -> Any:
        """What a platform publishes of its keys.

        Raises:
            UnansweredError: nothing.
        """
        return _json(await self._ask(platform, HTTPRequest(platform.keys)))

    async def members(self, platform: Platform, place: str) -> list[Any]:
        """The people of a course, from all pages of its roster.

        Args:
            platform: whose.
            place: where they are asked for, as a signed token has said.

        Raises:
            UnansweredError: they are not told.
        """
        head = await self.open(platform, ROSTER)
        found: list[Any] = []
        for page in await self.pages(platform, place, head, OF_ROSTER):
            members = page.get("members") if isinstance(page, dict) else None
            if not isinstance(members, list):
                raise UnansweredError(f"{place} tells no members")
            found += members
        return found

    async def pages(
        self, platform: Platform, place: str, head: Mapping[str, str], kind: str
    ) -> list[Any]:
        """What a service answers, all pages of it.

        Args:
            platform: whose.
            place: where the first is.
            head: from ``open``.
            kind: the media type.

        Raises:
            UnansweredError: it does not, or without end.
        """
        found: list[Any] = []
        while place:
            if len(found) == PAGES:
                raise UnansweredError(f"{place}: there are more than {PAGES} pages")
            request = HTTPRequest(place, headers=HTTPHeaders({**head, "Accept": kind}))
            answer = await self._ask(platform, request)
            found.append(_json(answer))
            place = _next(answer, place)
        return found

    async def post(
        self, platform: Platform, place: str, head: Mapping[str, str], told: Any, kind: str
    ) -> Any:
        """Tell a service something; what it answers, where that is JSON.

        Args:
            platform: whose.
            place: where.
            head: from ``open``.
            told: what.
            kind: the media type.

        Raises:
            UnansweredError: it does not take it.
        """
        headers = HTTPHeaders({**head, "Content-Type": kind, "Accept": "*/*"})
        request = HTTPRequest(place, "POST", headers=headers, body=json.dumps(told))
        answer = await self._ask(platform, request)
        return _json(answer) if answer.body.strip() else None

    async def open(self, platform: Platform, *scope: str) -> dict[str, str]:
        """What opens a platform's services: a token of its own, for which we sign.

        Args:
            platform: which.
            scope: what for.

        Raises:
            UnansweredError: it gives none.
        """
        proof = {
            **{"iss": platform.client_id, "sub": platform.client_id, "aud": platform.audience},
            "jti": secrets.token_urlsafe(18),
        }
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": self._pair.sign(proof),
            "scope": " ".join(scope),
        }
        request = HTTPRequest(platform.token, "POST", body=urlencode(form))
        told = _json(await self._ask(platform, request))
        token = told.get("access_token") if isinstance(told, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise UnansweredError(f"{platform.token} gives no token")
        return {"Authorization": f"Bearer {token}"}

    async def _ask(self, platform: Platform, request: HTTPRequest) -> HTTPResponse:
        request.connect_timeout, request.request_timeout = SECONDS, 2 * SECONDS
        request.follow_redirects = False
        client = AsyncHTTPClient(force_instance=True, max_body_size=LONGEST)
        silence = self._silence.setdefault(platform.issuer, Silence(*_BROKEN))
        try:
            with silence.asking():
                answer = await client.fetch(request, raise_error=False)
        except (*_BROKEN, ValueError, web.HTTPError) as error:
            raise UnansweredError(f"{request.url}: {error}") from None
        finally:
            client.close()
        if not 200 <= answer.code < 300:
            raise UnansweredError(f"{request.url} answers {answer.code}", answer.code)
        return answer


def _json(answer: HTTPResponse) -> Any:
    try:
        return json.loads(answer.body)
    except ValueError:
        raise UnansweredError(f"{answer.effective_url} answers what is no JSON") from None


def _next(answer: HTTPResponse, place: str) -> str:
    """The address of a page's next one, at the same server; empty: there is none."""
    found = _NEXT.search(", ".join(answer.headers.get_list("Link")))
    if not found:
        return ""
    following: str = urljoin(place, found[1])
    if urlsplit(following)[:2] != urlsplit(place)[:2]:
        raise UnansweredError(f"{place} goes on at another server: {following}")
    return following
