"""One person's data on an appliance: given out as one archive, or erased with a signed record."""

from pathlib import Path
from typing import Any

from provision.errors import UsageError
from provision.files import write_whole, writing_whole
from provision.fleet.classroom import Tell, ask
from provision.fleet.inventory import Host, Inventory
from provision.fleet.remote import reach

PROGRAM = "person"
SIGNATURE = ".sig"  # behind the record's name, as ssh-keygen writes it


def export(host: Host, inventory: Inventory, name: str, folder: Path, tell: Tell) -> dict[str, Any]:
    """Fetch all that an appliance keeps of a person, as ``NAME-HOST.tar.gz``.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        name: the person's.
        folder: where the archive is put.
        tell: called as it begins.

    Returns:
        The ``archive``, and its ``bytes``.

    Raises:
        UsageError: there is such a file already.
        StepError: nothing is known of that name.
        GuestError: no way in, or the connection broke; nothing half is left.
    """
    target = _fresh(folder / f"{name}-{host.name}.tar.gz")
    tell("export", "")
    with (
        reach(host, inventory) as remote,
        writing_whole(target, mode=0o600, replace=False) as file,
    ):
        remote.receive(PROGRAM, "export", name, into=file)
    return {"archive": str(target), "bytes": target.stat().st_size}


def erase(host: Host, inventory: Inventory, name: str, folder: Path, tell: Tell) -> dict[str, Any]:
    """Erase a person from an appliance and its backups, and keep the record that it signs.

    What an earlier run has begun is gone on with.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        name: the person's.
        folder: where ``NAME-HOST.json`` and its signature are put.
        tell: called as each step begins.

    Returns:
        The ``record``, and what was ``erased`` and ``kept``, a line each.

    Raises:
        UsageError: there is such a record already.
        StepError: it cannot be done, or not all of it.
        GuestError: no way in.
    """
    target = _fresh(folder / f"{name}-{host.name}.json")
    there = ask(host, inventory, ("traces", name), tell, program=PROGRAM)["hub"]
    if there["account"] or there["session"] or there["user"]:
        ask(host, inventory, ("users-delete", name), tell)
    done = ask(host, inventory, ("erase", name), tell, program=PROGRAM)
    signature = target.with_name(target.name + SIGNATURE)
    write_whole(signature, done["signature"].encode(), mode=0o600, durable=True)
    write_whole(target, done["record"].encode(), mode=0o600, durable=True)
    ask(host, inventory, ("erased", name), tell, program=PROGRAM)
    return {
        "record": str(target),
        "erased": [f"{each['what']} {each.get('path', '')}".strip() for each in done["erased"]],
        "kept": [f"{each['what']}: {each['why']}" for each in done["kept"]],
    }


def _fresh(target: Path) -> Path:
    if target.exists():
        raise UsageError(
            f"{target} is there already", hint="move it away, or name another --output"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
