"""Who gets in from outside, and which ports answer."""

import contextlib
import shlex
import socket
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
from platformdirs import user_data_dir

from provision.build import places
from provision.config import Config
from provision.machine import SSH, Machine, SshEndpoint, keys
from provision.machine.ssh import execute
from provision.verify.registry import Facts, Guest, Problems, check, collector
from provision.waiting import until

SERVICE_SECONDS = 300  # an emulated guest's services come long after its SSH server
PATIENCE_SECONDS = 30
# What must not answer though many an image has it: mail, web, portmapper, printing, databases.
UNPROMISED = (25, 80, 111, 631, 3306, 5432, 8001, 8081)
LOOPBACK = ("127.", "::1")
ANY_CERTIFICATE = ssl._create_unverified_context()  # noqa: S323 - only whether one speaks TLS


@collector("outside")
def gather(guest: Guest) -> dict[str, Any]:
    """Knock at every promised port from this host, and try the ways in that must be shut."""
    endpoint = guest.endpoint
    return {
        "answers": _knock(guest, promised_ports(guest.config), SERVICE_SECONDS),
        "methods": _offered_methods(endpoint),
        "password": _password_opens(endpoint),
        "root": _opens(endpoint, "root"),
        "pool": {account: _opens(endpoint, account) for account in guest.config.pool_accounts[:1]},
        "notebook": bool(
            execute(guest.client, "systemctl list-unit-files notebook.service --no-legend").stdout
        ),
    }


# Not in nspawn: what its network hands in comes from the guest's own loopback, which sees more.
# After the promised ones: while no service has opened its port yet, silence proves nothing.
@collector("other_ports", fast=False)
def gather_others(guest: Guest) -> dict[str, Any]:
    """Knock at ports that were not promised."""
    others = set(wanted_ports(guest.config)) - promised_ports(guest.config)
    return {"answers": _knock(guest, others, seconds=0)}


@collector("own_key")
def try_own_key(guest: Guest) -> Facts | None:
    """Sign in with the key that the build made on this host; nothing when this is another host."""
    admin = guest.config.admin
    key = Path(user_data_dir(places.APPLICATION), guest.config.name, "id_ed25519")
    if admin.keys or not key.exists():
        return None
    # An appliance of the same name may have been built here, and this one elsewhere.
    file = shlex.quote(f"/etc/ssh/authorized_keys.d/{admin.user}")
    known = execute(guest.client, f"cat {file}").stdout
    ours = keys.public(key).split()[1]
    if known.strip() and ours not in known.split():
        return None
    return {"opens": _opens(replace(guest.endpoint, key=key), admin.user)}


@check("own_key", how="sign in through the forwarded port with this host's own key")
def own_key_opens(config: Config, facts: Facts) -> Problems:
    """The administrator's key that the build made on this host opens the account."""
    if not facts["opens"]:
        yield f"{config.admin.user} is refused"


def wanted_ports(config: Config) -> list[int]:
    """The guest ports that the machine must forward for these checks."""
    return sorted(promised_ports(config) | set(UNPROMISED))


def promised_ports(config: Config) -> set[int]:
    """The guest ports at which something is to answer."""
    return {SSH} | {forward.guest for forward in config.network.forwards.values()}


def _knock(guest: Guest, ports: Iterable[int], seconds: float) -> dict[str, bool]:
    """Which ports answer within ``seconds``; a firewall's silence takes all the patience."""
    ports = sorted(ports)
    with ThreadPoolExecutor(len(ports)) as threads:
        answers = threads.map(lambda port: _answers(guest.machine, port, seconds), ports)
        return {str(port): answer for port, answer in zip(ports, answers, strict=True)}


def _answers(machine: Machine, port: int, seconds: float) -> bool:
    """Whether anything says a word within ``seconds``, asked once at least."""
    return until(lambda: _answers_now(machine, port), seconds, pause=0.5)


