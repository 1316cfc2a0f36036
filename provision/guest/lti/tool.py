"""Sign-in from a learning platform, beside the appliance's own accounts.

The platform leads a browser to ``/hub/lti/login``, the hub leads it back to ask who it is, and the
platform's answer comes, by a form, to ``/hub/lti/launch`` (OpenID Connect's third-party-initiated
login). What was asked is in a cookie of that browser, signed by the hub, and is used once: a token
that somebody else's browser brings, or the same one brings again, opens nothing.
"""

import asyncio
import hmac
import json
import logging
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jupyterhub.handlers.base import BaseHandler
from tornado import web
from traitlets import List, Unicode
from traitlets.config import Config

from provision.guest.lti.choices import LINK, Choices, response
from provision.guest.lti.exchange import Exchange
from provision.guest.lti.frames import in_frame, policy
from provision.guest.lti.keys import Known, Pair
from provision.guest.lti.launch import (
    OLDEST,
    Launch,
    LaunchError,
    key_id,
    own,
    read,
)
from provision.guest.lti.people import People, Person
from provision.guest.lti.platforms import Platform, find, read_platforms
from provision.guest.lti.services import Services, UnansweredError
from provision.guest.pool.accounts import Accounts
from provision.guest.pool.authenticator import PoolAuthenticator
from provision.guest.pool.rolls import PREFIX

DIRECTORY = "lti"  # of the hub's own, for the tool's key and what is known of platforms
SLOTS = 16  # cookies: so many links may be opened at once in one browser
LONGEST_HINT = 2000  # characters of what the platform wants back
AGAIN = "Open the notebook from {title} once more, in a window of its own."
_GONE = "This was chosen already, or too long ago: begin once more."
HALF = "This is no sign-in that this browser has begun, or it took too long."
_STARTED = secrets.token_urlsafe(9)  # what was asked for before the hub started is not known used


def configure(wanted: dict[str, Any], state: Path) -> Config:
    """JupyterHub's settings for sign-in from learning platforms.

    Args:
        wanted: ``sign_in`` of the record.
        state: directory of the hub's own files.
    """
    settings = {"platforms": wanted["lti"], "state_directory": str(state / DIRECTORY)}
    classes = {"authenticator_class": f"{__name__}.LtiAuthenticator"}
    return Config({"JupyterHub": classes, "LtiAuthenticator": settings})


class Tool:
    """What the hub knows as a tool of platforms.

    Args:
        platforms: all of them.
        directory: for its key and what it knows of them; made, for the hub alone.
        log: the hub's.
    """

    def __init__(self, platforms: list[Platform], directory: Path, log: logging.Logger) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self.platforms = platforms
        self.pair = Pair(directory / "key.pem")
        self.people = People(directory / "people.json")
        self.services = Services(self.pair)
        self.exchange = Exchange(
            {platform.name: platform for platform in platforms},
            self.services,
            self.people,
            directory=directory,
            log=log,
        )
        self.choices, self.windows = Choices(), Choices()
        self._known = {platform.name: Known() for platform in platforms}
        self._turns = {platform.name: asyncio.Lock() for platform in platforms}
        self._used: dict[str, float] = {}

    async def believe(self, token: str, platform: Platform, nonce: str, origin: str) -> Launch:
        """Read a platform's token; the platform is asked for its keys where they are not known.

        Args:
            token: as the browser brings it.
            platform: whose it is to be.
            nonce: what it was asked for with.
            origin: of the hub.

        Raises:
            LaunchError: it is not believed.
            UnansweredError: the platform does not tell its keys.
        """
        kid, known = key_id(token), self._known[platform.name]
        async with self._turns[platform.name]:
            if known.wanting(kid):
                known.take(await self.services.keys(platform))
        # A signature takes its time; meanwhile the hub answers others.
        launch = await asyncio.to_thread(read, token, platform, known.key(kid), nonce, origin)
        if not self._first(nonce):
            raise LaunchError("the token was used already")
        return launch

    def _first(self, nonce: str) -> bool:
        """Whether a nonce is used for the first time; signed ones only come here."""
        now = time.monotonic()
        for each, when in list(self._used.items()):
            if now - when > 2 * OLDEST:
                del self._used[each]
        return self._used.setdefault(nonce, now) == now


