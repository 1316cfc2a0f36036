"""Sign-in by the school's own provider: Google, any OpenID Connect provider, or LDAP.

The provider says who somebody is; who of them may come in is ours: domains of mail addresses and
groups. The client's secret is in a file of the hub's own, never in the configuration.
"""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ldap3
from ldap3.core.exceptions import LDAPBindError, LDAPException
from ldapauthenticator import LDAPAuthenticator
from ldapauthenticator.ldapauthenticator import TlsStrategy
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.google import GoogleOAuthenticator
from oauthenticator.oauth2 import OAuthenticator, OAuthLoginHandler
from tornado import httpclient, web
from traitlets import Dict, Unicode, default
from traitlets.config import Config

from provision.guest.hub.claims import ENDPOINTS, endpoints, is_verified, refusal
from provision.guest.hub.silence import SILENT, Silence
from provision.guest.pool.certificate import NAME, WHOLE
from provision.guest.pool.lockout import PasswordGuard
from provision.guest.pool.visits import trying

SECRET = "sign-in-secret"  # noqa: S105 - the name of a file
SECONDS = 5
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
LDAP_PORT, LDAPS_PORT = 389, 636
UNUSABLE = "The school's sign-in answers what cannot be used. Tell your teacher."
NAMELESS = "The school's sign-in tells no name of yours that can be used here. Tell your teacher."


def configure(wanted: Mapping[str, Any], state: Path) -> Config:
    """JupyterHub's settings for one kind of sign-in.

    Args:
        wanted: ``google``, ``oidc`` or ``ldap`` with its settings, and ``admins``.
        state: directory of the hub's own files.

    Raises:
        ValueError: there is none of the three.
    """
    shared: dict[str, Any] = {
        "admin_users": set(wanted["admins"]),
        "username_pattern": WHOLE,
    }
    kind = next((kind for kind in ("google", "oidc", "ldap") if wanted.get(kind)), None)
    if kind is None:
        raise ValueError("sign_in names no provider")
    told = wanted[kind]
    if kind == "ldap":
        return _ldap(told, shared)
    shared |= {"secret_file": str(state / SECRET), "client_id": told["client_id"]}
    if kind == "google":
        settings = {**shared, "hosted_domain": list(told["domains"])}
        settings |= {"strip_domain": False}  # a name is one person's, whatever domains follow
        return _with("Google", settings)
    settings = {
        **shared,
        "issuer": told["issuer"],
        "login_service": told["title"],
        "username_claim": told["username"],
        "scope": ["openid", "email", "profile"],
        "allowed": {name: list(told[name]) for name in ("domains", "groups")},
        "groups_claim": told["groups_claim"],
    }
    return _with("Oidc", settings)


