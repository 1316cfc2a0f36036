"""Named grading services on one appliance, and the proxy between their tasks and the network.

An instance is a service of its own: port, queue, limits, and the hosts that its tasks may reach.
Its settings are one file, ``/etc/grader/instances/NAME.toml``; everything else follows from these
files. Run as root in the guest, where the command is ``grader-instance``.
"""

import argparse
import dataclasses
import json
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from provision.errors import ApplianceError, ConfigError, UsageError
from provision.guest.grader.settings import Settings, load
from provision.guest.sandbox.limits import Limits
from provision.waiting import until

DIRECTORY = Path("/etc/grader/instances")
DEFAULT = "default"
FIRST_PORT, FIRST_PROXY_PORT, LAST_PROXY_PORT = 8090, 3128, 3227
PROXY_UNIT = "grader-proxy.service"
_PATIENCE = 180  # seconds for a service to start; an emulated machine takes more than 30

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?P<below>\.)?(?P<name>{_LABEL}(?:\.{_LABEL})*)(?::(?P<port>[0-9]{{1,5}}))?")
# What no public name may lead a task to: our own addresses and those of the school.
_PRIVATE = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.168.0.0/16"
    " 198.18.0.0/15 224.0.0.0/3 ::/128 fc00::/7 fe80::/10 ff00::/8"
)


@dataclasses.dataclass(frozen=True)
class AllowedHost:
    """One entry of an allow-list.

    Args:
        name: a host; its ports are 80 and 443 unless said.
        below: the name itself and every name below it.
        port: the one port, or None.
    """

    name: str
    below: bool = False
    port: int | None = None


def host(text: str) -> AllowedHost:
    """Read ``HOST``, ``.DOMAIN`` or either with ``:PORT``.

    Raises:
        ConfigError: it is none of these.
    """
    found = _HOST.fullmatch(text.lower())
    port = int(found["port"]) if found and found["port"] else None
    if not found or (port is not None and not 1 <= port <= 65535):
        raise ConfigError(
            f"{text!r} is no host to allow", hint="such as pypi.org, .debian.org or cache.lan:8081"
        )
    return AllowedHost(found["name"], bool(found["below"]), port)


def proxy_configuration(instances: Mapping[str, Settings]) -> str:
    """Squid's configuration: a port for each instance with a network, and its hosts behind it.

    A name that was written out may lead to a private address, for that is where a school's cache
    is; a name below a domain may not, for anyone could have chosen it. Nothing leads to us.
    """
    lines = [
        "# Squid between untrusted programs and the hosts that they may reach.",
        "visible_hostname sandbox",
        "pid_filename none",
        "access_log syslog:daemon.info",
        "cache_log /dev/null",
        "cache_mem 128 MB",
        "maximum_object_size_in_memory 32 MB",
        # Squid speaks with this helper over loopback, which the firewall closes to it.
        "pinger_enable off",
        "digest_generation off",
        "shutdown_lifetime 1 seconds",
        "connect_timeout 10 seconds",
        "forwarded_for delete",
        "via off",
        f"acl private dst {_PRIVATE}",
        "http_access deny to_localhost",
    ]
    for name, settings in sorted(instances.items()):
        if not settings.network or not settings.proxy:
            continue
        lines += [f"http_port {settings.proxy} name={name}", f"acl at_{name} myportname {name}"]
        for number, entry in enumerate(map(host, settings.network)):
            which, ports = f"host_{name}_{number}", f"port_{name}_{number}"
            lines.append(f"acl {which} dstdomain -n {'.' * entry.below}{entry.name}")
            if entry.port:
                lines.append(f"acl {ports} port {entry.port}")
            else:
                lines += [f"acl {ports} port 80 443", f"acl tls_{name}_{number} port 443"]
                tunnel = f"http_access deny CONNECT at_{name} {which} !tls_{name}_{number}"
                lines.append(tunnel)
            private = " !private" if entry.below else ""
            lines.append(f"http_access allow at_{name} {which} {ports}{private}")
    return "\n".join([*lines, "http_access deny all", ""])


def existing(directory: Path = DIRECTORY) -> dict[str, Settings]:
    """Every instance, by name.

    Raises:
        ConfigError: the file of one is wrong.
    """
    return {path.stem: load(path) for path in sorted(directory.glob("*.toml"))}


