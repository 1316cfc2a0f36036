"""The tool's key pair, and the keys of platforms."""

import base64
import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from provision.guest.lti.launch import ALGORITHM, LaunchError
from provision.guest.whole import keep, locking

BITS = 2048  # at least
MINUTE = 60


class Pair:
    """The tool's own key, made when there is none; its file is the hub's alone.

    Args:
        path: of the file; what a power cut left of a key is none, and is put aside.
    """

    def __init__(self, path: Path) -> None:
        with locking(path.parent):
            self._private = _load(path)
        public = self._private.public_key()
        der = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.kid = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
        told = RSAAlgorithm.to_jwk(public, as_dict=True)
        self.public = {**told, "kid": self.kid, "alg": ALGORITHM, "use": "sig"}

    def sign(self, claims: Mapping[str, Any], seconds: int = MINUTE) -> str:
        """A token that says it is from us, now.

        Args:
            claims: what else it says.
            seconds: for which it is good.
        """
        now = int(time.time())
        told = {"iat": now, "exp": now + seconds, **claims}
        return jwt.encode(told, self._private, ALGORITHM, headers={"kid": self.kid})


def usable(published: object) -> dict[str, Any]:
    """The keys that a platform publishes and that can be used, by id.

    Args:
        published: what it answers, as JSON.
    """
    listed = published.get("keys") if isinstance(published, dict) else None
    found = {}
    for each in listed if isinstance(listed, list) else ():
        if not isinstance(each, dict) or each.get("kty") != "RSA" or each.get("use") == "enc":
            continue
        with contextlib.suppress(jwt.PyJWTError, ValueError, TypeError, KeyError):
            key = RSAAlgorithm.from_jwk(json.dumps(each))
            if isinstance(kid := each.get("kid"), str) and key.key_size >= BITS:
                found[kid] = key
    return found


class Known:
    """A platform's keys, as they were read last.

    Args:
        life: seconds for which they are believed.
        again: seconds for which one that is not among them is not asked for again.
    """

    def __init__(self, life: float = 3600, again: float = 10) -> None:
        self._life, self._again = life, again
        self._keys: dict[str, Any] = {}
        self._read = float("-inf")

    def wanting(self, kid: str) -> bool:
        """Whether the platform must be asked to know what is to be known of a key."""
        age = time.monotonic() - self._read
        return age > (self._life if kid in self._keys else self._again)

    def take(self, published: object) -> None:
        """Take what the platform answers."""
        self._keys, self._read = usable(published), time.monotonic()

    def key(self, kid: str) -> Any:
        """The key.

        Raises:
            LaunchError: the platform has no such key.
        """
        if kid not in self._keys:
            raise LaunchError("the platform publishes no key that has signed this")
        return self._keys[kid]


def _load(path: Path) -> RSAPrivateKey:
    with contextlib.suppress(FileNotFoundError):
        try:
            found = serialization.load_pem_private_key(path.read_bytes(), None)
        except ValueError:
            found = None
        if isinstance(found, RSAPrivateKey):
            return found
        path.replace(path.with_suffix(".unusable"))
    made = generate_private_key(65537, BITS)
    text = made.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    keep(path, text.decode())
    return made