class LtiAuthenticator(PoolAuthenticator):
    """The appliance's own accounts, and people whom platforms send."""

    platforms: Any = List(config=True, help="As sign_in.lti of appliance.yml.")
    state_directory = Unicode(config=True, help="For the tool's key and what is known.")

    def __init__(self, **words: Any) -> None:
        super().__init__(**words)
        self.tool = Tool(read_platforms(self.platforms), Path(self.state_directory), self.log)
        self.titles = sorted({platform.title for platform in self.tool.platforms})

    async def authenticate(self, handler: Any, data: Any) -> str | None:
        """Return the name of whom a platform sends; otherwise as the class above.

        Raises:
            HTTPError: 403, the administrator has locked the name; and as above.
        """
        if not isinstance(data, Launch):  # a form, which makes none
            name = data["username"].strip().lower()
            if name.startswith(PREFIX) and name not in self._accounts.names():
                return None  # nobody makes oneself somebody of a platform
            return await super().authenticate(handler, data)
        person = Person(data.platform.issuer, data.sub, data.title)
        await asyncio.to_thread(_register, person, self.tool.people, self._accounts)
        if person.name in self._accounts.locked():
            raise web.HTTPError(403, "Your account is locked. Tell your teacher.")
        return person.name

    def look(self) -> None:
        """Something was returned: its points go to the platform."""
        self.tool.exchange.look()

    def person(self, name: str) -> str:
        """What somebody is called on pages: by the own name, where a platform has told it."""
        return self.tool.people.title(name)

    def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
        """Those of a tool, besides the others; with them begins what the hub does by itself."""
        self._exchanging = asyncio.get_running_loop().create_task(self.tool.exchange.run())
        own_ones = [(r"/lti/login", Login), (r"/lti/launch", Opening), (r"/lti/keys", Keys)]
        own_ones += [(r"/lti/link", Linking), (r"/lti/window", Window)]
        return [*super().get_handlers(app), *own_ones]


def _register(person: Person, people: People, accounts: Accounts) -> None:
    """Make what a person of a platform needs: an account that no password opens."""
    people.keep([person])
    if person.name not in accounts.names():
        accounts.add(person.name, secrets.token_urlsafe(32))


@dataclass(frozen=True)
class _Asked:
    """What a browser was sent to a platform with.

    Args:
        platform: which.
        nonce: for its token.
    """

    platform: Platform
    nonce: str


