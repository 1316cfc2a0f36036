"""`appliance ssh`: a shell in the appliance."""

import os
import subprocess
import sys

import click

from provision.cli._machine import with_machine
from provision.machine.hypervisor import VirtualMachine


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
@with_machine
def command(vm: VirtualMachine, words: tuple[str, ...]) -> None:
    """Sign in to the running appliance as its admin, or run COMMAND there.

    This becomes the ssh program, with the admin's key and the pinned host key.
    """
    from provision.process import require

    endpoint = vm.endpoint()
    argv = [
        require("ssh", "openssh-client"),
        "-p", str(endpoint.port),
        "-i", str(endpoint.key),
        "-o", "IdentitiesOnly=yes",
        "-o", f'UserKnownHostsFile="{endpoint.known_hosts}"',
        "-o", "StrictHostKeyChecking=accept-new",
        f"{endpoint.user}@{endpoint.host}",
        *words,
    ]  # fmt: skip
    if os.name == "nt":  # there exec gives the terminal back at once
        sys.exit(subprocess.call(argv))
    os.execv(argv[0], argv)  # noqa: S606 (an argv list, no shell)
