"""Fetch a booted guest's root file system, told over SSH to send it by its stream."""

import contextlib
import os
import select
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import paramiko

from provision.errors import GuestError, HostNotReadyError
from provision.machine import SshEndpoint, Stream
from provision.machine.ssh import connect
from provision.process import CommandFailedError, feed

BUILD_NETWORK = "etc/systemd/network/99-build.network"
# What a running system has that no root file system should keep.
LEFT_OUT = (f"./{BUILD_NETWORK}", "./root/.ssh", "./var/cache/apt/archives/*.deb", "./lost+found")


RECORD = 32 << 10  # as much as a guest's port takes at once
LOOK_SECONDS = 0.2
_CHUNK = 1 << 20


def pull_tree(
    endpoint: SshEndpoint, stream: Stream, target: Path, left_out: Sequence[str] = ()
) -> None:
    """Copy the guest's root file system into a directory, with owners, modes and attributes.

    Args:
        endpoint: the guest.
        stream: by which it sends.
        target: the directory to make.
        left_out: further patterns of what stays behind.

    Raises:
        GuestError: the guest's tar failed, or the connection broke.
        HostNotReadyError: there is no room.
    """
    target.mkdir()
    excluded = " ".join(f"--exclude='{pattern}'" for pattern in (*LEFT_OUT, *left_out))
    attributes = "--numeric-owner --xattrs --xattrs-include='*'"
    boot = "$(mountpoint -q /boot && echo ./boot)"  # a partition of its own, as in Ubuntu's images
    packing = (
        f"tar -C / --one-file-system --sort=name --record-size={RECORD} {attributes} {excluded}"
        f" -cf - . {boot} > {stream.path}"
    )
    unpacking = ["tar", "-C", str(target), "--numeric-owner", "--xattrs", "--xattrs-include=*"]
    try:
        with contextlib.closing(connect(endpoint)) as client:
            _, out, _ = client.exec_command(packing)
            try:
                feed([*unpacking, "-xf", "-"], lambda pipe: _copy(stream, out.channel, pipe))
            except CommandFailedError as error:
                raise HostNotReadyError(
                    f"cannot unpack the guest's files in {target}: {error.tail[-500:]}"
                ) from error
            # 1: a file changed while it was read, which logs of a running system do
            if out.channel.recv_exit_status() not in (0, 1):
                raise GuestError("tar failed in the guest")
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise GuestError(f"the connection broke while fetching files: {error}") from error


def _copy(stream: Stream, command: paramiko.Channel, pipe: IO[bytes]) -> None:
    """Copy what a guest's command writes to a stream, until it has ended and all is here."""
    over = False
    while True:
        if select.select([stream.reading], [], [], 0 if over else LOOK_SECONDS)[0]:
            if not (data := os.read(stream.reading, _CHUNK)):
                return  # the machine is gone
            pipe.write(data)
        elif over:
            return
        # Before the next look: a write in the guest has ended only when its data are with us.
        over = command.exit_status_ready()