class _PlatformPage(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    """What platforms lead browsers to, and send forms to: from other origins, without a cookie."""

    from_elsewhere = True

    def check_xsrf_cookie(self) -> None:
        """Not of our own pages; a cookie of the sign-in itself is asked for instead."""

    @property
    def tool(self) -> Tool:
        """What the hub knows as a tool."""
        tool: Tool = self.authenticator.tool
        return tool

    def set_default_headers(self) -> None:
        """What is shown here, and what goes wrong here, a platform may show inside its own page."""
        super().set_default_headers()
        self.set_header("Content-Security-Policy", policy(self.tool.platforms))

    @property
    def origin(self) -> str:
        """Of the hub, as the browser has it."""
        return f"{self.request.protocol}://{self.request.host}"

    def place(self, name: str) -> str:
        """The address of one of these."""
        return f"{self.origin}{self.hub.base_url}lti/{name}"

    def _cookie(self, state: str) -> str:
        host = "__Host-" if self.request.protocol == "https" else ""
        return f"{host}lti-{int(state[:2], 16) % SLOTS}"

    def _keep(self, state: str, asked: _Asked) -> None:
        told = [state, asked.nonce, *asked.platform.name, _STARTED, time.time()]
        name = self._cookie(state)
        self._put(name, self.create_signed_value(name, json.dumps(told)).decode(), OLDEST)

    def _put(self, name: str, value: str, seconds: int) -> None:
        """Have the browser keep a cookie that comes along with a form of another site.

        Inside a page of that site it does so in a place of that site's own only (``Partitioned``),
        which this Python's own cookies do not know.
        """
        secure = self.request.protocol == "https"
        rules = "; Secure; SameSite=None; Partitioned" if secure else ""
        kept = f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly{rules}"
        self.add_header("Set-Cookie", kept)

    def _take(self, state: str) -> _Asked:
        """What this browser was asked with; once.

        Raises:
            HTTPError: 400, it was not, or too long ago.
        """
        try:
            name = self._cookie(state)
            told = json.loads(self.get_signed_cookie(name, max_age_days=1) or b"")
            kept, nonce, issuer, client_id, started, when = told
        except (ValueError, TypeError):
            raise web.HTTPError(400, f"{HALF} {self._again()}") from None
        platform = find(self.tool.platforms, issuer, client_id)
        same = hmac.compare_digest(kept.encode(), state.encode()) and started == _STARTED
        if platform is None or not same or time.time() - when > OLDEST:
            raise web.HTTPError(400, f"{HALF} {self._again()}")
        self._put(name, "", 0)
        return _Asked(platform, nonce)

    async def _show(self, launch: Launch, page: str, **words: Any) -> None:
        """Show a page, also inside one of the platform's."""
        place = launch.chooses.get("deep_link_return_url")
        self.set_header("Content-Security-Policy", policy(self.tool.platforms, place))
        self.set_header("Cache-Control", "no-store")
        self.finish(await self.render_template(page, **words))

    def _lead(self, launch: Launch, user: Any) -> None:
        """Lead somebody who has come to where the link leads."""
        custom = launch.custom
        if launch.course and (custom.get("open") or custom.get("assignment")):
            self.redirect(f"{self.hub.base_url}assignments{_part(launch)}")
        else:
            self.redirect(self.get_next_url(user))

    def _again(self) -> str:
        return AGAIN.format(title=" or ".join(self.authenticator.titles))


class Login(_PlatformPage):
    """``/hub/lti/login``: a platform says that somebody wants to come in."""

    def get(self) -> None:
        """Lead the browser to the platform, which is to say who it is."""
        given = {name: self._argument(name) for name in ("iss", "client_id", "login_hint")}
        platform = find(self.tool.platforms, given["iss"], given["client_id"])
        if platform is None:
            self.log.warning("lti: no platform %s with client %s", given["iss"], given["client_id"])
            raise web.HTTPError(400, "This platform is not set up here. Tell your teacher.")
        deployment = self._argument("lti_deployment_id")
        if deployment and deployment not in platform.deployments:
            raise web.HTTPError(400, "The platform's deployment is not set up here.")
        if not given["login_hint"]:
            raise web.HTTPError(400, "The platform does not say for whom it asks (login_hint).")
        if not own(self._argument("target_link_uri"), self.origin):
            raise web.HTTPError(400, "The link leads elsewhere (target_link_uri).")
        state, asked = secrets.token_hex(24), _Asked(platform, secrets.token_urlsafe(24))
        self._keep(state, asked)
        query = {
            **{"scope": "openid", "response_type": "id_token", "response_mode": "form_post"},
            **{"prompt": "none", "client_id": platform.client_id, "state": state},
            **{"redirect_uri": self.place("launch"), "nonce": asked.nonce},
            "login_hint": given["login_hint"],
        }
        if hint := self._argument("lti_message_hint"):
            query["lti_message_hint"] = hint
        joint = "&" if "?" in platform.authorization else "?"
        self.set_header("Cache-Control", "no-store")
        self.redirect(f"{platform.authorization}{joint}{urlencode(query)}")

    post = get

    def _argument(self, name: str) -> str:
        """What a platform gives along; not so much that an address would be too long."""
        text: str = self.get_argument(name, "")
        if len(text) > LONGEST_HINT:
            raise web.HTTPError(400, f"{name} is too long.")
        return text


class Opening(_PlatformPage):
    """``POST /hub/lti/launch``: a platform says who somebody is."""

    def get(self) -> None:
        """Say that nothing is opened so."""
        raise web.HTTPError(400, self._again())

    async def post(self) -> None:
        """Sign in, and lead on."""
        asked = self._take(self.get_body_argument("state", ""))
        if error := self.get_body_argument("error", ""):
            self.log.warning("lti: %s answers %s", asked.platform.issuer, error)
            raise web.HTTPError(403, f"{asked.platform.title} does not say who you are.")
        token = self.get_body_argument("id_token", "")
        try:
            launch = await self.tool.believe(token, asked.platform, asked.nonce, self.origin)
        except LaunchError as error:
            self.log.warning("lti: a token of %s is refused: %s", asked.platform.issuer, error)
            raise web.HTTPError(403, f"Nobody is signed in: {error}.") from None
        except UnansweredError as error:
            self.log.error("lti: %s", error)
            raise web.HTTPError(
                503, f"{asked.platform.title} does not answer. Please try again in a minute."
            ) from None
        user = await self.login_user(launch)
        if user is None:
            raise web.HTTPError(403, "You may not sign in here.")
        if launch.course:
            await self.tool.exchange.take(launch, user.name)
        if launch.chooses:
            told = await self.tool.exchange.assignments(user.name, launch.course)
            words = {"course": launch.course, "assignments": told}
            await self._show(
                launch, "lti-choose.html", key=self._choose(launch, user.name), **words
            )
        elif in_frame(self.request.headers):
            key = self.tool.windows.keep(user.name, launch)
            await self._show(launch, "lti-window.html", key=key)
        else:
            self._lead(launch, user)

    def _choose(self, launch: Launch, name: str) -> str:
        """Remember what a teacher sets up a link for; its key.

        Raises:
            HTTPError: 403, it is no teacher of one of our courses; 400, no link can be set up so.
        """
        if not (launch.teaches and launch.course):
            raise web.HTTPError(403, "Only teachers of a course set up links to it.")
        if LINK not in launch.chooses.get("accept_types", ()):
            raise web.HTTPError(400, f"{launch.platform.title} takes no link here.")
        return self.tool.choices.keep(name, launch)


class _Own(_PlatformPage):
    """What pages of these send on; a key in them says who it is, also where no cookie comes."""

    from_elsewhere = False

    @property
    def key(self) -> str:
        """The key."""
        key: str = self.get_body_argument("key", "")
        return key

    @property
    def name(self) -> str:
        """Who is signed in here; empty: nobody, as in a frame."""
        return self.current_user.name if self.current_user else ""


class Linking(_Own):
    """``POST /hub/lti/link``: a teacher has chosen what a link there opens; that goes back."""

    async def post(self) -> None:
        """Sign it, and have the browser send it."""
        tool = self.tool
        if (found := tool.choices.take(self.key, self.name)) is None:
            raise web.HTTPError(400, _GONE)
        name, launch = found
        assignment = self.get_body_argument("assignment", "")
        if assignment and assignment not in await tool.exchange.assignments(name, launch.course):
            raise web.HTTPError(404, "There is no such assignment.")
        wanted = assignment or self.get_body_argument("open", "")
        answer = response(launch, self.place("launch"), assignment, wanted)
        signed, place = tool.pair.sign(answer, OLDEST), launch.chooses["deep_link_return_url"]
        await self._show(launch, "lti-chosen.html", place=place, answer=signed)


class Window(_Own):
    """``POST /hub/lti/window``: what was opened inside a platform's page goes on."""

    async def post(self) -> None:
        """Sign in, and lead on."""
        if (found := self.tool.windows.take(self.key)) is None:
            raise web.HTTPError(400, self._again())
        user = await self.login_user(found[1])
        if user is None:
            raise web.HTTPError(403, "You may not sign in here.")
        self._lead(found[1], user)


def _part(launch: Launch) -> str:
    """Where on the page of assignments somebody is led: a teacher to the assignment's own."""
    told = {"course": launch.course, "assignment": launch.custom.get("assignment", "")}
    return f"?{urlencode(told)}" if launch.teaches and told["assignment"] else ""


class Keys(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    """``GET /hub/lti/keys``: the tool's public keys, for platforms."""

    def get(self) -> None:
        """Give them."""
        self.finish({"keys": [self.authenticator.tool.pair.public]})
