"""What a platform says of somebody who opens the notebook there: its token, read and checked.

The token comes by way of the visitor's browser, so that nothing in it is believed before the
platform's signature is: IMS Security Framework 1.0, 5.1.3, and LTI 1.3, 5.3 and appendix.
"""

import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import jwt

from provision.guest.lti.platforms import Platform

LTI = "https://purl.imsglobal.org/spec/lti/claim"
LINKS = "https://purl.imsglobal.org/spec/lti-dl/claim"
ROSTER = "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice"
GRADES = "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint"
INSTRUCTOR = "http://purl.imsglobal.org/vocab/lis/v2/membership#Instructor"
LEARNER = "http://purl.imsglobal.org/vocab/lis/v2/membership#Learner"
RESOURCE, CHOOSING = "LtiResourceLinkRequest", "LtiDeepLinkingRequest"
ALGORITHM = "RS256"  # the one that each platform must have, and no other is taken
LEEWAY = 60  # seconds by which clocks may differ
OLDEST = 600  # seconds since a token was made
LONGEST = 48 << 10  # characters of a token
LONGEST_ID = 255  # characters of somebody's id, by the specification
NEEDED = ["iss", "aud", "exp", "iat", "nonce", "sub"]


class LaunchError(Exception):
    """The token is not believed; the message says why, to whoever brings it."""


@dataclass(frozen=True)
class Launch:
    """Somebody, at a place of a platform.

    Args:
        platform: which has said it.
        sub: the platform's own id of the person.
        title: the person's name; empty: it is not told.
        teaches: whether the person teaches the course there.
        learns: whether the person learns there.
        deployment, context: the place; an empty context is none.
        custom: what whoever set the link up there has put into it.
        chooses: what is to be chosen and where that goes, where a link is being set up.
        roster: where the course's people are asked for; empty: nowhere.
        grades: where grades go, as the platform says.
    """

    platform: Platform
    sub: str
    title: str
    teaches: bool
    learns: bool
    deployment: str
    context: str
    custom: Mapping[str, str] = field(default_factory=dict)
    chooses: Mapping[str, Any] = field(default_factory=dict)
    roster: str = ""
    grades: Mapping[str, Any] = field(default_factory=dict)

    @property
    def course(self) -> str:
        """The course of ours that the place is; empty: none."""
        return self.platform.courses.get((self.deployment, self.context), "")


def key_id(token: str) -> str:
    """Which of the platform's keys is said to have signed.

    Raises:
        LaunchError: it is no token, or one that we do not take.
    """
    if len(token) > LONGEST:
        raise LaunchError("what the platform says is too long")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise LaunchError(f"what the platform says is no token: {error}") from None
    if header.get("alg") != ALGORITHM:
        raise LaunchError(f"the token is not signed by {ALGORITHM}")
    if not isinstance(kid := header.get("kid"), str) or not kid:
        raise LaunchError("the token does not say which key has signed it")
    return kid


def read(token: str, platform: Platform, key: Any, nonce: str, origin: str) -> Launch:
    """Believe a token, or not.

    Args:
        token: as the browser brings it.
        platform: which is said to have made it.
        key: the platform's public key.
        nonce: what the token was asked for with.
        origin: of the hub, as the browser has it.

    Raises:
        LaunchError: it is not believed.
    """
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=platform.client_id,
            issuer=platform.issuer,
            leeway=LEEWAY,
            options={"require": NEEDED},
        )
    except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError) as error:
        raise LaunchError(
            f"the time is wrong: {error}; the platform's clock or this one's is off"
        ) from None
    except (jwt.PyJWTError, TypeError, ValueError, OverflowError) as error:
        raise LaunchError(f"the token is not the platform's, or not for us: {error}") from None
    if time.time() - int(claims["iat"]) > OLDEST + LEEWAY:
        raise LaunchError("the token is too old; this clock may be off")
    if claims["nonce"] != nonce:
        raise LaunchError("the token was made for another sign-in")
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else platform.client_id) != platform.client_id:
        raise LaunchError("the token was made for somebody else (azp)")
    return _launch(claims, platform, origin)