def make(name: str, changes: Mapping[str, Any], directory: Path = DIRECTORY) -> Path:
    """Write the settings of a new instance: those of the default one, but for some.

    Args:
        name: the instance's.
        changes: keys of `Settings`; ``limits`` is a mapping of some of its keys. Without a port,
            the next free one is taken.
        directory: where the instances are.

    Raises:
        UsageError: the name is not one, or is taken.
        ConfigError: a value is wrong; nothing is left.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name", hint="small letters, digits and -")
    target = directory / f"{name}.toml"
    others = existing(directory)
    if name in others:
        raise UsageError(f"there is an instance {name}", hint=f"grader-instance remove {name}")
    original = directory / f"{DEFAULT}.toml"
    values = tomllib.loads(original.read_text("utf-8"))
    limits = {**values.get("limits", {}), **changes.get("limits", {})}
    values |= {**changes, "limits": limits}
    taken = {each.port for each in others.values()}
    port = changes.get("port") or next(n for n in range(FIRST_PORT, 65536) if n not in taken)
    if port in taken:
        raise UsageError(f"port {port} belongs to another instance")
    values |= {"port": port, "state": f"/var/lib/grader/{name}"}
    if engine := changes.get("engine"):
        offered = values.get("engines", [Settings.engine])
        values["engines"] = list(dict.fromkeys([*offered, engine]))
    values.pop("proxy", None)
    for entry in values.get("network", ()):
        host(entry)
    if values.get("network"):
        values["proxy"] = f"127.0.0.1:{_proxy_port(others)}"
    draft = target.with_suffix(".new")
    try:
        draft.touch()
        # The same may read it, for there may be tokens in it, and the service must.
        shutil.copymode(original, draft)
        shutil.chown(draft, original.stat().st_uid, original.stat().st_gid)
        draft.write_text(text(values), "utf-8")
        load(draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return target


def _proxy_port(others: Mapping[str, Settings]) -> int:
    taken = {each.proxy for each in others.values()}
    for port in range(FIRST_PROXY_PORT, LAST_PROXY_PORT + 1):
        if f"127.0.0.1:{port}" not in taken:
            return port
    raise UsageError("too many instances with a network")


def text(values: Mapping[str, Any]) -> str:
    """Settings as TOML."""
    import tomli_w  # noqa: PLC0415 (the other verbs do without)

    return tomli_w.dumps(values)


def describe(name: str, settings: Settings) -> dict[str, Any]:
    """An instance as `show` tells it; tokens are left out."""
    shown = {
        key: value
        for key, value in dataclasses.asdict(settings).items()
        if key not in ("tokens", "tokens_file")
    }
    state = _systemctl("is-active", f"grader@{name}.service").stdout.strip()
    told = {"name": name, "active": state, **shown, "limits": settings.limits._asdict()}
    plain: dict[str, Any] = json.loads(json.dumps(told, default=str))
    return plain


def main(words: Sequence[str] | None = None) -> int:
    """The command; prints JSON."""
    options = _parser().parse_args(words)
    try:
        answer = _do(options)
    except (ApplianceError, OSError) as error:
        hint = getattr(error, "hint", None)
        sys.stderr.write(f"grader-instance: {error}{f' ({hint})' if hint else ''}\n")
        return 1
    if isinstance(answer, int):
        return answer
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def _do(options: argparse.Namespace) -> Any:
    match options.verb:
        case "list":
            return [describe(name, each) for name, each in existing().items()]
        case "show":
            return describe(options.name, _the(options.name))
        case "add":
            make(options.name, _changes(options))
            _restart_proxy()
            _systemctl("enable", "--now", f"grader@{options.name}.service", check=True)
            _wait(options.name)
            return describe(options.name, _the(options.name))
        case "remove":
            _the(options.name)
            if options.name == DEFAULT:
                raise UsageError("the default instance stays", hint="systemctl stop grader@default")
            _systemctl("disable", "--now", f"grader@{options.name}.service", check=True)
            (DIRECTORY / f"{options.name}.toml").unlink()
            subprocess.run(["rm", "-rf", f"/var/lib/grader/{options.name}"], check=True)
            _restart_proxy()
            return {"removed": options.name}
    # Before the proxy starts: status 1 means that no instance has a network.
    instances = existing()
    options.write.write_text(proxy_configuration(instances))
    options.write.chmod(0o644)
    return 0 if any(each.network and each.proxy for each in instances.values()) else 1


def _wait(name: str) -> None:
    """Until it listens."""

    def connect() -> bool:
        socket.create_connection(("127.0.0.1", _the(name).port), 1).close()
        return True

    try:
        until(connect, _PATIENCE, pause=0.1, despite=OSError)
    except OSError:
        raise ApplianceError(
            f"instance {name} does not answer", hint=f"journalctl -u grader@{name}"
        ) from None


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    names = ("port", "instances", "queue", "image", "engine")
    changes = {name: value for name in names if (value := getattr(options, name)) is not None}
    changes["network"] = options.allow
    known = kinds_of_limits()
    limits = {}
    for word in options.limit:
        key, _, value = word.partition("=")
        if key not in known:
            raise UsageError(f"no limit {key!r}", hint=f"known: {', '.join(known)}")
        try:
            limits[key] = known[key](value)
        except ValueError:
            raise UsageError(f"{word}: not a number") from None
    return {**changes, "limits": limits}


def kinds_of_limits() -> dict[str, type[int] | type[float]]:
    """Which limits there are, and the kind of their numbers."""
    return {name: float if name in ("clock", "cpu") else int for name in Limits._fields}


def _the(name: str) -> Settings:
    instances = existing()
    if name not in instances:
        raise UsageError(f"no instance {name}", hint=f"there are: {', '.join(instances)}")
    return instances[name]


def _restart_proxy() -> None:
    # Its ports are those of the instances; connections through it are cut.
    _systemctl("restart", PROXY_UNIT, check=False)


def _systemctl(*words: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["/usr/bin/systemctl", *words], capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise ApplianceError(f"systemctl {' '.join(words)}: {done.stderr.strip()}")
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="grader-instance", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list")
    for verb in ("show", "remove"):
        verbs.add_parser(verb).add_argument("name")
    add = verbs.add_parser("add")
    add.add_argument("name")
    for option in ("port", "instances", "queue"):
        add.add_argument(f"--{option}", type=int)
    for option in ("image", "engine"):
        add.add_argument(f"--{option}")
    add.add_argument("--allow", action="append", default=[], metavar="HOST")
    add.add_argument("--limit", action="append", default=[], metavar="KEY=NUMBER")
    verbs.add_parser("proxy").add_argument("write", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
