"""The learning platforms of the configuration, and which of their courses are ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provision.guest.pool.rolls import places_of


@dataclass(frozen=True)
class Platform:
    """A learning platform.

    Args:
        title: what it is called.
        issuer: its id.
        client_id: of this appliance there.
        deployments: of this appliance there.
        authorization: the address at which it says who somebody is.
        keys: the address of its public keys.
        token: the address at which its services are opened.
        audience: what it calls that service.
        courses: ours, by deployment and context there.
    """

    title: str
    issuer: str
    client_id: str
    deployments: tuple[str, ...]
    authorization: str
    keys: str
    token: str
    audience: str
    courses: Mapping[tuple[str, str], str]

    @property
    def name(self) -> tuple[str, str]:
        """What no other platform has."""
        return self.issuer, self.client_id


def read_platforms(told: Sequence[Mapping[str, Any]]) -> list[Platform]:
    """The platforms.

    Args:
        told: ``sign_in.lti`` of the record.
    """
    return [
        Platform(
            title=each["title"],
            issuer=each["issuer"],
            client_id=each["client_id"],
            deployments=tuple(each["deployments"]),
            authorization=each["authorization"],
            keys=each["keys"],
            token=each["token"],
            audience=each.get("audience") or each["token"],
            courses=places_of(each),
        )
        for each in told
    ]


def find(platforms: Sequence[Platform], issuer: str, client_id: str) -> Platform | None:
    """The platform that is meant; None: it is none of ours, or it is not clear which.

    Args:
        platforms: all.
        issuer: the platform's id.
        client_id: empty: it was not said, as it need not be where there is one.
    """
    found = [p for p in platforms if p.issuer == issuer and client_id in ("", p.client_id)]
    return found[0] if len(found) == 1 else None
