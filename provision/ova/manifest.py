"""Read an OVA's manifest (.mf) and certificate (.cert)."""

import re

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from provision.errors import VerificationError

# DSP0243 wants "SHA256(name)= digest"; OpenSSL 3 writes SHA2-256, Oracle's tools SHA-256, others
# small letters, tabs or "./" before the name. VirtualBox reads them all.
_LINE = re.compile(r"(SHA2?-?\d+)\s*\(\s*(?:\./)?(.+?)\s*\)\s*=\s*([0-9a-f]+)\s*", re.IGNORECASE)
_LENGTHS = {"SHA1": 40, "SHA256": 64, "SHA384": 96, "SHA512": 128}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "SHA1": hashes.SHA1(),  # noqa: S303 (what old OVAs are signed with; we only read it)
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}


def parse(name: str, data: bytes) -> dict[str, tuple[str, str]]:
    """Return algorithm and digest of each file that a manifest lists, itself left out.

    No file can hold its own digest, though some tools list it.

    Args:
        name: the manifest's file name, for errors.
        data: its content.

    Raises:
        VerificationError: a line is not of a manifest's form.
    """
    entries: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(data.decode("utf-8-sig", "replace").split("\n"), 1):
        if not line.strip():
            continue
        try:
            algorithm, file, digest = _read(line)
        except ValueError:
            raise VerificationError(
                f"{name}, line {number}: not a digest: {line[:80]!r}",
                hint="it may have been cut off: copy or download the OVA again",
            ) from None
        if file in entries:
            raise VerificationError(f"{name}, line {number}: {file} is listed twice")
        entries[file] = (algorithm, digest)
    entries.pop(name, None)
    return entries


def _read(line: str) -> tuple[str, str, str]:
    """Algorithm as hashlib names it, in capitals, file and digest of a line.

    Raises:
        ValueError: it is no such line.
    """
    match = _LINE.fullmatch(line)
    algorithm = _algorithm(match[1]) if match else ""
    if match is None or len(match[3]) != _LENGTHS.get(algorithm):
        raise ValueError(line)
    return algorithm, match[2], match[3].lower()


def _algorithm(told: str) -> str:
    return told.upper().replace("SHA2-", "SHA").replace("-", "")


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
    match = _LINE.fullmatch(line.decode("utf-8-sig", "replace"))
    if not match or match[2] != manifest:
        raise VerificationError(f"{name}: its first line is no signature of {manifest}")
    algorithm = _algorithm(match[1])
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise VerificationError(f"{name}: the certificate's key is not RSA")
        key.verify(bytes.fromhex(match[3]), content, padding.PKCS1v15(), _HASHES[algorithm])
    except InvalidSignature as error:
        raise VerificationError(f"{name}: the signature of {manifest} is wrong") from error
    except (ValueError, KeyError, UnsupportedAlgorithm) as error:
        raise VerificationError(f"{name}: no usable certificate: {error}") from error
    return certificate.subject.rfc4514_string()
