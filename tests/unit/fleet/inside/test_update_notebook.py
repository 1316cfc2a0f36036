"""What an appliance takes from a channel, and what it refuses, one clear line each."""

import base64
import dataclasses
import hashlib
import io
import json
import re
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from provision.distribution import channel, environments
from provision.distribution.channel import Channel
from provision.fleet.inside import journal, update_notebook
from provision.fleet.inside.answers import NotebookFacts, State
from provision.fleet.inside.lease import BusyError
from provision.fleet.inside.program import RefusedError
from provision.ova import minisign

NAME, LIST = "0123456789ab", "jupyterhub==5 --hash=sha256:0\n"
FACTS = NotebookFacts(
    free=1 << 40, memory=1 << 40, state=State(), current="build", python="3.13", machine="x86_64",
    installed={"jupyterhub": "4", "old": "1"}, lists={"installed.lock": "jupyterhub==4\n"},
)  # fmt: skip


def piece(name: str) -> bytes:
    """A package, as a publisher packs it."""
    content = io.BytesIO()
    member = tarfile.TarInfo(name)
    member.size = 3
    tarfile.open(fileobj=content, mode="w").addfile(member, io.BytesIO(b"abc"))  # noqa: SIM115
    return zstandard.ZstdCompressor().compress(content.getvalue())


PIECE = piece("lib/hub.py")
PART = {"version": "5", "sha256": hashlib.sha256(PIECE).hexdigest(), "size": len(PIECE)}
TOLD: dict[str, Any] = {
    "machine": "x86_64",
    "lists": {"installed.lock": LIST, "installed-git.lock": "dulwich==1\n"},
    "python": {
        "3.13": {
            "installed.lock": {"jupyterhub": {**PART, "unpacked": 4099}},
            "installed-git.lock": {"dulwich": {**PART, "unpacked": 1}},
        }
    },
}


class Channels:
    """A published folder, and the appliance that looks at it."""

    def __init__(self, place: Path) -> None:
        self.folder, self.secret = place / "published", place / "key"
        self.public = minisign.generate(self.secret).text().splitlines()[1]
        self.publish()

    def publish(self, told: Any = TOLD, name: str = NAME, days: float = 92) -> None:
        environments.publish(
            *(self.folder, name, json.dumps(told), {str(PART["sha256"]): PIECE}),
            secret=self.secret,
            days=days,
        )

    @property
    def settings(self) -> dict[str, str]:
        return {"url": self.folder.as_uri(), "key": self.public, "channel": "stable"}

    def offer(self) -> tuple[str, dict[str, Any]]:
        return update_notebook.offer(**self.settings)

    def path(self, path: str) -> Path:
        return self.folder / environments.PLACE / path


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Channels:
    def is_by(key: bytes, signature: bytes, message: bytes) -> bool:
        """As OpenSSL says, which no unit test starts."""
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    state = tmp_path / "state"
    (state / "incoming").mkdir(parents=True)
    monkeypatch.setattr(update_notebook, "_is_by", is_by)
    monkeypatch.setattr(update_notebook, "STATE", state)
    monkeypatch.setattr(update_notebook, "SEEN", state / "followed.json")
    monkeypatch.setattr(update_notebook, "SETTINGS", state / "follow.json")
    monkeypatch.setattr(update_notebook, "PARTS", state / "parts")
    own = journal.Renewal(journal.Journal(state, "unit"), lambda: None, lambda _: None, state)
    monkeypatch.setattr(update_notebook, "RENEWAL", own)
    return Channels(tmp_path)


def test_what_is_published_is_offered(there: Channels) -> None:
    assert there.offer() == (NAME, TOLD)
    assert there.offer() == (NAME, TOLD)  # the same change once more


def other_key(there: Channels) -> None:
    there.public = minisign.generate(there.secret.with_name("other")).text().splitlines()[1]


def other_number(there: Channels) -> None:
    """The number of the right key on another's signature."""
    right = base64.b64decode(there.public)
    other_key(there)
    wrong = base64.b64decode(there.public)
    there.public = base64.b64encode(right[:10] + wrong[10:]).decode()


def change(path: str, before: str, after: str) -> Callable[[Channels], None]:
    def done(there: Channels) -> None:
        file = there.path(path)
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after))

    return done


def older(there: Channels) -> None:
    file = there.path("channels/stable.minisig")
    early = file.read_bytes()
    there.publish({**TOLD, "machine": "later"}, name="ba9876543210")
    there.offer()
    file.write_bytes(early)


def expired(there: Channels) -> None:
    signed = int(time.time()) - 200 * 86400
    found = Channel("stable", 7, NAME, signed, signed + 86400)
    sums = there.path(f"versions/{NAME}/SHA256SUMS").read_bytes()
    there.path("channels/stable.minisig").write_bytes(channel.sign(found, sums, there.secret))


def renamed(there: Channels) -> None:
    sums = there.path(f"versions/{NAME}/SHA256SUMS").read_bytes()
    found = Channel("next", 7, NAME, int(time.time()), int(time.time()) + 86400)
    there.path("channels/stable.minisig").write_bytes(channel.sign(found, sums, there.secret))


def escape(there: Channels) -> None:
    """A version that leads out of the folder is none."""
    change("channels/stable.minisig", f"version={NAME}", "version=../../../etc")(there)


STABLE = "channels/stable.minisig"