class _WithSecret(OAuthenticator):  # type: ignore[misc]  # it has no types
    """The client's secret is read from a file when it is needed."""

    secret_file = Unicode(config=True, help="The file with the client's secret.")

    def __init__(self, **words: Any) -> None:
        super().__init__(**words)
        self._silence = Silence(OSError, httpclient.HTTPClientError)
        self.http_request_kwargs = {"connect_timeout": SECONDS, "request_timeout": 2 * SECONDS}

    @default("client_secret")
    def _secret(self) -> str:
        try:
            secret = Path(self.secret_file).read_text().strip(" \t\r\n\0")
        except OSError:
            secret = ""
        if secret:
            return secret
        self.log.error("There is no client secret: sudo notebook-secret")
        raise web.HTTPError(
            503, "Sign-in is not set up: the administrator has yet to give the client's secret."
        )

    async def httpfetch(self, url: str, *words: Any, **options: Any) -> Any:
        """Ask the provider.

        Raises:
            HTTPError: 503, it does not answer; 502, it refuses, or answers what is no JSON.
        """
        try:
            with self._silence.asking():
                return await super().httpfetch(url, *words, **options)
        except (OSError, httpclient.HTTPClientError) as error:
            self.log.error("%s: %s", url, error)
            if isinstance(error, httpclient.HTTPClientError) and error.code < 500:
                raise web.HTTPError(
                    502, "The school's sign-in refuses this notebook. Tell your teacher."
                ) from None
            raise web.HTTPError(503, SILENT) from None
        except ValueError as error:
            self.log.error("%s: %s", url, error)
            raise web.HTTPError(502, UNUSABLE) from None

    async def token_to_user(self, token_info: dict[str, Any]) -> dict[str, Any]:
        """What the provider says of somebody.

        Raises:
            HTTPError: 502, it says nothing that can be used.
        """
        told = await super().token_to_user(token_info)
        if not isinstance(told, dict):
            raise web.HTTPError(502, UNUSABLE)
        return told

    def user_info_to_username(self, user_info: dict[str, Any]) -> str:
        """The claim that names somebody.

        Raises:
            HTTPError: 403, there is none, or it is no text.
        """
        if not isinstance(told := user_info.get(self.username_claim), str) or not told.strip():
            self.log.error("The provider's answer has no claim %s", self.username_claim)
            raise web.HTTPError(403, NAMELESS)
        try:
            return str(super().user_info_to_username(user_info))
        except (KeyError, IndexError):  # Google's asks for the domain of an address
            raise web.HTTPError(403, NAMELESS) from None

    def normalize_username(self, username: str) -> str:
        """Names are written small, as mail addresses are compared.

        Only ASCII is: the Kelvin sign, written small, is a k, and would be somebody else's.
        """
        return username.strip().lower() if username.isascii() else username


class OidcLogin(OAuthLoginHandler):  # type: ignore[misc]  # it has no types
    """The button: where it leads to is asked when it is first pressed."""

    async def get(self) -> None:
        """Lead to the provider."""
        _ = self.authenticator.client_secret  # rather said before a password is typed there
        await self.authenticator.discover()
        super().get()


class Oidc(_WithSecret, GenericOAuthenticator):  # type: ignore[misc]  # it has no types
    """Any provider that publishes its configuration under its issuer's address."""

    login_handler = OidcLogin
    issuer = Unicode(config=True, help="The provider's address.")
    allowed = Dict(config=True, help="Domains and groups of which one each is needed.")
    groups_claim = Unicode("groups", config=True, help="The claim with a student's groups.")
    _asking: asyncio.Task[None] | None = None

    async def authenticate(self, handler: Any, data: Any = None, **words: Any) -> Any:
        """Ask the provider for whom it is."""
        await self.discover()
        return await super().authenticate(handler, data, **words)

    async def discover(self) -> None:
        """Read the provider's published configuration, once; all who need it wait for one answer.

        Raises:
            HTTPError: 503, it does not answer; 502, it publishes nothing that can be used.
        """
        if self.authorize_url:
            return
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._discover())
        await asyncio.shield(self._asking)

    async def _discover(self) -> None:
        url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        published = await self.httpfetch(url, label="reading the provider's configuration")
        try:
            found = endpoints(published, urlsplit(self.issuer).scheme)
        except ValueError as error:
            self.log.error("%s: %s", url, error)
            raise web.HTTPError(502, UNUSABLE) from None
        for name in reversed(ENDPOINTS):  # the first one says that all are there
            setattr(self, name, found[name])

    async def check_allowed(self, username: str, auth_model: dict[str, Any] | None) -> bool:
        """Whether the provider's answer has a domain and a group that may come in.

        Raises:
            HTTPError: 403, it has not. That holds for administrators, too.
        """
        if auth_model is None:
            return True
        claims = auth_model["auth_state"][self.user_auth_state_key]
        by_mail = self.username_claim == "email"
        if why := refusal(claims, self.allowed, self.groups_claim, by_mail=by_mail):
            self.log.warning("Sign-in of %s refused: %s", username, why)
            raise web.HTTPError(403, f"This notebook is not open to you: {why}.")
        return True


