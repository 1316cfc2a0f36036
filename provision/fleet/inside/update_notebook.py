"""Take the notebook's packages from a channel: update-notebook VERB [ARGUMENT...], as root.

``follow`` has the appliance do so by itself in the window of unattended upgrades, ``leave`` ends
that, ``update`` does it now. The steps are those of ``renew_notebook``, which this program has too,
for its timers and the next boot to lead back by. What was done is in the journal, for the nightly
letter.

What comes is believed for the publisher's signature (minisign's) alone, by digests from there on,
before anything of it is read or unpacked. A channel that goes back, or has expired, is refused.
"""

import base64
import calendar
import hashlib
import http.client
import io
import json
import re
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.waiting import until

from . import renew_notebook
from .answers import LEAST_MEMORY, ROOM, SHOWN, NotebookFacts
from .incoming import plain
from .lease import BusyError, changing
from .program import RefusedError, at_boot, attempt, holding, itself, read, remove, run, write

STATE, RENEWAL = renew_notebook.STATE, renew_notebook.RENEWAL
SETTINGS = STATE / "follow.json"
SEEN = STATE / "followed.json"  # the last change of each channel by each key
PARTS = STATE / "parts"  # what was fetched, by digest
UNIT = "appliance-notebook-update.service"
SIGNED = 16 << 20  # bytes of a list that is signed, at most
PATIENCE = 600  # seconds after which a switch goes back, should this program vanish
SECONDS = 60.0  # that a server may be silent, and that the hub may take to answer
SKEW_SECONDS = 86400  # that our clock may be wrong
HUB = "http://127.0.0.1:8081/hub/api/"
_KEY = bytes.fromhex("302a300506032b6570032100")  # before the 32 bytes of a key (RFC 8410)
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_COMMENT = re.compile(  # as distribution/channel.py writes it
    r"trusted comment: (?P<said>channel=(?P<channel>\S+) serial=(?P<serial>\d{1,18})"
    rf" version=(?P<version>[0-9a-f]{{12}}) signed={_TIME} expires=(?P<expires>{_TIME}))"
)


def follow(admin: str, url: str, key: str, channel: str) -> dict[str, Any]:
    """Update by itself from now on, in the window of unattended upgrades.

    Args:
        admin: the administrator.
        url: of the published folder.
        key: the publisher's, the second line of a minisign public key.
        channel: which one.

    Raises:
        RefusedError: nothing that is by that key can be had there.
    """
    settings = {"url": url, "key": key, "channel": channel}
    name, _ = offer(**settings)
    renew_notebook.install(admin)
    before = read(SETTINGS)
    write(SETTINGS, json.dumps(settings), mode=0o600)
    at_boot(
        UNIT,
        "[Unit]\nDescription=Update of the notebook from its channel\n"
        "Wants=network-online.target\nAfter=network-online.target apt-daily-upgrade.service\n\n"
        f"[Service]\nType=oneshot\nExecStart={itself()} update\nNice=10\nTimeoutStartSec=2h\n"
        "StandardOutput=null\nStandardError=journal\nSyslogIdentifier=notebook-update\n\n"
        "[Install]\nWantedBy=apt-daily-upgrade.service\n",
    )
    return {"changed": before != settings, "offered": name}


def leave() -> dict[str, Any]:
    """Update no longer by itself. What was seen of a channel stays: it still goes back to none."""
    there = SETTINGS.exists()
    run("systemctl", "disable", "--quiet", UNIT, check=False)
    Path(f"/etc/systemd/system/{UNIT}").unlink(missing_ok=True)
    run("systemctl", "daemon-reload")
    SETTINGS.unlink(missing_ok=True)
    remove(PARTS)
    return {"changed": there}


def update() -> dict[str, Any]:
    """Bring the notebook to what the channel names, or leave it as it is, and say so."""
    try:
        changed, told = _update(read(SETTINGS))
    except BusyError as error:
        changed, told = False, f"not now, at the next window: {error}"
    except (KeyError, TypeError, AttributeError) as error:
        say(why := f"not updated: what was published is not of this release's form: {error!r}")
        raise RefusedError(why) from error
    except (RefusedError, OSError, ValueError) as error:
        say(f"not updated: {error}")
        raise
    say(told)
    return {"changed": changed, "told": told}