@pytest.mark.parametrize(
    ("attack", "told"),
    [
        (other_key, "another key"),
        (other_number, "the signature is wrong"),
        (change(STABLE, "serial=1", "serial=9"), "the signature is wrong"),
        (change(STABLE, "expires=20", "expires=30"), "the signature is wrong"),
        (change(STABLE, "trusted comment", "comment"), "no channel stable"),
        (change(f"versions/{NAME}/SHA256SUMS", "  env", " env"), "the signature is wrong"),
        (change(f"versions/{NAME}/environment.json", "x86_64", "arm64"), "not what was signed"),
        (older, "went back from change 2 to 1"),
        (expired, "expired at"),
        (renamed, "a copy of the channel next"),
        (escape, "no channel stable"),
        (lambda there: there.path(STABLE).write_text("<html>"), "no channel stable"),
        (lambda there: there.path(STABLE).write_bytes(bytes(1 << 20)), "more than 4096 bytes"),
        (lambda there: there.path(STABLE).unlink(), "stable.minisig"),
    ],
)
def test_what_is_not_the_publishers_is_refused(
    there: Channels, attack: Callable[[Channels], object], told: str
) -> None:
    attack(there)
    with pytest.raises(RefusedError, match=told) as refused:
        there.offer()
    assert "\n" not in str(refused.value)


def test_what_was_seen_is_remembered_by_key_and_channel(there: Channels) -> None:
    older(there)
    with pytest.raises(RefusedError, match="went back"):
        there.offer()
    seen = json.loads(update_notebook.SEEN.read_text())
    assert seen == {f"{there.public} stable": 2}


LISTS = {"installed.lock": LIST}


def test_the_difference_is_what_an_operator_would_send() -> None:
    found = update_notebook.difference(TOLD, FACTS, LISTS)
    assert list(found.needed) == ["jupyterhub"]
    assert (found.gone, found.words) == (["old"], ["jupyterhub 4 -> 5", "old 1 -> none"])


@pytest.mark.parametrize(
    ("told", "facts", "why"),
    [
        ({**TOLD, "machine": "aarch64"}, FACTS, "published for aarch64, this is x86_64"),
        (TOLD, dataclasses.replace(FACTS, python="3.12"), "not published for Python 3.12"),
        (TOLD, dataclasses.replace(FACTS, free=1 << 20), "MB of the disk are free, it wants 268"),
        (TOLD, dataclasses.replace(FACTS, memory=1 << 20), "MB of memory are free, it wants 537"),
    ],
)
def test_for_whom_it_is_not(told: Any, facts: NotebookFacts, why: str) -> None:
    with pytest.raises(RefusedError, match=re.escape(why)):
        update_notebook.check_room(update_notebook.difference(told, facts, LISTS), facts)


def test_a_torn_package_is_refused_and_nothing_of_it_stays(there: Channels) -> None:
    found = update_notebook.difference(TOLD, FACTS, LISTS)
    file = there.path(f"packages/{PART['sha256']}")
    file.write_bytes(PIECE[:-5])
    update_notebook.PARTS.mkdir()
    (update_notebook.PARTS / "of-another").write_text("x")
    with pytest.raises(RefusedError, match=f"{len(PIECE) - 5} of {len(PIECE)} bytes"):
        update_notebook.fetch(there.settings["url"], found)
    assert list(update_notebook.PARTS.iterdir()) == []
    file.write_bytes(PIECE)
    (path,) = update_notebook.fetch(there.settings["url"], found)
    file.unlink()  # it is here by now
    assert update_notebook.fetch(there.settings["url"], found) == [path]


def test_pieces_make_one_archive(there: Channels) -> None:
    found = update_notebook.difference(TOLD, FACTS, LISTS)
    files = update_notebook.fetch(there.settings["url"], found)
    digest = update_notebook.join(found, LISTS, files)
    archive = update_notebook.RENEWAL.incoming / digest
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == digest
    with tarfile.open(archive) as tar:
        assert tar.getnames() == [".change.json", "lib/hub.py"]
        told = tar.extractfile(".change.json")
        assert told and json.load(told) == {"gone": ["old"], "locks": LISTS}


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (dataclasses.replace(FACTS, lists=LISTS), "up to date"),
        (dataclasses.replace(FACTS, state=State(failed=NAME, reason="no kernel")), "no kernel"),
        (dataclasses.replace(FACTS, state=State(undone=NAME)), "led back by hand"),
    ],
)
def test_what_needs_nothing_fetches_nothing(
    there: Channels,
    facts: NotebookFacts,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(update_notebook.renew_notebook, "look", lambda: facts)
    update_notebook.SETTINGS.write_text(json.dumps(there.settings))
    assert update_notebook.update()["changed"] is False
    assert told in capsys.readouterr().err
    assert not update_notebook.PARTS.exists()


def test_off_until_it_is_asked_for(there: Channels, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RefusedError, match="no channel is followed"):
        update_notebook.update()
    assert capsys.readouterr().err == "not updated: no channel is followed\n"


def test_who_is_at_work_is_left_alone(
    there: Channels, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def busy(_: str) -> None:
        raise BusyError("emmy is at work here: restore")

    monkeypatch.setattr(update_notebook.renew_notebook, "look", lambda: FACTS)
    monkeypatch.setattr(update_notebook, "changing", busy)
    update_notebook.SETTINGS.write_text(json.dumps(there.settings))
    assert update_notebook.update()["changed"] is False
    said = capsys.readouterr().err
    assert said == "not now, at the next window: emmy is at work here: restore\n"


def test_another_releases_form_is_one_line(
    there: Channels, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there.publish({"wheels": []}, name="ba9876543210")
    monkeypatch.setattr(update_notebook.renew_notebook, "look", lambda: FACTS)
    update_notebook.SETTINGS.write_text(json.dumps(there.settings))
    with pytest.raises(RefusedError, match="not of this release's form"):
        update_notebook.update()
    assert capsys.readouterr().err.count("\n") == 1