def _answers_now(machine: Machine, port: int) -> bool:
    """Whether anything says a word; QEMU and pasta accept every connection themselves."""
    address = ("127.0.0.1", machine.host_port(port))
    # SSH's server speaks first, and hangs up on what it does not know; others are asked in plain
    # text, and then in TLS, whose servers are silent to any other language.
    try:
        with socket.create_connection(address, PATIENCE_SECONDS) as connection:
            connection.sendall(b"" if port == SSH else b"GET / HTTP/1.0\r\n\r\n")
            if connection.recv(1):
                return True
    except TimeoutError:  # a firewall's silence
        return False
    except OSError:
        pass
    return port != SSH and _greets_in_tls(address)


def _greets_in_tls(address: tuple[str, int]) -> bool:
    try:
        with (
            socket.create_connection(address, PATIENCE_SECONDS) as connection,
            ANY_CERTIFICATE.wrap_socket(connection),
        ):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def _transport(endpoint: SshEndpoint) -> Any:
    connection = socket.create_connection((endpoint.host, endpoint.port), PATIENCE_SECONDS)
    with contextlib.closing(paramiko.Transport(connection)) as transport:
        transport.banner_timeout = transport.auth_timeout = PATIENCE_SECONDS
        transport.start_client(timeout=PATIENCE_SECONDS)
        yield transport


def _offered_methods(endpoint: SshEndpoint) -> list[str]:
    with _transport(endpoint) as transport:
        try:
            transport.auth_none(endpoint.user)
        except paramiko.BadAuthenticationType as refusal:
            return list(refusal.allowed_types)
        except paramiko.AuthenticationException:
            return []
    return ["none"]


def _password_opens(endpoint: SshEndpoint) -> bool:
    with _transport(endpoint) as transport:
        try:
            transport.auth_password(endpoint.user, "", fallback=True)
        except (paramiko.SSHException, OSError, EOFError):
            return False
    return True


def _opens(endpoint: SshEndpoint, user: str) -> bool:
    """Whether the endpoint's key opens an account."""
    with _transport(endpoint) as transport:
        try:
            transport.auth_publickey(user, paramiko.PKey.from_path(endpoint.key))
        except (paramiko.SSHException, OSError, EOFError):
            return False
    return True


@check("outside", how="sign in through the forwarded port with a key")
def ssh_answers(config: Config, facts: Facts) -> Problems:
    """The administrator signs in over SSH."""
    if not facts["answers"][str(SSH)]:
        yield "port 22 does not answer"


@check("outside", how="knock at each forwarded port from this host")
def forwards_answer(config: Config, facts: Facts) -> Problems:
    """Every forwarded port leads to a service."""
    for name, forward in config.network.forwards.items():
        if name in ("notebook", "sessions") and not facts["notebook"]:
            continue
        if not facts["answers"][str(forward.guest)]:
            yield f"{name}: port {forward.guest} does not answer"


@check("outside", how="sign in as root with a key that root has")
def root_refused(config: Config, facts: Facts) -> Problems:
    """Root cannot sign in over SSH."""
    if facts["root"]:
        yield "root signed in"


@check("outside", how="ask the server for its methods, and try a password")
def passwords_refused(config: Config, facts: Facts) -> Problems:
    """No password opens SSH."""
    if facts["password"]:
        yield f"an empty password opened {config.admin.user}'s account"
    for method in sorted(set(facts["methods"]) - {"publickey"}):
        yield f"the server offers the method {method}"


@check("outside", how="sign in as a pool account with the administrator's key")
def pool_refused_from_outside(config: Config, facts: Facts) -> Problems:
    """Pool accounts are entered from the appliance itself only."""
    for account, opened in facts["pool"].items():
        if opened:
            yield f"{account} signed in"


@check("other_ports", how="knock at ports that were not promised")
def other_ports_shut(config: Config, facts: Facts) -> Problems:
    """No other port answers from outside."""
    yield from (f"port {port} answers" for port, answered in facts["answers"].items() if answered)


@check("inside", how="list the sockets that listen")
def only_promised_listeners(config: Config, facts: Facts) -> Problems:
    """Nothing listens to the network but what was promised."""
    promised = promised_ports(config)
    for listener in facts["listeners"]:
        if not listener["address"].startswith(LOOPBACK) and listener["port"] not in promised:
            yield f"{listener['program'] or 'something'} listens on port {listener['port']}"
