"""Who is who in a room: a number, and a name, an address and ports of its own for each seat.

The seat file is CSV with a header; only ``seat`` is required::

    seat,name,address,mac,memory,pool,ssh,notebook
    1,sage-01,10.0.0.11,,4G,3,2222,8000
    2,sage-02,10.0.0.12,,,,,

``ssh`` and ``notebook``, or any other name of a forward, are ports of the seat's host. Between the
columns may be ``;`` or a tab too, as spreadsheets have it.
"""

import csv
import hashlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.errors import UsageError

if TYPE_CHECKING:
    from provision.config import Config

PATTERN = "{name}-{seat:02d}"
_KNOWN = ("seat", "name", "address", "mac", "memory", "cpus", "pool")
_MAC = re.compile(r"[0-9A-F]{12}")


@dataclass(frozen=True)
class Seat:
    """One seat of the room, as the seat file has it.

    Args:
        number: from 1.
        name: its VM's name; empty: by pattern.
        address: of its host in the room; empty: unknown.
        mac: of its VM's network card, 12 digits; empty: made from the name.
        settings: keys of appliance.yml that differ here.
        ports: host ports by the name of the forward.
    """

    number: int
    name: str = ""
    address: str = ""
    mac: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)


def read(path: Path) -> dict[int, Seat]:
    """Read a seat file.

    Raises:
        UsageError: a line of it is wrong; the message says which and why.
    """
    found: dict[int, Seat] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            columns = next(csv.reader([header], delimiter=(comma := _separator(header))), [])
            if "seat" not in columns:
                raise ValueError(f"line 1 has no column seat: {header.strip()!r}")
            for row in csv.DictReader(file, columns, delimiter=comma):
                seat = _seat({key: (row[key] or "").strip() for key in row if key})
                if seat.number in found:
                    raise ValueError(f"seat {seat.number} comes twice")
                if seat.name and seat.name in (other.name for other in found.values()):
                    raise ValueError(f"the name {seat.name!r} comes twice")
                found[seat.number] = seat
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise UsageError(
            f"{path}, after {len(found)} good lines: {error}",
            hint="the first line names the columns, as in seat,name,address; only seat is required",
        ) from error
    return found


def _separator(header: str) -> str:
    """What is between the columns: spreadsheets take ; where numbers have a decimal comma."""
    return max(",;\t", key=header.count)


def find(path: Path | None, number: int | None) -> Seat:
    """One seat of a seat file; without a file a seat that has only its number.

    Raises:
        UsageError: it is not in the file.
    """
    if path is None:
        return Seat(number or 0)
    if number is None:
        raise UsageError("which line of the seat file is ours?", hint="give --seat NUMBER")
    known = read(path)
    if number not in known:
        raise UsageError(f"there is no seat {number} in {path}")
    return known[number]


def seat_name(pattern: str, name: str, number: int) -> str:
    """A seat's name by a pattern such as ``sage-{seat:02d}``.

    Raises:
        UsageError: it is no such pattern.
    """
    try:
        return pattern.format(name=name, seat=number)
    except (KeyError, IndexError, ValueError) as error:
        raise UsageError(f"{pattern!r} is no pattern like {PATTERN!r}") from error


def mac(name: str) -> str:
    """A stable network address from a VM's name, in the range of VirtualBox's own."""
    return "080027" + hashlib.sha256(name.encode()).hexdigest()[:6].upper()


def seat_config(definition: Mapping[str, Any], seat: Seat, name: str) -> "Config":
    """The configuration of the VM of one seat.

    Raises:
        UsageError: the seat asks for what this appliance cannot be, or for a forward that it
            does not have.
    """
    from pydantic import ValidationError  # noqa: PLC0415 (a pull with nothing new has no need)

    from provision.config import Config  # noqa: PLC0415
    from provision.config.rules import check  # noqa: PLC0415

    forwards = dict(definition["network"]["forwards"])
    for forward, port in seat.ports.items():
        if forward not in forwards:
            raise UsageError(
                f"seat {seat.number} has a port for {forward!r}; the appliance has"
                f" {', '.join(sorted(forwards)) or 'no forwards'}"
            )
        forwards[forward] = {**forwards[forward], "host": port}
    if "notebook" in seat.ports and "sessions" in forwards and "sessions" not in seat.ports:
        own = forwards["sessions"]  # follows the notebook's
        forwards["sessions"] = {name: own[name] for name in own if name != "host"}
    values = {
        **definition,
        **seat.settings,
        "name": name,
        "network": {**definition["network"], "forwards": forwards},
        "pool": {**definition["pool"], **seat.settings.get("pool", {})},
    }
    try:
        config = Config.model_validate(_freeze(values))
    except ValidationError as error:
        wrong = error.errors()[0]
        key = ".".join(map(str, wrong["loc"]))
        raise UsageError(f"seat {seat.number}: {key}: {wrong['msg']}") from error
    for problem in check(config):
        raise UsageError(f"seat {seat.number}: {problem.message}", hint=problem.mend)
    return config


def _seat(row: Mapping[str, str]) -> Seat:
    number = int(row["seat"])
    if number < 1:
        raise ValueError(f"seat {number} is less than 1")
    address = row.get("address", "")
    if address:
        ipaddress.ip_address(address)
    hardware = row.get("mac", "").replace(":", "").replace("-", "").upper()
    if hardware and not _MAC.fullmatch(hardware):
        raise ValueError(f"{row['mac']!r} is no MAC address")
    settings: dict[str, Any] = {}
    if row.get("memory"):
        settings["memory"] = row["memory"]
    if row.get("cpus"):
        settings["cpus"] = int(row["cpus"])
    if row.get("pool"):
        settings["pool"] = {"count": int(row["pool"])}
    ports = {key: int(value) for key, value in row.items() if key not in _KNOWN and value}
    return Seat(number, row.get("name", ""), address, hardware, settings, ports)


def _freeze(value: Any) -> Any:
    """JSON's lists as the tuples that the model has."""
    if isinstance(value, dict):
        return {key: _freeze(each) for key, each in value.items()}
    return tuple(_freeze(each) for each in value) if isinstance(value, list) else value
