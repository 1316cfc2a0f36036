"""What the verbs about a running appliance share: its VM, found by its configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.cli._config import with_config

if TYPE_CHECKING:
    from provision.config import Config, Loaded
    from provision.fleet.inventory import Host
    from provision.machine import SshEndpoint
    from provision.machine.hypervisor import VirtualMachine

Verb = Callable[..., Any]


def with_machine(verb: Verb) -> Verb:
    """Give a verb ``--config``, ``--set`` and ``--identity``, and the VM as argument ``vm``."""

    @click.option(
        "-i",
        "--identity",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The admin's private key. Default: the one that fits the configuration.",
    )
    @with_config
    def wrapper(*args: Any, loaded: "Loaded", identity: Path | None, **options: Any) -> Any:
        return verb(*args, vm=open_machine(loaded.config, identity), **options)

    wrapper.__name__, wrapper.__doc__ = verb.__name__, verb.__doc__
    wrapper.__click_params__ = [  # type: ignore[attr-defined]
        *getattr(verb, "__click_params__", []),
        *wrapper.__click_params__,  # type: ignore[attr-defined]
    ]
    return wrapper


def open_machine(
    config: "Config", identity: Path | None = None, *, fetch: bool = True
) -> "VirtualMachine":
    """The VM of a configuration, defined or not; a hypervisor that is missing may be fetched."""
    from provision.build import places
    from provision.machine.hypervisor import of_this_host

    key = identity or _identity(config)
    return of_this_host(fetch=fetch).machine(config, places.data(config.name), key)


def host_of(vm: "VirtualMachine", endpoint: "SshEndpoint | None" = None) -> "Host":
    """The VM as a host of a fleet, at the endpoint that is given or that it has now."""
    from provision.fleet.inventory import Host

    scheme, there = "https" if vm.config.https else "http", endpoint or vm.endpoint()
    url = f"{scheme}://127.0.0.1:{vm.host_port(vm.config.notebook.port)}"
    return Host(vm.config.name, there.host, there.port, there.user, there.key, url)


def _identity(config: "Config") -> Path:
    """The private key to a configured public one among the user's own, else the appliance's."""
    from provision.build import places

    if not config.admin.keys:
        return places.admin_key(config.name)
    wanted = {tuple(key.split()[:2]) for key in config.admin.keys}
    home = Path.home() / ".ssh"
    for public in sorted(home.glob("*.pub")):
        if tuple(public.read_text().split()[:2]) in wanted and public.with_suffix("").exists():
            return public.with_suffix("")
    return home / "id_ed25519"


def addresses(vm: "VirtualMachine") -> list[dict[str, Any]]:
    """Every forward as it is now, for people and programs."""
    return [
        {
            "name": forward.name,
            "host": forward.host_port,
            "guest": forward.guest_port,
            "public": not forward.host_ip,
        }
        for forward in vm.forwards()
    ]


def show_addresses(vm: "VirtualMachine") -> None:
    """Print how to reach the appliance."""
    config = vm.config
    for each in addresses(vm):
        room = ", open to the room" if each["public"] else ""
        if each["guest"] == config.notebook.port:
            how = f"{'https' if config.https else 'http'}://localhost:{each['host']}/"
        elif each["name"] == "ssh":
            how = f"appliance ssh   (port {each['host']}, user {config.admin.user})"
        else:
            how = f"port {each['host']}"
        click.echo(f"{each['name']:<10} {how}{room}")
