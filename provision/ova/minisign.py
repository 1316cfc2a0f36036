"""Sign and verify files as minisign does: Ed25519 over BLAKE2b, with a trusted comment.

The formats are those of https://jedisct1.github.io/minisign/: prehashed signatures (``ED``) and
secret keys without a password, as ``minisign -G -W`` makes them. Both programs read each other's
files.
"""

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from provision.errors import ApplianceError, HostNotReadyError, VerificationError
from provision.files import write_whole

_KEY, _PREHASHED, _BLAKE2B, _NO_PASSWORD = b"Ed", b"ED", b"B2", b"\0\0"
_PUBLIC_SIZE, _SECRET_SIZE, _SIGNATURE_SIZE = 42, 158, 74
_SALT = bytes(32 + 8 + 8)  # key derivation's salt and limits, unused without a password
_CHECKSUM = bytes(32)  # minisign fills it in only where a password could be wrong


@dataclass(frozen=True)
class PublicKey:
    """What verifies: the number that names the key pair, and the key."""

    number: bytes
    key: Ed25519PublicKey

    def text(self) -> str:
        """Return the content of a .pub file."""
        raw = self.key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return (
            f"untrusted comment: minisign public key {self.number[::-1].hex().upper()}\n"
            f"{base64.b64encode(_KEY + self.number + raw).decode()}\n"
        )


def generate(secret: Path) -> PublicKey:
    """Make a key pair; the secret key goes to a new file that only its owner may read.

    Args:
        secret: the file to make.

    Raises:
        ApplianceError: the file exists.
        HostNotReadyError: it cannot be written.
    """
    key, number = Ed25519PrivateKey.generate(), os.urandom(8)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    pair = key.private_bytes_raw() + public
    blob = _KEY + _NO_PASSWORD + _BLAKE2B + _SALT + number + pair + _CHECKSUM
    text = b"untrusted comment: minisign secret key\n" + base64.b64encode(blob) + b"\n"
    try:
        write_whole(secret, text, mode=0o600, replace=False, durable=True)
    except FileExistsError as error:
        raise ApplianceError(f"{secret} exists, and a key is never overwritten") from error
    except OSError as error:
        raise HostNotReadyError(f"cannot write the key {secret}: {error.strerror}") from error
    return PublicKey(number, key.public_key())


def sign(path: Path, secret: Path, trusted_comment: str) -> Path:
    """Sign a file; the signature stands beside it, with ``.minisig`` at the end of its name.

    Args:
        path: what to sign.
        secret: the secret key's file.
        trusted_comment: one line that the signature covers too.

    Raises:
        ApplianceError: the key's file is not of the expected form, or has a password.
    """
    number, key = _secret(secret)
    signature = key.sign(_hash(path))
    comment = " ".join(trusted_comment.split())
    lines = (
        "untrusted comment: signature of the appliance",
        base64.b64encode(_PREHASHED + number + signature).decode(),
        f"trusted comment: {comment}",
        base64.b64encode(key.sign(signature + comment.encode())).decode(),
    )
    beside = path.with_name(path.name + ".minisig")
    beside.write_text("\n".join(lines) + "\n")
    return beside


def public_of(secret: Path) -> PublicKey:
    """The public half of a secret key.

    Raises:
        ApplianceError: the key's file is not of the expected form, or has a password.
    """
    number, key = _secret(secret)
    return PublicKey(number, key.public_key())


def public_key(path: Path) -> PublicKey:
    """Read a .pub file.

    Raises:
        VerificationError: it is none.
    """
    blob = _decode(path, _PUBLIC_SIZE, VerificationError, "public key")
    if blob[:2] != _KEY:
        raise VerificationError(f"{path} is no minisign public key")
    return PublicKey(blob[2:10], Ed25519PublicKey.from_public_bytes(blob[10:]))


def verify(path: Path, signature: Path, key: PublicKey) -> str:
    """Check the signature of a file and return its trusted comment.

    Args:
        path: the signed file.
        signature: its .minisig file.
        key: who should have signed it.

    Raises:
        VerificationError: signed by another key, changed, or no such signature.
    """
    blob = _decode(signature, _SIGNATURE_SIZE, VerificationError, "signature")
    lines = _lines(signature)
    prefix = "trusted comment: "
    if blob[:2] != _PREHASHED or len(lines) != 4 or not lines[2].startswith(prefix):
        raise VerificationError(f"{signature} is no prehashed minisign signature")
    if blob[2:10] != key.number:
        raise VerificationError(
            f"{path} was signed with key {blob[2:10][::-1].hex().upper()},"
            f" not with {key.number[::-1].hex().upper()}"
        )
    comment = lines[2].removeprefix(prefix)
    try:
        key.key.verify(blob[10:], _hash(path))
        key.key.verify(_bytes(lines[3]), blob[10:] + comment.encode())
    except (InvalidSignature, ValueError) as error:
        raise VerificationError(f"{path} or {signature} was changed: the signature is wrong") from (
            error
        )
    return comment


def _secret(secret: Path) -> tuple[bytes, Ed25519PrivateKey]:
    blob = _decode(secret, _SECRET_SIZE, ApplianceError, "secret key")
    if blob[:2] != _KEY or blob[4:6] != _BLAKE2B:
        raise ApplianceError(f"{secret} is no minisign secret key")
    if blob[2:4] != _NO_PASSWORD:
        raise ApplianceError(
            f"{secret} is locked with a password",
            hint="minisign -C -W -s FILE removes it; or make a key with minisign -G -W",
        )
    number, seed, public = blob[54:62], blob[62:94], blob[94:126]
    key = Ed25519PrivateKey.from_private_bytes(seed)
    if key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) != public:
        raise ApplianceError(f"{secret} is damaged: its two halves do not belong together")
    return number, key


def _decode(path: Path, size: int, failure: type[ApplianceError], what: str) -> bytes:
    try:
        blob = _bytes(_lines(path)[1])
    except (OSError, IndexError, ValueError) as error:
        raise failure(f"{path} is no minisign {what}: {error}") from error
    if len(blob) != size:
        raise failure(f"{path} is no minisign {what}: {len(blob)} bytes, expected {size}")
    return blob


def _lines(path: Path) -> list[str]:
    """A file's lines, where only a line feed ends one, before which Windows has put its own."""
    lines = path.read_bytes().decode(errors="replace").removesuffix("\n").split("\n")
    return [line.removesuffix("\r") for line in lines]


def _bytes(text: str) -> bytes:
    """Decode base64 in its one canonical form, or what was changed might mean the same.

    Raises:
        ValueError: it is not.
    """
    blob = base64.b64decode(text, validate=True)
    if base64.b64encode(blob).decode() != text:
        raise ValueError("not canonical base64")
    return blob


def _hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()
