"""What seats say of themselves: bounded, typed, and checked by whoever reads it.

A report comes from anybody in the room, over HTTP, on a share or by multicast DNS. So the one who
keeps it and the one who reads it check it alike, and what is no report is as if it were not there.
"""

import contextlib
import ipaddress
import json
import os
import re
import stat
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from provision.distribution.manifest import checked_name
from provision.errors import VerificationError
from provision.files import write_whole

FOLDER = "seats"
STATES = ("pulling", "ready", "failed", "lost")
MAX_BYTES = 4096  # of one report
MAX_TEXT = 500  # characters of a version or an error
MAX_SEATS = 500  # reports in a folder
MAX_SEATS_PER_ADDRESS = 60  # seats behind one address: a host with many VMs, a small room's NAT
STALE_SECONDS = 30.0  # a seat that shares reports every second
FORGOTTEN_SECONDS = 24 * 3600.0  # its place is another's when the folder is full


class FullError(Exception):
    """There is no room for another seat's report."""


@dataclass(frozen=True)
class SeatReport:
    """What one seat said last.

    Args:
        name: the seat.
        state: one of `STATES`.
        port: TCP port on which it serves chunks; None: it does not.
        vm: its VM; None: not told, as below.
        version: what is installed there.
        error: why a pull failed.
        address: the one that the report came from.
    """

    name: str
    state: str
    port: int | None = None
    vm: str | None = None
    version: str | None = None
    error: str | None = None
    address: str | None = None

    def values(self) -> dict[str, Any]:
        """What was told, for JSON."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def parse(text: bytes, name: str, address: str | None = None) -> SeatReport:
    """Read a report that a seat sent.

    Args:
        text: JSON; keys that we do not know are passed over.
        name: the seat, instead of what it says itself.
        address: where it came from, likewise.

    Raises:
        ValueError: it is none; the message says why.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    values = load(text)
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    told = {**values, "name": name}
    return check(told if address is None else {**told, "address": address})


def load(text: bytes) -> Any:
    """Read JSON from anybody: whatever is wrong with it is a ValueError; NaN is no number."""

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no number")

    try:
        return json.loads(text.decode(), parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def check(values: Any) -> SeatReport:
    """Check a report's values, whoever read them.

    Raises:
        ValueError: one of them is not what it must be; the message names it.
    """
    if not isinstance(values, Mapping):
        raise ValueError("it is no JSON object")
    state, port, address = (values.get(key) for key in ("state", "port", "address"))
    if state not in STATES:
        raise ValueError(f"state: not one of {', '.join(STATES)}")
    if port is not None and (type(port) is not int or not 0 < port < 1 << 16):  # a bool is an int
        raise ValueError("port: not a number from 1 to 65535")
    if address is not None:
        address = str(ipaddress.ip_address(address if isinstance(address, str) else ""))
    return SeatReport(
        name=_name(values.get("name")),
        state=state,
        port=port,
        vm=_text("vm", values.get("vm")),
        version=_text("version", values.get("version")),
        error=_text("error", values.get("error")),
        address=address,
    )


def list_all(root: Path) -> list[dict[str, Any]]:
    """What each seat said last, by name; a seat that went silent shares no more."""
    found = []
    for path, changed in _files(root):
        try:
            row = parse(_read(path), path.stem).values()
        except (ValueError, OSError):  # by somebody who may write to the share, or half written
            continue
        row["age"] = max(0.0, round(time.time() - changed, 1))
        if row["age"] > STALE_SECONDS:
            row["port"] = None
            row["state"] = "lost" if row["state"] == "pulling" else row["state"]
        found.append(row)
    return found[:MAX_SEATS]


def keep(root: Path, report: SeatReport) -> None:
    """Keep a report in a published folder.

    Raises:
        FullError: there are too many others.
        OSError: it cannot be written.
    """
    path = root / FOLDER / f"{report.name}.json"
    if not path.exists():
        _make_room(root, report.address)
    write_whole(path, json.dumps(report.values(), sort_keys=True).encode())


def seat_name(text: str) -> str:
    """A seat's name made of a host's, which may have anything in it."""
    return re.sub(r"[^A-Za-z0-9._+~-]+", "-", text).strip("-._+~")[:100] or "seat"


def _make_room(root: Path, address: str | None) -> None:
    """See to it that one more report has a place.

    Raises:
        FullError: it has none.
    """
    there = sorted(_files(root), key=lambda each: each[1])
    if address is not None:
        ours = 0
        for path, _ in there:
            with contextlib.suppress(ValueError, OSError):
                ours += parse(_read(path), path.stem).address == address
        if ours >= MAX_SEATS_PER_ADDRESS:
            raise FullError(f"{address} has {ours} seats already")
    if len(there) < MAX_SEATS:
        return
    oldest, changed = there[0]
    if time.time() - changed < FORGOTTEN_SECONDS:
        raise FullError(f"there are {len(there)} seats already")
    oldest.unlink(missing_ok=True)


def _files(root: Path) -> list[tuple[Path, float]]:
    """Every file that may be a report, by name, and when it was written."""
    found = []
    for path in sorted((root / FOLDER).glob("[!.]*.json")):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                found.append((path, status.st_mtime))
    return found


def _read(path: Path) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
        return file.read(MAX_BYTES + 1)


def _name(value: Any) -> str:
    try:
        return checked_name(value if isinstance(value, str) else "")
    except VerificationError as error:
        raise ValueError("name: no seat's name") from error


def _text(key: str, value: Any) -> str | None:
    """A text that is shown, and must not steer a terminal."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{key}: no text")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value[:MAX_TEXT])