class Google(_WithSecret, GoogleOAuthenticator):  # type: ignore[misc]  # it has no types
    """Google accounts of the school's own domains; unverified addresses do not count."""

    @default("authorize_url")
    def _authorize_url(self) -> str:
        _ = self.client_secret
        return "https://accounts.google.com/o/oauth2/v2/auth"

    async def check_allowed(self, username: str, auth_model: dict[str, Any] | None) -> bool:
        """Whoever is of the school's domains, which ``check_blocked_users`` has made sure of.

        Raises:
            HTTPError: 403, the mail address is not verified.
        """
        if auth_model is not None:
            claims = auth_model["auth_state"][self.user_auth_state_key]
            if not is_verified(claims.get("verified_email")):
                raise web.HTTPError(403, "Your mail address is not verified.")
        await super().check_allowed(username, auth_model)
        return True


class Ldap(LDAPAuthenticator):  # type: ignore[misc]  # it has no types
    """The school's directory; one that does not answer, or not safely, is said to be so."""

    def __init__(self, **words: Any) -> None:
        super().__init__(**words)
        self._guard, self._silence = PasswordGuard(), Silence(OSError, LDAPException)

    async def authenticate(self, handler: Any, data: dict[str, str]) -> Any:
        """Ask the directory, beside the hub's loop, and not as fast as somebody likes to guess.

        Raises:
            HTTPError: 503, it could not be asked; 429, too many are or were tried.
        """
        name = data["username"].strip().lower()
        if not NAME.fullmatch(name):
            return None
        ask = super().authenticate
        async with trying(self._guard, handler, name) as turn:
            try:
                with self._silence.asking():
                    told = await asyncio.to_thread(lambda: asyncio.run(ask(handler, data)))
            except web.HTTPError:
                turn.unknown = True
                raise
            except (LDAPException, OSError) as error:
                turn.unknown = True
                self.log.error("%s: %s", self.server_address, error)
                raise web.HTTPError(
                    503, "The school's directory does not answer as it should. Tell your teacher."
                ) from None
            turn.right = told is not None
        return told

    def get_connection(self, userdn: str, password: str) -> Any:
        """A connection as one student; None: the password is wrong.

        As in the class above, with a time after which a directory counts as silent.

        Raises:
            LDAPException: the directory does not answer, or not safely.
        """
        begin = ldap3.AUTO_BIND_NO_TLS
        if self.tls_strategy == TlsStrategy.before_bind:
            begin = ldap3.AUTO_BIND_TLS_BEFORE_BIND
        server = ldap3.Server(
            self.server_address,
            port=self.server_port,
            use_ssl=self.tls_strategy == TlsStrategy.on_connect,
            tls=ldap3.Tls(**self.tls_kwargs),
            connect_timeout=SECONDS,
        )
        try:
            return ldap3.Connection(
                server,
                user=userdn,
                password=password,
                auto_bind=begin,
                receive_timeout=2 * SECONDS,
            )
        except LDAPBindError:
            return None


def _ldap(told: Mapping[str, Any], shared: Mapping[str, Any]) -> Config:
    host, _, port = told["server"].partition(":")
    usual = LDAPS_PORT if told["tls"] == "on_connect" else LDAP_PORT
    settings = {
        **shared,
        "server_address": host,
        "server_port": int(port or usual),
        "tls_strategy": TlsStrategy[told["tls"]],
        # Its own default is to take any certificate.
        "tls_kwargs": {"validate": ssl.CERT_REQUIRED, "ca_certs_file": AUTHORITIES},
        "bind_dn_template": [told["template"]],
        "allowed_groups": list(told["groups"]),
        "allow_all": not told["groups"],
    }
    return _with("Ldap", settings)


def _with(name: str, settings: Mapping[str, Any]) -> Config:
    classes = {"authenticator_class": f"{__name__}.{name}"}
    return Config({"JupyterHub": classes, name: dict(settings)})
