"""Read an OVA's manifest (.mf) and certificate (.cert)."""

import re

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from provision.errors import VerificationError

_LINE = re.compile(r"(SHA1|SHA256|SHA512) ?\((.+)\) ?= ?([0-9a-f]+|[0-9A-F]+)\r?")
_LENGTHS = {"SHA1": 40, "SHA256": 64, "SHA512": 128}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "SHA1": hashes.SHA1(),  # noqa: S303 (what old OVAs are signed with; we only read it)
    "SHA256": hashes.SHA256(),
    "SHA512": hashes.SHA512(),
}


def parse(name: str, data: bytes) -> dict[str, tuple[str, str]]:
    """Return algorithm and digest of each file that a manifest lists.

    Args:
        name: the manifest's file name, for errors.
        data: its content.

    Raises:
        VerificationError: a line is not of a manifest's form.
    """
    entries: dict[str, tuple[str, str]] = {}
    lines = data.decode("utf-8", "replace").split("\n")
    if lines[-1]:
        raise VerificationError(f"{name} is truncated: its last line has no end")
    for number, line in enumerate(lines[:-1], 1):
        if not line.strip("\r"):
            continue
        match = _LINE.fullmatch(line)
        if not match or len(match[3]) != _LENGTHS[match[1]]:
            raise VerificationError(f"{name}, line {number}: not a digest: {line[:80]!r}")
        if match[2] in entries:
            raise VerificationError(f"{name}, line {number}: {match[2]} is listed twice")
        entries[match[2]] = (match[1], match[3].lower())
    return entries


def check_certificate(name: str, data: bytes, manifest: str, content: bytes) -> str:
    """Check that a certificate's key signed the manifest; whose it is remains to be judged.

    Args:
        name: the .cert member's name, for errors.
        data: its content: the signature as a manifest's line, then a PEM certificate.
        manifest: the manifest's name.
        content: the manifest's content.

    Returns:
        The certificate's subject.

    Raises:
        VerificationError: the signature does not fit, or the file is not of that form.
    """
    line, _, pem = data.partition(b"\n")
    match = _LINE.fullmatch(line.decode("utf-8", "replace"))
    if not match or match[2] != manifest:
        raise VerificationError(f"{name}: its first line is no signature of {manifest}")
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise VerificationError(f"{name}: the certificate's key is not RSA")
        key.verify(bytes.fromhex(match[3]), content, padding.PKCS1v15(), _HASHES[match[1]])
    except InvalidSignature as error:
        raise VerificationError(f"{name}: the signature of {manifest} is wrong") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise VerificationError(f"{name}: no usable certificate: {error}") from error
    return certificate.subject.rfc4514_string()
