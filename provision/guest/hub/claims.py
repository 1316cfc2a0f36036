"""What a school's provider says of itself and of somebody, and who may come in by it."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

ENDPOINTS = {
    "authorize_url": "authorization_endpoint",
    "token_url": "token_endpoint",
    "userdata_url": "userinfo_endpoint",
}


def endpoints(published: Any, scheme: str) -> dict[str, str]:
    """Where a provider is asked, by its published configuration (OpenID Connect Discovery 1.0).

    Args:
        published: as read.
        scheme: of the provider's own address; where that is https, all of it is.

    Raises:
        ValueError: an address is missing, or is none.
    """
    if not isinstance(published, dict):
        raise ValueError("it publishes no configuration")
    found = {}
    for name, key in ENDPOINTS.items():
        address = published.get(key)
        if not isinstance(address, str) or urlsplit(address).scheme not in {"https", scheme}:
            raise ValueError(f"{key} is {json.dumps(address)}, and no address")
        found[name] = address
    return found


def is_verified(claim: object) -> bool:
    """Whether a provider says that a mail address is somebody's own: true, or the word.

    OpenID Connect has a boolean there, some providers a text; what is missing says nothing.
    """
    return claim is True or (isinstance(claim, str) and claim.strip().lower() == "true")


def refusal(
    claims: Mapping[str, Any],
    allowed: Mapping[str, Any],
    groups_claim: str,
    *,
    by_mail: bool = False,
) -> str:
    """Why somebody may not come in; empty: may.

    Args:
        claims: what the provider says of somebody.
        allowed: ``domains`` and ``groups``; of each that is not empty, one is needed.
        groups_claim: the claim that lists groups.
        by_mail: names are mail addresses, so that they must be somebody's own.
    """
    address = claims.get("email")
    domain = address.rpartition("@")[2].lower() if isinstance(address, str) else ""
    if allowed["domains"] and domain not in {each.lower() for each in allowed["domains"]}:
        return "your mail address is of another domain"
    told = claims.get(groups_claim)
    groups = {told} if isinstance(told, str) else set(map(str, _as_list(told)))
    if allowed["groups"] and not groups & set(allowed["groups"]):
        return "you are in none of its groups"
    if (allowed["domains"] or by_mail) and not is_verified(claims.get("email_verified")):
        return "your mail address is not verified"
    return ""


def _as_list(told: object) -> list[object]:
    return told if isinstance(told, list) else []
