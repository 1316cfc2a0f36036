"""What a platform is asked, by the hub itself.

An address that leads on elsewhere is not followed, and an answer is read to a limit: what is asked
is where the configuration or a signed token says, and nothing else.
"""

import json
from typing import Any

from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse

from provision.guest.hub.silence import Silence
from provision.guest.lti.keys import Pair
from provision.guest.lti.platforms import Platform

SECONDS = 5
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

    async def _ask(self, platform: Platform, request: HTTPRequest) -> HTTPResponse:
        request.connect_timeout, request.request_timeout = SECONDS, 2 * SECONDS
        request.follow_redirects = False
        client = AsyncHTTPClient(force_instance=True, max_body_size=LONGEST)
        silence = self._silence.setdefault(platform.issuer, Silence(*_BROKEN))
        try:
            with silence.broken():
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
