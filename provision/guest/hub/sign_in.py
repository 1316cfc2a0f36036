"""Sign-in by the school's own provider: Google, any OpenID Connect provider, or LDAP.

The provider says who somebody is; who of them may come in is ours: domains of mail addresses and
groups. The client's secret is in a file of the hub's own, never in the configuration.
"""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldap3.core.exceptions import LDAPException
from ldapauthenticator import LDAPAuthenticator
from ldapauthenticator.ldapauthenticator import TlsStrategy
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.google import GoogleOAuthenticator
from oauthenticator.oauth2 import OAuthenticator
from tornado import httpclient, web
from traitlets import Dict, Unicode, default
from traitlets.config import Config

from provision.guest.pool.certificate import NAME

SECRET = "sign-in-secret"  # noqa: S105 - the name of a file
SECONDS = 5
SILENT = "The school's sign-in does not answer. Please try again in a minute."
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
LDAP_PORT, LDAPS_PORT = 389, 636


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
        "username_pattern": NAME.pattern,
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

    @default("client_secret")
    def _secret(self) -> str:
        try:
            return Path(self.secret_file).read_text().strip()
        except OSError:
            self.log.error("There is no client secret: sudo notebook-secret")
            raise web.HTTPError(
                503, "Sign-in is not set up: the administrator has yet to give the client's secret."
            ) from None

    async def httpfetch(self, url: str, *words: Any, **options: Any) -> Any:
        """Ask the provider.

        Raises:
            HTTPError: 503, it does not answer; 502, it refuses.
        """
        try:
            return await super().httpfetch(url, *words, **options)
        except (OSError, httpclient.HTTPClientError) as error:
            self.log.error("%s: %s", url, error)
            if isinstance(error, httpclient.HTTPClientError) and error.code < 500:
                raise web.HTTPError(
                    502, "The school's sign-in refuses this notebook. Tell your teacher."
                ) from None
            raise web.HTTPError(503, SILENT) from None

    def normalize_username(self, username: str) -> str:
        """Names are written small, as mail addresses are compared."""
        return username.strip().lower()


class Oidc(_WithSecret, GenericOAuthenticator):  # type: ignore[misc]  # it has no types
    """Any provider that publishes its configuration under its issuer's address."""

    issuer = Unicode(config=True, help="The provider's address.")
    allowed = Dict(config=True, help="Domains and groups of which one each is needed.")
    groups_claim = Unicode("groups", config=True, help="The claim with a student's groups.")
    _published: dict[str, Any] | None = None

    @default("authorize_url")
    def _authorize_url(self) -> str:
        _ = self.client_secret  # rather said before the student has typed a password
        return self._place("authorization_endpoint")

    @default("token_url")
    def _token_url(self) -> str:
        return self._place("token_endpoint")

    @default("userdata_url")
    def _userdata_url(self) -> str:
        return self._place("userinfo_endpoint")

    def _place(self, name: str) -> str:
        """One address of the provider's published configuration, asked when first needed."""
        if self._published is None:
            url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            try:
                with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310
                    self._published = json.load(answer)
            except (OSError, ValueError, urllib.error.URLError) as error:
                self.log.error("%s does not answer: %s", url, error)
                raise web.HTTPError(503, SILENT) from None
        return str(self._published[name])

    async def check_allowed(self, username: str, auth_model: dict[str, Any] | None) -> bool:
        """Whether the provider's answer has a domain and a group that may come in."""
        if auth_model is None:
            return True
        claims = auth_model["auth_state"][self.user_auth_state_key]
        why = refused(claims, self.allowed, self.groups_claim)
        if why and username not in self.admin_users:
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
        await super().check_allowed(username, auth_model)
        return True


class Ldap(LDAPAuthenticator):  # type: ignore[misc]  # it has no types
    """The school's directory; one that does not answer, or not safely, is said to be so."""

    async def authenticate(self, handler: Any, data: dict[str, str]) -> Any:
        """Ask the directory.

        Raises:
            HTTPError: 503, it could not be asked.
        """
        try:
            return await super().authenticate(handler, data)
        except LDAPException as error:
            self.log.error("%s: %s", self.server_address, error)
            raise web.HTTPError(
                503, "The school's directory does not answer as it should. Tell your teacher."
            ) from None


def refused(claims: Mapping[str, Any], allowed: Mapping[str, Any], groups_claim: str) -> str:
    """Why somebody may not come in; empty: may.

    Args:
        claims: what the provider says of somebody.
        allowed: ``domains`` and ``groups``; of each that is not empty, one is needed.
        groups_claim: the claim that lists groups.
    """
    address = str(claims.get("email") or "")
    domain = address.rpartition("@")[2].lower()
    if allowed["domains"] and domain not in allowed["domains"]:
        return "your mail address is of another domain"
    if allowed["domains"] and claims.get("email_verified") is False:
        return "your mail address is not verified"
    groups = claims.get(groups_claim) or ()
    groups = {groups} if isinstance(groups, str) else set(map(str, groups))
    if allowed["groups"] and not groups & set(allowed["groups"]):
        return "you are in none of its groups"
    return ""


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
