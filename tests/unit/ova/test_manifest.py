"""A certificate vouches for a manifest only with the key that made it."""

from collections.abc import Callable

import pytest

from provision.errors import VerificationError
from provision.ova import manifest

Certify = Callable[[str, bytes], bytes]
CONTENT = b"SHA256(x.ovf)= " + b"0" * 64 + b"\n"


@pytest.fixture
def certificate(certify: Certify) -> bytes:
    """A .cert for CONTENT."""
    return certify("x.mf", CONTENT)


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
