"""``store`` against real WebDAV and S3 servers: both sides alike, and nothing lost."""

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from storehome import Home, host_environment

from tests.integration.webdav import PASSWORD, USER

Where = Callable[[str], str]


def connect(home: Home, url: str) -> tuple[int, str]:
    words = ("connect", "mine", "webdav", "--url", url, "--user", USER)
    return home.store(*words, secrets=PASSWORD)


@pytest.fixture(params=["webdav", pytest.param("s3", marks=pytest.mark.slow)])
def there(request: pytest.FixtureRequest, home: Home, tmp_path: Path) -> Where:
    """Connect a store; run commands where its files are."""
    if request.param == "webdav":
        url, root = request.getfixturevalue("dav")
        assert connect(home, url)[0] == 0

        def run(command: str) -> str:
            words = ["sh", "-c", command]
            return subprocess.run(words, cwd=root, check=True, capture_output=True).stdout.decode()

        return run
    port = request.getfixturevalue("s3")
    config, mirror = tmp_path / "rclone.conf", tmp_path / "mirror"
    config.write_text(
        "[s]\ntype = s3\nprovider = Other\naccess_key_id = AKIA\nsecret_access_key = hush-hush\n"
        f"endpoint = http://127.0.0.1:{port}\n"
    )
    mirror.mkdir()
    rclone, env = ["rclone", "--config", str(config)], host_environment()
    subprocess.run([*rclone, "mkdir", "s:class"], check=True, env=env)
    words = ("connect", "mine", "s3", "--url", f"http://127.0.0.1:{port}", "--bucket", "class")
    assert home.store(*words, secrets="AKIA\nhush-hush\n")[0] == 0

    def at_s3(command: str) -> str:
        # S3 has no shell: what is there is brought here, changed, and taken back.
        subprocess.run([*rclone, "sync", "s:class", mirror], check=True, env=env)
        done = subprocess.run(["sh", "-c", command], cwd=mirror, check=True, capture_output=True)
        subprocess.run([*rclone, "sync", "--checksum", mirror, "s:class"], check=True, env=env)
        return done.stdout.decode()

    return at_s3


def test_both_sides_are_alike_and_nothing_is_lost(home: Home, there: Where) -> None:
    mine = home.path / "mine"
    (mine / "sub").mkdir(parents=True)
    for name in ("sub/ä b.txt", "two", "three", "four"):
        (mine / name).write_text(f"{name}\n")
    assert home.store("sync") == (0, "mine: 0 fetched, 4 sent, 0 removed\n")
    assert there("cat 'notebook/sub/ä b.txt' notebook/two") == "sub/ä b.txt\ntwo\n"
    assert home.store("sync") == (0, "mine: 0 fetched, 0 sent, 0 removed\n")

    # New there, changed there, removed on each side, changed on both.
    there(
        "echo new > notebook/new; echo changed > notebook/two; rm notebook/three;"
        " echo theirs > 'notebook/sub/ä b.txt'"
    )
    (mine / "sub/ä b.txt").write_text("ours is longer\n")
    (mine / "four").unlink()
    code, told = home.store("sync")
    assert (code, "both changed: sub/ä b.txt" in told) == (0, True), told
    shown = {p.name: p.read_text() for p in mine.rglob("*") if p.is_file()}
    kept = next(name for name in shown if "conflict" in name)
    assert kept.startswith("ä b (conflict ")
    texts = {"new": "new\n", "two": "changed\n", "ä b.txt": "theirs\n", kept: "ours is longer\n"}
    assert shown == texts
    assert there(f"cd notebook; cat new two 'sub/ä b.txt' 'sub/{kept}'") == "".join(texts.values())
    assert there("ls notebook") == "new\nsub\ntwo\n"
    # What was replaced or removed is kept on the side that lost it.
    old = {p.name: p.read_text() for p in (home.path / ".store-old/mine").rglob("t*")}
    assert old == {"two": "two\n", "three": "three\n"}
    assert there("cat notebook.old/*/four") == "four\n"
    assert home.store("sync") == (0, "mine: 0 fetched, 0 sent, 0 removed\n")

    # All gone at once is rather a mishap.
    there("rm -r notebook")
    code, told = home.store("sync")
    assert (code, "nothing was changed" in told) == (1, True)
    assert (mine / "new").read_text() == "new\n"
    assert "is gone" in home.store("list")[1]

    text = (home.path / ".config/store/rclone.conf").read_text()
    assert PASSWORD not in text
    assert home.store("disconnect", "mine")[0] == 0
    assert "pass" not in (home.path / ".config/store/rclone.conf").read_text()
    assert (mine / "new").exists()