def plain(text: object) -> str:
    """A person's name in one line, without what turns or hides it; empty: there is none."""
    if not isinstance(text, str):
        return ""
    shown = "".join(c if unicodedata.category(c)[0] not in "CZ" else " " for c in text[:400])
    return " ".join(shown.split())[:80]


def title_of(person: Mapping[str, Any]) -> str:
    """The name of a person, as token and roster tell it; empty: they do not."""
    parts = (plain(person.get("given_name")), plain(person.get("family_name")))
    return plain(person.get("name")) or " ".join(filter(None, parts))


def has(role: str, roles: object) -> bool:
    """Whether somebody has a role in the course; one of the school or the machine is none.

    Args:
        role: ``INSTRUCTOR`` or ``LEARNER``.
        roles: as token and roster tell them. The short form is the roster's, and of older ones.
    """
    return isinstance(roles, list) and bool({role, role.rpartition("#")[2]} & set(map(str, roles)))


def own(address: object, origin: str) -> bool:
    """Whether an address is this hub's; nobody is sent to any other."""
    if not isinstance(address, str):
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return f"{parts.scheme}://{parts.netloc}" == origin and "\\" not in address


def _launch(claims: Mapping[str, Any], platform: Platform, origin: str) -> Launch:
    sub = claims["sub"]
    if not (isinstance(sub, str) and 0 < len(sub) <= LONGEST_ID and sub.strip() == sub):
        raise LaunchError("the platform does not say who it is (sub)")
    if claims.get(f"{LTI}/version") != "1.3.0":
        raise LaunchError("the platform speaks another LTI than 1.3.0")
    if (deployment := claims.get(f"{LTI}/deployment_id")) not in platform.deployments:
        raise LaunchError("the platform's deployment is none of those that are set up here")
    if not isinstance(roles := claims.get(f"{LTI}/roles"), list):
        raise LaunchError("the platform does not say what the person is there (roles)")
    kind, chooses = claims.get(f"{LTI}/message_type"), _mapping({}, "")
    if kind == CHOOSING:
        chooses = _mapping(claims, f"{LINKS}/deep_linking_settings")
        if not _service(chooses.get("deep_link_return_url"), platform):
            raise LaunchError("the platform does not say where the choice goes")
    elif kind == RESOURCE:
        if not own(claims.get(f"{LTI}/target_link_uri"), origin):
            raise LaunchError("the link leads elsewhere (target_link_uri)")
        if not _text(_mapping(claims, f"{LTI}/resource_link").get("id")):
            raise LaunchError("the platform does not say which link it is (resource_link)")
    else:
        raise LaunchError("what the platform wants is nothing that the notebook does")
    custom = _mapping(claims, f"{LTI}/custom")
    return Launch(
        platform,
        sub,
        title_of(claims),
        teaches=has(INSTRUCTOR, roles),
        learns=has(LEARNER, roles),
        deployment=str(deployment),
        context=_text(_mapping(claims, f"{LTI}/context").get("id")),
        custom={name: text for name, text in custom.items() if isinstance(text, str)},
        chooses=chooses,
        roster=_service(_mapping(claims, ROSTER).get("context_memberships_url"), platform),
        grades=_grades(_mapping(claims, GRADES), platform),
    )


def _grades(told: Mapping[str, Any], platform: Platform) -> dict[str, Any]:
    """Where grades go and what may be done there; nothing, where that is not told."""
    places = {name: _service(told.get(name), platform) for name in ("lineitem", "lineitems")}
    scope = told.get("scope")
    if not any(places.values()) or not isinstance(scope, list):
        return {}
    return {**places, "scope": [each for each in scope if isinstance(each, str)]}


def _service(address: object, platform: Platform) -> str:
    """An address of a platform's; as safe as the one at which its services are opened."""
    safe = {"https", urlsplit(platform.token).scheme}
    return address if isinstance(address, str) and urlsplit(address).scheme in safe else ""


def _mapping(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = told.get(name)
    return found if isinstance(found, dict) else {}


def _text(told: object) -> str:
    return told if isinstance(told, str) else ""
