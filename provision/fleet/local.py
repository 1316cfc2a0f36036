"""The running appliances of this host's hypervisor."""

from provision.build import places
from provision.config import Config
from provision.fleet.inventory import Host
from provision.machine import SSH
from provision.machine.hypervisor import Fallback, of_this_host

LOOPBACK = "127.0.0.1"


def running() -> tuple[Host, ...]:
    """Every running VM of ours whose SSH port is forwarded.

    Raises:
        HostNotReadyError: there is none.
        HypervisorError: it does not answer.
    """
    admin, notebook, hosts = Config().admin.user, Config().notebook.port, []
    for each in of_this_host().running():
        if SSH in each.ports:
            url = f"https://{LOOPBACK}:{each.ports.get(notebook, notebook)}"
            key = places.admin_key(each.name)
            hosts.append(Host(each.name, LOOPBACK, each.ports[SSH], admin, key, url))
    return tuple(hosts)


def fallback(port: int) -> Fallback | None:
    """A snapshot for the VM of ours whose SSH server answers on a loopback port of this host.

    None: there is no such VM, or it was pulled: its versions are kept in another way.

    Raises:
        HostNotReadyError: there is no hypervisor.
        HypervisorError: it does not answer.
    """
    here = of_this_host()
    return next(
        (here.fallback(vm.uuid) for vm in here.running() if vm.ports.get(SSH) == port), None
    )
