"""Signatures: made, verified, and refused when anything was changed."""

from pathlib import Path

import pytest

from provision.errors import ApplianceError, VerificationError
from provision.ova import minisign


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path, minisign.PublicKey]:
    """A signed file, its signature and the key."""
    file, secret = tmp_path / "x.ova", tmp_path / "x.key"
    file.write_bytes(b"content" * 1000)
    key = minisign.generate(secret)
    return file, minisign.sign(file, secret, "x.ova\nversion 1.0"), key


def test_a_signature_holds_and_gives_its_comment_on_one_line(
    signed: tuple[Path, Path, minisign.PublicKey],
) -> None:
    file, signature, key = signed
    assert signature.name == "x.ova.minisig"
    assert minisign.verify(file, signature, key) == "x.ova version 1.0"


def test_public_key_survives_its_file(
    tmp_path: Path, signed: tuple[Path, Path, minisign.PublicKey]
) -> None:
    file, signature, key = signed
    public = tmp_path / "x.pub"
    public.write_text(key.text())
    assert minisign.verify(file, signature, minisign.public_key(public))


def test_secret_key_is_for_its_owner_alone_and_never_overwritten(tmp_path: Path) -> None:
    secret = tmp_path / "x.key"
    minisign.generate(secret)
    assert secret.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ApplianceError, match="never overwritten"):
        minisign.generate(secret)


def test_a_changed_file_signature_or_comment_is_found(
    signed: tuple[Path, Path, minisign.PublicKey],
) -> None:
    file, signature, key = signed
    text = signature.read_text()
    with pytest.raises(VerificationError, match="the signature is wrong"):
        signature.write_text(text.replace("version 1.0", "version 9.0"))
        minisign.verify(file, signature, key)
    signature.write_text(text)
    file.write_bytes(b"content" * 999)
    with pytest.raises(VerificationError, match="the signature is wrong"):
        minisign.verify(file, signature, key)


def test_no_bit_of_a_signature_may_change(
    signed: tuple[Path, Path, minisign.PublicKey],
) -> None:
    file, signature, key = signed
    good = signature.read_bytes()
    unsigned = good.index(b"\n") + 1  # the untrusted comment
    for bit in range(unsigned * 8, len(good) * 8):
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        signature.write_bytes(changed)
        with pytest.raises(VerificationError):
            minisign.verify(file, signature, key)
            pytest.fail(f"bit {bit % 8} of {good[bit // 8 :][:1]!r} at {bit // 8}")


def test_a_signature_that_passed_through_windows(
    signed: tuple[Path, Path, minisign.PublicKey],
) -> None:
    file, signature, key = signed
    signature.write_bytes(signature.read_bytes().replace(b"\n", b"\r\n"))
    assert minisign.verify(file, signature, key) == "x.ova version 1.0"


def test_another_signer_is_named(
    tmp_path: Path, signed: tuple[Path, Path, minisign.PublicKey]
) -> None:
    file, signature, _ = signed
    other = minisign.generate(tmp_path / "other.key")
    with pytest.raises(VerificationError, match=r"was signed with key [0-9A-F]{16}, not with"):
        minisign.verify(file, signature, other)


@pytest.mark.parametrize("text", ["", "one line", "two\nlines", "x\nAAAA\n"])
def test_what_is_no_key_or_signature_is_said_so(
    tmp_path: Path, signed: tuple[Path, Path, minisign.PublicKey], text: str
) -> None:
    file, _, key = signed
    rubbish = tmp_path / "rubbish"
    rubbish.write_text(text)
    with pytest.raises(ApplianceError, match="no minisign secret key"):
        minisign.sign(file, rubbish, "")
    with pytest.raises(VerificationError, match="no minisign public key"):
        minisign.public_key(rubbish)
    with pytest.raises(VerificationError, match="no minisign signature"):
        minisign.verify(file, rubbish, key)


def test_a_damaged_secret_key_signs_nothing(
    tmp_path: Path, signed: tuple[Path, Path, minisign.PublicKey]
) -> None:
    file, _, _ = signed
    secret = tmp_path / "x.key"
    lines = secret.read_text().splitlines()
    middle = len(lines[1]) // 2
    swapped = "B" if lines[1][middle] == "A" else "A"
    secret.write_text(f"{lines[0]}\n{lines[1][:middle]}{swapped}{lines[1][middle + 1 :]}\n")
    with pytest.raises(ApplianceError, match="damaged"):
        minisign.sign(file, secret, "")
