"""Fetching a real VirtualBox from Debian, as it goes well and badly."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vbox import VBoxManage, find, portable
from vbox.errors import NotInstalledError

NOBODY = 65534


def test_path_goes_before_the_cache(
    fetched: VBoxManage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find() == fetched
    installed = tmp_path / "VBoxManage"
    installed.symlink_to("/bin/true")
    assert find().path == installed
    installed.unlink()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(NotInstalledError, match="no VBoxManage on PATH"):
        find()


def test_an_ordinary_user_runs_it_in_a_user_namespace(
    fetched: VBoxManage, vbox_home: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As root this drops to nobody; as nobody else it is the user's own namespace anyway."""
    home = Path(f"/tmp/portable-test-{os.getpid()}")
    home.mkdir(mode=0o700)
    drop: tuple[str, ...] = ()
    if os.geteuid() == 0:
        os.chown(home, NOBODY, NOBODY)
        drop = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    copy = home / "current"
    subprocess.run(["cp", "-a", str(fetched.path.parent), str(copy)], check=True)
    if drop:
        subprocess.run(["chown", "-R", str(NOBODY), str(copy)], check=True)
    environment = {
        **os.environ, "HOME": str(home), "LC_ALL": "C.UTF-8", "VBOX_USER_HOME": str(home / "h"),
        "VBOX_IPC_SOCKETID": vbox_home.socket,  # type: ignore[attr-defined]
    }  # fmt: skip
    try:
        for arguments in (
            ("createvm", "--name", "ü", "--register", "--basefolder", str(home / "vms")),
            ("createmedium", "disk", "--filename", str(home / "d.vdi"), "--size", "8"),
            ("clonemedium", "disk", str(home / "d.vdi"), str(home / "c.vdi")),
            ("unregistervm", "ü", "--delete"),
        ):
            done = subprocess.run(
                [*drop, str(copy / "VBoxManage"), *arguments],
                env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        assert (home / "c.vdi").stat().st_uid == (NOBODY if drop else os.geteuid())
    finally:
        vbox_home.close()  # type: ignore[attr-defined]
        subprocess.run(["rm", "-rf", str(home)], check=True)


def test_an_unreachable_mirror_is_told_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(NotInstalledError, match="cannot fetch VirtualBox from Debian") as caught:
        portable.fetch(cache=tmp_path, mirror="http://127.0.0.1:9/debian")
    assert "network" in caught.value.hint
    assert portable.find_fetched(tmp_path) is None


def test_a_mirror_without_debians_signature_is_refused(tmp_path: Path) -> None:
    release = tmp_path / "debian/dists/sid/Release"
    release.parent.mkdir(parents=True)
    release.write_text("Origin: Debian\nSuite: unstable\nCodename: sid\n")
    with pytest.raises(NotInstalledError) as caught:
        portable.fetch(cache=tmp_path / "cache", mirror=f"file:{tmp_path}/debian")
    assert "debian-archive-keyring" in caught.value.hint
    assert portable.find_fetched(tmp_path / "cache") is None


@pytest.mark.slow
def test_killed_and_two_at_once(tmp_path: Path) -> None:
    """A fetch that is killed is taken up again; of two at once, one works and one waits."""
    code = "import sys; from pathlib import Path; from vbox import portable;"
    code += "portable.fetch(cache=Path(sys.argv[1]))"
    first = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    threading.Timer(3, first.kill).start()
    first.wait()
    assert portable.find_fetched(tmp_path) is None
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [each.wait() for each in both] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "lock"]
    found = portable.find_fetched(tmp_path)
    assert found and found.version() >= (7, 0, 0)
