"""Root and /home on separate disks: how they are mounted, and what a full or missing one does."""

import time
from typing import Any

from provision.config import Config
from provision.machine.ssh import connect, execute
from provision.verify.registry import Facts, Guest, Problems, check, collector

RESERVE_SLACK = 0.1  # percent: mke2fs rounds to whole blocks
SIGN_IN_SECONDS = 120
DEVICE_SECONDS = 15  # for which systemd may look for the missing disk


@check("mounts", how="findmnt and lsblk")
def separate_disks(config: Config, facts: Facts) -> Problems:
    """Every configured disk is mounted at its place, and no two places share one."""
    seen: dict[str, str] = {}
    for name, disk in config.disks.items():
        mounted = facts["mounts"].get(disk.mount)
        if mounted is None:
            yield f"{name}: nothing is mounted at {disk.mount}"
            continue
        if mounted["filesystem"] != disk.filesystem:
            yield f"{name}: {disk.mount} is {mounted['filesystem']}"
        if other := seen.get(mounted["disk"]):
            yield f"{disk.mount} and {other} are on the same disk {mounted['disk']}"
        seen[mounted["disk"]] = disk.mount


@check("mounts", how="read /etc/fstab")
def mounted_by_uuid(config: Config, facts: Facts) -> Problems:
    """Disks are mounted by UUID, since their order differs between hypervisors."""
    lines = [line.split() for line in facts["fstab"].splitlines()]
    table = {fields[1]: fields for fields in lines if len(fields) > 3 and fields[0][0] != "#"}
    for disk in config.disks.values():
        if disk.mount not in table:
            yield f"{disk.mount} is not in /etc/fstab"
        elif table[disk.mount][0] != f"UUID={facts['mounts'].get(disk.mount, {}).get('uuid')}":
            yield f"{disk.mount} is mounted from {table[disk.mount][0]}"
        elif disk.mount != "/" and "nofail" not in table[disk.mount][3]:
            yield f"the boot stops without {disk.mount}"


@check("mounts", how="dumpe2fs -h")
def reserve_kept(config: Config, facts: Facts) -> Problems:
    """Each file system keeps its share for root."""
    for disk in config.disks.values():
        share = facts["mounts"].get(disk.mount, {}).get("reserve")
        if share is None or abs(share - disk.reserve) > RESERVE_SLACK:
            yield f"{disk.mount} keeps {share if share is None else round(share, 2)} %"


@check("mounts", how="the mounts' options, or fstrim's timer")
def discard(config: Config, facts: Facts) -> Problems:
    """Freed space is given back to the host."""
    if facts["units"].get("fstrim.timer", {}).get("active") == "active":
        return
    for disk in config.disks.values():
        if "discard" not in facts["mounts"].get(disk.mount, {}).get("options", ()):
            yield f"{disk.mount} is mounted without discard"


@collector("full", when="last", fast=False)
def fill_home(guest: Guest) -> dict[str, Any]:
    """Fill /home to the last block, then sign in anew."""
    facts = guest.script("fill", admin=guest.config.admin.user)
    begun = time.monotonic()
    client = connect(guest.endpoint)
    try:
        answer = execute(client, "id -un", timeout=SIGN_IN_SECONDS).stdout.strip()
    finally:
        client.close()
    return {**facts, "sign_in": answer, "seconds": time.monotonic() - begun}


@check("full", how="fill /home, then write as the administrator")
def home_fills(config: Config, facts: Facts) -> Problems:
    """A full /home refuses writers and leaves the root disk alone."""
    if not facts["separate"]:
        yield "/home is on the root disk"
    if "No space left" not in facts["refused"] and "quota" not in facts["refused"].lower():
        yield f"one more megabyte fitted ({facts['left']} bytes were left)"
    if facts["root_left"] < 64 << 20:
        yield f"the root disk has only {facts['root_left']} bytes left"


@check("full", how="fill /home, then look and sign in anew")
def full_home_harmless(config: Config, facts: Facts) -> Problems:
    """With a full /home the machine runs on: SSH, journal, sign-in."""
    for unit, state in facts["active"].items():
        if state != "active":
            yield f"{unit} is {state}"
    if not facts["journal"]:
        yield "the journal takes no entry"
    if facts["sign_in"] != config.admin.user:
        yield "the administrator cannot sign in"
    yield from (f"{unit} failed" for unit in facts["failed_units"])


@check("without_home", how="boot without the disk, compare the time to sign-in")
def missing_home_harmless(config: Config, facts: Facts) -> Problems:
    """Without the /home disk the machine still boots, and sign-in is hardly later."""
    first, second = facts["first"], facts["second"]
    if second["home_mounted"]:
        yield "/home was mounted all the same"
    if second["ssh_waited"] > 2 * first["ssh_waited"] + DEVICE_SECONDS:
        yield (
            f"SSH started {second['ssh_waited']:.0f} s after the basic system"
            f" instead of {first['ssh_waited']:.0f} s"
        )


@check("without_home", how="boot without the disk, look where the administrator's keys are")
def missing_home_opens(config: Config, facts: Facts) -> Problems:
    """Without the /home disk the administrator's key still opens the account."""
    if not facts["second"]["authorized_keys"]:
        yield "the authorized keys are on the missing disk only"