def _update(settings: Mapping[str, str]) -> tuple[bool, str]:
    """Whether anything was changed, and what is to be said."""
    if not settings:
        raise RefusedError("no channel is followed")
    name, told = offer(**settings)
    facts = renew_notebook.look()
    there = {*facts.lists, "installed.lock"}  # an extension that is not here stays away
    lists = {file: text for file, text in told["lists"].items() if file in there}
    if {file: facts.lists.get(file) for file in lists} == lists:
        return False, "up to date"
    if name in (facts.state.failed, facts.state.undone):
        why = facts.state.reason or "it was led back by hand"
        return False, f"{name} is not tried again: {why}"
    change = difference(told, facts, lists)
    check_room(change, facts)
    files = fetch(settings["url"], change)
    with changing("update of the notebook"), holding(STATE / "lock"):
        now = renew_notebook.look()
        if now.state.step in SHOWN or (now.current, now.lists) != (facts.current, facts.lists):
            raise BusyError("the notebook is being renewed by somebody else")
        digest = join(change, lists, files)
        remove(PARTS)
        renew(name, digest)
    return True, f"updated from {facts.current} to {name}: {', '.join(change.words)}"


def renew(name: str, digest: str) -> None:
    """Take the steps of a renewal, as an operator does.

    Raises:
        RefusedError: one failed; the notebook of before serves.
    """
    try:
        RENEWAL.receive(name, digest, str((RENEWAL.incoming / digest).stat().st_size))
        renew_notebook.unpack(name, digest)
        renew_notebook.prove(name)
        renew_notebook.switch(name, str(PATIENCE))
        if not until(is_answering, SECONDS, pause=0.5, despite=(OSError, ValueError)):
            raise RefusedError("the hub does not answer")
        renew_notebook.check()
        renew_notebook.confirm(name)
    except (RefusedError, OSError, ValueError) as error:
        (RENEWAL.incoming / digest).unlink(missing_ok=True)
        raise RefusedError(f"{error}; {_lead_back(error)}") from error
    renew_notebook.tidy("1")


def _lead_back(error: Exception) -> str:
    try:
        renew_notebook.back(str(error)[:500])
    except (RefusedError, OSError) as second:
        return f"the way back failed, too: {second}; a timer or the next boot leads back"
    return "the notebook of before serves"


def is_answering() -> bool:
    """Whether the hub does."""
    with urllib.request.urlopen(HUB, timeout=SECONDS) as answered:
        return "version" in json.load(answered)


def say(line: str) -> None:
    """Tell the journal."""
    sys.stderr.write(f"{' '.join(line.split())}\n")


# What is published.


def offer(url: str, key: str, channel: str) -> tuple[str, dict[str, Any]]:
    """The environment that a channel names, and what is told of it.

    Raises:
        RefusedError: it is not the publisher's, or older than what was seen, or has expired.
    """
    signature = get(url, f"channels/{channel}.minisig", 4096).decode(errors="replace").split("\n")
    claim = _COMMENT.fullmatch(signature[2]) if len(signature) > 3 else None
    if claim is None:
        raise RefusedError(f"{url} has no channel {channel} of a notebook")
    sums = get(url, f"versions/{claim['version']}/SHA256SUMS", SIGNED)
    check_signature(signature, claim["said"], sums, key)
    if claim["channel"] != channel:
        raise RefusedError(f"{channel} is a copy of the channel {claim['channel']}")
    expires = calendar.timegm(time.strptime(claim["expires"], "%Y-%m-%dT%H:%M:%SZ"))
    if expires < time.time() - SKEW_SECONDS:
        raise RefusedError(
            f"the channel {channel} expired at {claim['expires']}, or the clock is wrong:"
            " something newer may be held back"
        )
    seen, serial = read(SEEN), int(claim["serial"])
    if serial < (before := seen.get(f"{key} {channel}", 0)):
        raise RefusedError(f"the channel {channel} went back from change {before} to {serial}")
    write(SEEN, json.dumps({**seen, f"{key} {channel}": serial}), mode=0o600)
    text = get(url, f"versions/{claim['version']}/environment.json", SIGNED)
    if f"{hashlib.sha256(text).hexdigest()}  environment.json" not in sums.decode().splitlines():
        raise RefusedError(f"{claim['version']}/environment.json is not what was signed")
    told: dict[str, Any] = json.loads(text)
    return claim["version"], told


