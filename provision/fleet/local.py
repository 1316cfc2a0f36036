"""The running appliances of this host's VirtualBox."""

from provision.build import places
from provision.config import Config
from provision.fleet.inventory import Host
from provision.machine.virtualbox import found, mark, translated
from vbox import machine, nat, parse


def running() -> tuple[Host, ...]:
    """Every running VM of ours whose SSH port is forwarded.

    Raises:
        HostNotReadyError: VirtualBox is not installed.
        HypervisorError: it does not answer.
    """
    manage, hosts = found(), []
    admin, notebook = Config().admin.user, Config().notebook.port
    with translated():
        for _, uuid in parse.listed(manage.run("list", "runningvms")):
            looked = machine.show(manage, uuid)
            owner = machine.owner(manage, looked) or ""
            if not owner.startswith(mark("")):
                continue
            ports = {each.guest_port: each.host_port for each in nat.listed(looked)}
            if 22 in ports:
                url = f"https://127.0.0.1:{ports.get(notebook, notebook)}"
                key = places.admin_key(looked.name)
                hosts.append(Host(looked.name, nat.LOOPBACK, ports[22], admin, key, url))
    return tuple(hosts)
