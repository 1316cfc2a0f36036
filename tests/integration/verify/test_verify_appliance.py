"""`appliance verify` on a real appliance, whole and damaged."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from provision.build.build import Built
from provision.cli import appliance
from provision.errors import VerificationError
from provision.verify import run


def verify(*arguments: str) -> tuple[dict[str, dict[str, Any]], VerificationError | None]:
    """Rows by name, and the failure that becomes exit code 8."""
    done = CliRunner().invoke(appliance, ["verify", "--json", *arguments])
    if done.exception is not None and not isinstance(done.exception, VerificationError):
        raise done.exception
    return {row["name"]: row for row in json.loads(done.stdout)}, done.exception


def changed(disk: str, module: str, old: str, new: str, place: Path) -> str:
    """The commands by which debugfs puts a changed program of the notebook's onto a disk."""

    def asked(words: str) -> str:
        command = ["debugfs", "-R", words, disk]
        return subprocess.run(command, text=True, check=True, capture_output=True).stdout

    (python,) = re.findall(r"python3[.0-9]*", asked("ls -p /opt/notebook/lib"))
    path = f"/opt/notebook/lib/{python}/site-packages/provision/guest/pool/{module}.py"
    program = asked(f"cat {path}")
    assert program.count(old) == 1
    (place / module).write_text(program.replace(old, new))
    return f"rm {path}\nwrite {place / module} {path}\n"


def broken(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: row["detail"] for name, row in rows.items() if row["result"] == "failed"}


def test_the_built_appliance_keeps_every_promise_that_nspawn_can_see(
    built: Built, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A place of its own: another verification may run at the same time.
    monkeypatch.setattr(run, "user_cache_path", lambda name: tmp_path)
    rows, error = verify("--fast", *arguments, str(built.ova))
    assert broken(rows) == {}
    assert error is None
    assert rows["root-refused"]["result"] == "ok"
    assert rows["full-home-harmless"]["result"] == "not checked"
    assert list((tmp_path / "verify").iterdir()) == []


def test_a_damaged_appliance_is_found_out(
    built: Built, arguments: list[str], tmp_path: Path
) -> None:
    root = tmp_path / "root.raw"
    subprocess.run(["cp", "--sparse=always", built.disks[0], root], check=True)
    (tmp_path / "sshd").write_text(
        "PermitRootLogin yes\nPasswordAuthentication yes\nAuthenticationMethods any\n"
        "AllowUsers root\n"
    )
    (tmp_path / "id").write_text("a" * 32 + "\n")
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    disk = f"{root}?offset={1 << 20}"
    rules = changed(disk, "lockout", "ADDRESS_SECONDS = 100.0", "ADDRESS_SECONDS = 1e9", tmp_path)
    chosen = "return profiles.choose(self.profiles, options)"
    rules += changed(disk, "spawner", chosen, 'return ""', tmp_path)
    commands = f"""\
rm /etc/machine-id
write {tmp_path}/id /etc/machine-id
write {tmp_path}/sshd /etc/ssh/sshd_config.d/00-build.conf
write {tmp_path}/key /root/.bash_history
rm /etc/default/keyboard
"""
    subprocess.run(
        ["debugfs", "-w", "-f", "-", disk],
        input=commands + rules, text=True, check=True, capture_output=True,
    )  # fmt: skip
    rows, error = verify("--fast", *arguments, "--disk", str(root), "--disk", str(built.disks[1]))
    assert error is not None
    assert error.exit_code == 8
    assert set(broken(rows)) == {
        "address-slowed",
        "image-has-no-identity",
        "image-has-no-private-key",
        "image-is-clean",
        "keyboard",
        "machine-id-unique",
        "passwords-refused",
        "root-refused",
        "sshd-hardened",
        "way-in-kept",
    }
    assert all(name in str(error) for name in broken(rows))


@pytest.mark.slow
@pytest.mark.timeout(3600)  # all of it emulated, on a busy host
def test_the_built_appliance_keeps_every_promise(built: Built, arguments: list[str]) -> None:
    before = [(disk.stat().st_mtime_ns, disk.stat().st_blocks) for disk in built.disks]
    rows, error = verify(*arguments, str(built.ova))
    assert broken(rows) == {}
    assert error is None
    # It has no course; tests/integration/notebook/test_exams.py asks where there are some.
    unseen = {name for name, row in rows.items() if row["result"] != "ok"}
    assert unseen == {"exam-alone", "exam-handed-in", "exam-over"}
    assert [(disk.stat().st_mtime_ns, disk.stat().st_blocks) for disk in built.disks] == before


def test_what_is_no_ova_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ova").write_bytes(b"\0" * 10240)
    done = CliRunner().invoke(appliance, ["verify", str(tmp_path / "a.ova")])
    assert getattr(done.exception, "exit_code", None) == 2
    assert "no VMDK" in str(done.exception)
    done = CliRunner().invoke(appliance, ["verify", str(tmp_path / "missing.ova")])
    assert "there is no" in str(done.exception)