def get(url: str, path: str, limit: int) -> bytes:
    """A file of the folder.

    Raises:
        RefusedError: it is not to be had, or larger than it may be.
    """
    place = f"{url}/notebook/{path}"
    try:
        with urllib.request.urlopen(place, timeout=SECONDS) as answered:  # noqa: S310 (as is asked)
            data: bytes = answered.read(limit + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise RefusedError(f"{place}: {error}") from error
    if len(data) > limit:
        raise RefusedError(f"{place} has more than {limit} bytes")
    return data


def check_signature(signature: list[str], comment: str, message: bytes, key: str) -> None:
    """Check minisign's signature of a message and of its trusted comment.

    Raises:
        RefusedError: it is no such signature, or not by that key.
    """
    try:
        public = base64.b64decode(key, validate=True)
        blob, over = (base64.b64decode(signature[at], validate=True) for at in (1, 3))
    except ValueError as error:
        raise RefusedError(f"this is no signature: {error}") from error
    if (blob[:2], len(blob), public[:2], len(public)) != (b"ED", 74, b"Ed", 42):
        raise RefusedError("this is no prehashed signature of minisign")
    if blob[2:10] != public[2:10]:
        raise RefusedError("it is signed by another key than the one that was given")
    if not _is_by(public[10:], blob[10:], hashlib.blake2b(message).digest()) or not _is_by(
        public[10:], over, blob[10:] + comment.encode()
    ):
        raise RefusedError("the signature is wrong: it or what it signs was changed")


def _is_by(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a signature of Ed25519 is right; OpenSSL's word, which the notebook brings."""
    with tempfile.TemporaryDirectory() as place:
        files = {"key": _KEY + key, "signature": signature, "message": message}
        for name, content in files.items():
            Path(place, name).write_bytes(content)
        done = attempt(
            *("openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER"),
            *("-inkey", f"{place}/key", "-sigfile", f"{place}/signature"),
            *("-in", f"{place}/message"),
        )
    return done.returncode == 0


# What is missing here.


@dataclass(frozen=True)
class Update:
    """From what is here to what is offered.

    Args:
        needed: packages that are not here in that version, by name, as they are offered.
        gone: packages that are here and in no list.
        words: what changes, for people.
    """

    needed: Mapping[str, Mapping[str, Any]]
    gone: list[str]
    words: list[str]


def difference(told: Mapping[str, Any], facts: NotebookFacts, lists: Iterable[str]) -> Update:
    """What is missing here.

    Raises:
        RefusedError: nothing is published for such an appliance.
    """
    if told["machine"] != facts.machine:
        raise RefusedError(f"it is published for {told['machine']}, this is {facts.machine}")
    if facts.python not in told["python"]:
        raise RefusedError(f"it is not published for Python {facts.python}")
    offered = told["python"][facts.python]
    wanted = {key: part for file in lists for key, part in offered[file].items()}
    versions = {key: part["version"] for key, part in wanted.items()}
    names = sorted(
        key
        for key in {*versions, *facts.installed}
        if versions.get(key) != facts.installed.get(key)
    )
    return Update(
        {key: wanted[key] for key in names if key in wanted},
        [key for key in names if key not in wanted],
        [
            f"{key} {facts.installed.get(key, 'new')} -> {versions.get(key, 'none')}"
            for key in names
        ],
    )


def check_room(change: Update, facts: NotebookFacts) -> None:
    """See whether it can be put beside the old one.

    Raises:
        RefusedError: it cannot.
    """
    room = ROOM + sum(part["size"] + 2 * part["unpacked"] for part in change.needed.values())
    for what, there, wants in (
        ("of the disk", facts.free, room),
        ("of memory", facts.memory, LEAST_MEMORY),
    ):
        if there < wants:
            raise RefusedError(f"{there / 1e6:.0f} MB {what} are free, it wants {wants / 1e6:.0f}")


def fetch(url: str, change: Update) -> list[Path]:
    """Get the packages that are needed, unless they are here from the last time.

    Raises:
        RefusedError: one is not what was signed, as where the connection broke.
    """
    PARTS.mkdir(mode=0o700, exist_ok=True)
    digests = {part["sha256"]: part["size"] for part in change.needed.values()}
    for left in PARTS.iterdir():
        if left.name not in digests:
            left.unlink()
    for digest, size in digests.items():
        if (target := PARTS / digest).exists():
            continue
        data = get(url, f"packages/{digest}", size)
        if hashlib.sha256(data).hexdigest() != digest:
            raise RefusedError(f"packages/{digest}: {len(data)} of {size} bytes, not as signed")
        fresh = target.with_suffix(".new")
        fresh.write_bytes(data)
        fresh.rename(target)
    return [PARTS / digest for digest in digests]


def join(change: Update, lists: Mapping[str, str], files: Iterable[Path]) -> str:
    """Make one archive of the packages, as an operator would send it; its digest."""
    first = io.BytesIO()
    told = json.dumps({"gone": change.gone, "locks": lists}).encode()
    member = tarfile.TarInfo(renew_notebook.CHANGE)
    member.size = len(told)
    tarfile.open(fileobj=first, mode="w").addfile(member, io.BytesIO(told))  # noqa: SIM115
    fresh = PARTS / "archive.new"
    with fresh.open("w+b") as archive:
        archive.write(first.getvalue())
        for path in files:
            with path.open("rb") as piece:
                archive.writelines(plain(piece))
        archive.write(bytes(1024))  # the end of a tar file
        archive.seek(0)
        digest = hashlib.file_digest(archive, "sha256").hexdigest()
    fresh.replace(RENEWAL.incoming / digest)
    return digest


def main() -> None:
    """Carry out one verb."""
    renew_notebook.main(follow, leave, update, held=("follow", "leave"), free=("update",))