def test_what_cannot_be_synchronised_is_said(home: Home, dav: tuple[str, Path]) -> None:
    url, root = dav
    connect(home, url)
    mine = home.path / "mine"
    mine.mkdir()
    (mine / "link").symlink_to("/etc")
    (mine / "two\nlines").touch()
    (mine / "good").touch()
    code, told = home.store("sync")
    assert (code, told.count("no plain file or name")) == (1, 2)
    assert [path.name for path in (root / "notebook").iterdir()] == ["good"]
    # A file from there does not go through a link of the student's.
    (root / "notebook/link").mkdir()
    (root / "notebook/link/escaped").touch()
    code, told = home.store("sync")
    assert (code, "a link leads out" in told) == (1, True)
    assert not Path("/etc/escaped").exists()


def test_wrong_credentials_connect_nothing(home: Home, dav: tuple[str, Path]) -> None:
    words = ("connect", "mine", "webdav", "--url", dav[0], "--user", USER)
    code, told = home.store(*words, secrets="guessed")
    assert (code, "is not connected: " in told, "401" in told) == (1, True, True)
    assert home.store("list") == (0, "")
    assert home.store(*words) == (1, f"store: no password of {USER} was given\n")


@pytest.mark.slow
def test_a_bucket_that_is_not_there_connects_nothing(home: Home, s3: int) -> None:
    words = ("connect", "mine", "s3", "--url", f"http://127.0.0.1:{s3}", "--bucket", "glass")
    code, told = home.store(*words, secrets="AKIA\nhush-hush\n")
    assert (code, "there is no bucket glass" in told) == (1, True), told
    assert home.store("list") == (0, "")


def test_a_store_that_hangs_and_two_at_once(home: Home, dav: tuple[str, Path]) -> None:
    connect(home, dav[0])
    (home.path / "mine").mkdir()
    (home.path / "mine/one").touch()
    config = home.path / ".config/store/rclone.conf"
    settings = config.read_text()
    home.env = {"RCLONE_TIMEOUT": "10s"}
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        there = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config.write_text(settings.replace(dav[0], there))
        first = home.begin("sync")
        deadline = time.monotonic() + 120
        rclone = ["pgrep", "--parent", str(first.pid)]  # runs under the lock
        while subprocess.run(rclone, stdout=subprocess.DEVNULL, check=False).returncode:
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.05)
        assert "already" in home.store("sync")[1]
        assert PASSWORD not in _arguments()
        said = first.communicate(timeout=300)[0]
        assert first.returncode == 1, said
    assert home.store("list")[1].split("\t")[4] != "-\n"
    config.write_text(settings)
    assert home.store("sync") == (0, "mine: 0 fetched, 1 sent, 0 removed\n")


def test_what_does_not_fit_is_tried_again(
    home: Home, dav: tuple[str, Path], request: pytest.FixtureRequest
) -> None:
    """A full store, then a full home; file systems of their own stand in for quotas."""
    (url, root), mine = dav, home.path / "mine"
    for place, size in ((root, "1m"), (home.path, "6m")):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "x", place], check=True)
        request.addfinalizer(lambda p=place: subprocess.run(["umount", "-l", p], check=True))
    connect(home, url)
    mine.mkdir()
    (mine / "one").write_text("one\n")
    (mine / "large").write_bytes(os.urandom(3 << 20))
    code, told = home.store("sync")
    assert (code, "sending: " in told) == (1, True), told
    assert (root / "notebook/one").read_text() == "one\n"
    assert (mine / "large").stat().st_size == 3 << 20
    subprocess.run(["mount", "-o", "remount,size=50m", root], check=True)
    assert home.store("sync") == (0, "mine: 0 fetched, 1 sent, 0 removed\n")

    (root / "notebook/huge").write_bytes(bytes(20 << 20))
    (root / "notebook/one").write_text("changed\n")
    code, told = home.store("sync")
    assert (code, "fetching: " in told) == (1, True), told
    assert "space" in home.store("list")[1]
    assert (mine / "one").read_text() == "changed\n"
    assert not (mine / "huge").exists()
    assert (root / "notebook/huge").stat().st_size == 20 << 20
    assert (mine / "large").exists() and (root / "notebook/large").exists()
    (root / "notebook/huge").write_bytes(bytes(1 << 20))
    assert home.store("sync") == (0, "mine: 1 fetched, 0 sent, 0 removed\n")


def _arguments() -> str:
    return subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True).stdout.decode()
