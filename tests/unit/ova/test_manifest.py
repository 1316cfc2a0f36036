"""A certificate vouches for a manifest only with the key that made it."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from provision.errors import VerificationError
from provision.ova import manifest

CONTENT = b"SHA256(x.ovf)= " + b"0" * 64 + b"\n"


@pytest.fixture(scope="module")
def certificate() -> bytes:
    """A .cert as ovftool --privateKey writes it: signature line, then the certificate."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Publisher")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    signature = key.sign(CONTENT, padding.PKCS1v15(), hashes.SHA256()).hex()
    return f"SHA256(x.mf)= {signature}\n".encode() + made.public_bytes(serialization.Encoding.PEM)


def test_a_good_signature_gives_the_signer(certificate: bytes) -> None:
    assert manifest.check_certificate("x.cert", certificate, "x.mf", CONTENT) == "CN=Publisher"


def test_a_changed_manifest_is_found(certificate: bytes) -> None:
    with pytest.raises(VerificationError, match=r"x.cert: the signature of x.mf is wrong"):
        manifest.check_certificate("x.cert", certificate, "x.mf", CONTENT.replace(b"0", b"1", 1))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no signature of x.mf"),
        (b"SHA256(other.mf)= 00\n", "no signature of x.mf"),
        (b"SHA256(x.mf)= 00\nrubbish", "no usable certificate"),
    ],
)
def test_no_certificate_is_said_so(data: bytes, problem: str) -> None:
    with pytest.raises(VerificationError, match=problem):
        manifest.check_certificate("x.cert", data, "x.mf", CONTENT)
