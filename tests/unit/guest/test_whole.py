import os
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.guest import whole
from provision.guest.pool import accounts
from provision.guest.pool.notebook import _make_admin
from provision.guest.pool.tls import cut


@pytest.mark.parametrize(
    "left",
    [b"", b"\n", b"   ", b"\0" * 32, b"short", b"half of it\0\0\0\0\0\0\0\0\0\0", b"\xff" * 40],
)
def test_what_a_power_cut_left_is_no_secret(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(left)
    made = whole.secret(path)
    assert len(made) >= whole.LEAST
    assert path.read_text() == made == whole.secret(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_secret_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("chosen by the administrator\n")
    assert whole.secret(path) == "chosen by the administrator"
    assert path.read_text() == "chosen by the administrator\n"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("somebody's")
    (tmp_path / ".token.new").symlink_to(other)
    whole.keep(tmp_path / "token", "ours")
    assert other.read_text() == "somebody's"
    assert (tmp_path / "token").read_text() == "ours"


class PowerCut(Exception):
    """The power goes."""


class Disk:
    """A disk that has lost, after a power cut, all that was not flushed.

    Args:
        steps: calls after which the power goes.
    """

    def __init__(self, steps: int, patched: pytest.MonkeyPatch) -> None:
        self.left = steps
        self.loose: set[Path] = set()
        self.renamed: list[tuple[Path, bytes | None]] = []
        self.names: dict[int, Path] = {}
        self.open, self.replace = os.open, Path.replace
        patched.setattr(os, "open", self._open)
        patched.setattr(os, "fsync", self._fsync)
        patched.setattr(Path, "replace", self.rename())

    def _step(self) -> None:
        if self.left == 0:
            raise PowerCut
        self.left -= 1

    def _open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        self._step()
        descriptor = self.open(path, flags, mode)
        self.names[descriptor] = Path(path)
        if flags & os.O_CREAT:
            self.loose.add(Path(path))
        return descriptor

    def _fsync(self, descriptor: int) -> None:
        self._step()
        if (path := self.names[descriptor]).is_dir():
            self.renamed.clear()
        self.loose.discard(path)

    def rename(self) -> Callable[[Path, Path], None]:
        """What stands for a path's own method."""

        def replace(path: Path, target: Path) -> None:
            self._step()
            self.renamed.append((target, target.read_bytes() if target.exists() else None))
            self.replace(path, target)
            if path in self.loose:
                self.loose.remove(path)
                self.loose.add(target)

        return replace

    def lose(self, *, names: bool) -> None:
        """What is there when the power comes back.

        Args:
            names: files that were renamed have their old names again.
        """
        for path in self.loose:
            if path.exists():
                path.write_bytes(b"")
        for target, old in reversed(self.renamed if names else []):
            target.unlink() if old is None else target.write_bytes(old)


def first_boot(state: Path) -> None:
    whole.secret(state / "proxy-token")
    whole.secret(state / "cookie-secret")
    _make_admin(state, "sageadm")


@pytest.mark.parametrize("names", [False, True])
def test_a_power_cut_at_any_step_of_a_first_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: bool
) -> None:
    monkeypatch.setattr(accounts, "COST", 2)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # of a real disk
    cuts = 0
    for steps in range(1000):
        state = tmp_path / str(steps)
        state.mkdir()
        with pytest.MonkeyPatch.context() as patched:
            disk = Disk(steps, patched)
            try:
                first_boot(state)
            except PowerCut:
                cuts += 1
        disk.lose(names=names)
        first_boot(state)
        for name in ("proxy-token", "cookie-secret", "first-password"):
            assert whole.read(state / name), (steps, name)
        password = (state / "first-password").read_text()
        kept = accounts.Accounts(state / "accounts.json")
        assert kept.check("sageadm", password, may_make=False), steps
        if disk.left:
            break
    assert cuts > 15


def test_a_first_password_that_was_lost_is_made_anew(tmp_path: Path) -> None:
    _make_admin(tmp_path, "sageadm")
    first = tmp_path / "first-password"
    first.write_bytes(b"")  # the account is there, and nobody knows its password
    _make_admin(tmp_path, "sageadm")
    kept = accounts.Accounts(tmp_path / "accounts.json")
    assert kept.check("sageadm", first.read_text(), may_make=False)


def test_a_first_password_that_was_removed_stays_away(tmp_path: Path) -> None:
    _make_admin(tmp_path, "sageadm")
    kept = accounts.Accounts(tmp_path / "accounts.json")
    kept.set_password("sageadm", "one of her own")
    (tmp_path / "first-password").unlink()
    _make_admin(tmp_path, "sageadm")
    assert not (tmp_path / "first-password").exists()
    assert kept.check("sageadm", "one of her own", may_make=False)


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        *(("", True), ("\n", True), ("\0" * 100, True)),
        ("-----BEGIN CERTIFICATE-----\nMIIB", True),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", False),
        ("\ufffd0\ufffd\ufffd in another format", False),
    ],
)
def test_half_a_certificate_is_told_from_a_whole_one(text: str, lost: bool) -> None:
    assert cut(text) == lost
