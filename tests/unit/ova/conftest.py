"""A small appliance and raw disks to write it with."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from provision.ova import NatRule, OvaAppliance, OvaDisk, write_ova

GRAIN = 65536
RawDisk = Callable[..., Path]


@pytest.fixture
def raw_disk(tmp_path: Path) -> RawDisk:
    """Make a sparse raw image from its size and the data at some offsets."""

    def make(name: str, size: int, content: Mapping[int, bytes]) -> Path:
        path = tmp_path / name
        with path.open("wb") as file:
            file.truncate(size)
            for offset, data in content.items():
                file.seek(offset)
                file.write(data)
        return path

    return make


@pytest.fixture
def appliance() -> OvaAppliance:
    return OvaAppliance(
        name="sage",
        product="Sage <appliance>",
        vendor="Dept. of Mathematics & Co",
        version="1.0",
        full_version="1.0+trixie.abc",
        product_url="https://example.org/?a=1&b=2",
        description='Browse to http://localhost:8000/\nor "ssh -p 2222"; é',
        epoch=1_700_000_000,
        cpus=2,
        memory=4 * 2**30,
        forwards=[
            NatRule(name="ssh", host=2222, guest=22),
            NatRule(name="notebook", address="", host=8000, guest=8000),
        ],
    )


@pytest.fixture
def disks(raw_disk: RawDisk) -> list[OvaDisk]:
    """Two disks of three and one grain tables with a little in them."""
    noise = os.urandom(3 * GRAIN)
    root = raw_disk("root.raw", 70 * 2**20, {0: b"boot", 5 * GRAIN + 7: noise, 40 * 2**20: b"x"})
    home = raw_disk("home.raw", 2**20, {2**20 - 3: b"end"})
    return [OvaDisk(name="root", raw_path=root), OvaDisk(name="home", raw_path=home)]


@pytest.fixture
def ova(tmp_path: Path, appliance: OvaAppliance, disks: list[OvaDisk]) -> Path:
    """A finished OVA."""
    return write_ova(tmp_path / "sage.ova", appliance, disks).path


@pytest.fixture(scope="session")
def certify() -> Callable[[str, bytes], bytes]:
    """Sign a manifest as ovftool --privateKey does: signature line, then the certificate."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Publisher")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )

    def sign(manifest: str, content: bytes) -> bytes:
        signature = key.sign(content, padding.PKCS1v15(), hashes.SHA256()).hex()
        return f"SHA256({manifest})= {signature}\n".encode() + certificate

    return sign
