"""What a pool account runs: the forced command of every session.

Reads the request (JSON: ``argv``, ``env``, ``ulimit``) from standard input, tells its ports on
standard output and becomes the notebook server. The request comes by standard input because
it holds the server's API token: arguments and environments of ssh could be read or kept.

A request with ``hub_port`` comes from another machine: the hub's API is then at a port of the
account's own, which the hub's ssh leads back. One with ``connection`` is for a single kernel: it
is what Jupyter writes to a connection file, but for the ports.
"""

import json
import os
import resource
import socket
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from provision.guest.nursery.client import fork
from provision.guest.nursery.wire import ForkRefusedError, socket_of
from provision.guest.pool.namespaces import alone, forbid

JOURNAL = "/run/journal"
EXAM = Path("/run/exam.json")  # in an exam, what root tells the server
KERNEL = "--KernelSpecManager.allowed_kernelspecs="
PATH = "/usr/local/bin:/usr/bin:/bin"
FIRST_PORT = 10000
FIRST_TUNNEL, TUNNELS = 20000, 8
FIRST = "First steps.ipynb"  # of the files with which a student begins
OPENED = ".jupyter/lab/workspaces"  # where the page keeps what was open
WAIT = ("/usr/bin/head", "-c1")
KERNEL_PORTS = ("shell_port", "iopub_port", "stdin_port", "hb_port", "control_port")

# bash's ulimit letters -> the limit and its unit in bytes or seconds
LIMITS = {
    "-c": (resource.RLIMIT_CORE, 1024),
    "-f": (resource.RLIMIT_FSIZE, 1024),
    "-n": (resource.RLIMIT_NOFILE, 1),
    "-s": (resource.RLIMIT_STACK, 1024),
    "-t": (resource.RLIMIT_CPU, 1),
    "-u": (resource.RLIMIT_NPROC, 1),
    "-v": (resource.RLIMIT_AS, 1024),
}


def port_of(uid: int) -> int:
    """The one port on which an account may answer the hub; the firewall counts the same way."""
    return FIRST_PORT + uid


def tunnels_of(uid: int) -> range:
    """The ports of an account to which or from which its session's ssh may lead.

    The first is for the hub's API, the others are for a kernel's.
    """
    first = FIRST_TUNNEL + uid % 1000 * TUNNELS
    return range(first, first + TUNNELS)


def parse_ulimit(text: str) -> list[tuple[int, int]]:
    """Translate ``ulimit`` arguments as the classic notebook() took them, e.g. ``-u 100 -t 600``.

    Returns:
        Pairs of a ``resource`` limit and its value.

    Raises:
        ValueError: a letter is not known or its value is no number.
    """
    words = text.split()
    if len(words) % 2:
        raise ValueError(f"ulimit: not pairs of a letter and a number: {text!r}")
    limits = []
    for letter, value in zip(words[::2], words[1::2], strict=True):
        if letter not in LIMITS:
            raise ValueError(f"ulimit: {letter} is none of {' '.join(LIMITS)}")
        limit, unit = LIMITS[letter]
        limits.append((limit, int(value) * unit))
    return limits


def environment(
    requested: dict[str, str],
    *,
    user: str,
    home: str,
    port: int,
    hub: tuple[int, int] | None = None,
) -> dict[str, str]:
    """The server's environment.

    Args:
        requested: what the hub gave; its service URL, if any, carries port 0.
        user: the account.
        home: the account's home, with the student's files in ``work``.
        port: the account's port.
        hub: the port of the hub's API on its own machine, and the one that leads there from here.
    """
    work = f"{home}/work"
    env = {"LANG": os.environ.get("LANG", "C.UTF-8"), **requested}
    if hub:
        there, here = hub
        env = {
            k: v.replace(f"//127.0.0.1:{there}/", f"//127.0.0.1:{here}/") for k, v in env.items()
        }
    if "JUPYTERHUB_SERVICE_URL" in env:
        url = urlsplit(env["JUPYTERHUB_SERVICE_URL"])
        env["JUPYTERHUB_SERVICE_URL"] = urlunsplit(url._replace(netloc=f"127.0.0.1:{port}"))
    return {
        **env,
        # Settings, histories and packages belong to the student, not to the account.
        "HOME": work,
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/bash",
        "PATH": PATH,
        # Sockets and connection files belong to the session; so does what the server writes when
        # it starts, so that whoever has no space left gets in to make some.
        "JUPYTER_RUNTIME_DIR": f"{home}/runtime",
        "JUPYTER_CONFIG_DIR": f"{home}/config",
        "JUPYTERLAB_SETTINGS_DIR": f"{work}/.jupyter/lab/user-settings",
        "JUPYTERLAB_WORKSPACES_DIR": f"{work}/{OPENED}",
    }


def first_page(work: Path) -> dict[str, str]:
    """What makes the server open the first notebook by itself, while no page was ever opened.

    Args:
        work: the student's files.

    Returns:
        Variables of its environment.
    """
    if (work / OPENED).exists() or not (work / FIRST).exists():
        return {}
    return {"JUPYTERHUB_DEFAULT_URL": f"/lab/tree/{quote(FIRST)}"}


def main() -> None:
    """Read the request and become the server, or the kernel."""
    request = json.loads(sys.stdin.buffer.read())
    user, home, port = os.environ["USER"], os.environ["HOME"], port_of(os.getuid())
    for limit, value in parse_ulimit(request.get("ulimit", "")):
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)  # noqa: PLW2901
        resource.setrlimit(limit, (value, value))
    tunnels = tunnels_of(os.getuid())
    hub = (request["hub_port"], tunnels[0]) if "hub_port" in request else None
    env = environment(request["env"], user=user, home=home, port=port, hub=hub)
    os.chdir(env["HOME"])
    env |= first_page(Path.cwd())
    exam = json.loads(EXAM.read_text()) if EXAM.exists() else None
    if exam is not None:
        request["argv"] = [word for word in request["argv"] if not word.startswith(KERNEL)]
        request["argv"] += exam["arguments"]
    argv, told = request["argv"], {"port": port, "tunnels": list(tunnels)}
    if "connection" in request:
        ports = dict(zip(KERNEL_PORTS, tunnels[1:], strict=False))
        argv = _with_connection_file(argv, request["connection"] | ports, home)
        told |= ports
    print(json.dumps(told), flush=True)  # noqa: T201 - the protocol, not a message
    forbid()
    _detach(f"notebook-{request['student']}")
    if exam is not None:
        forbid(alone)  # which no nursery has: what an exam runs is started
    _become(argv, env)


def _become(argv: list[str], env: dict[str, str]) -> None:
    """Become the server: one that its environment's nursery forks, or a new one."""
    nursery = socket_of(argv[0])
    if nursery and nursery.exists():
        try:
            child = fork(nursery, argv, env, None, 0)
        except (OSError, ForkRefusedError) as error:
            print(f"{nursery} forks no server: {error}. It is started.", file=sys.stderr)  # noqa: T201 - to the journal
        else:
            # Nothing is left to do but to last as long as it, in as little memory as can be: until
            # its nursery tells of its end, or there is nobody left who could.
            os.dup2(0, 1)
            child.read_as_standard_input()
            os.execv(WAIT[0], WAIT)  # noqa: S606
    os.execve(argv[0], argv, env)  # noqa: S606


def _with_connection_file(argv: list[str], connection: dict[str, object], home: str) -> list[str]:
    file = f"{home}/runtime/kernel.json"
    os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
    with open(file, "w", encoding="utf-8") as stream:  # noqa: PTH123
        json.dump(connection, stream)
    return [word.replace("{connection_file}", file) for word in argv]


def _detach(identifier: str) -> None:
    """Send the server's output to the journal; keep nothing that holds ssh's pipes open."""
    with socket.socket(socket.AF_UNIX) as journal:
        journal.connect(JOURNAL)
        # The stream protocol: identifier, unit, priority, prefixes, to syslog, kmsg, console.
        journal.sendall(f"{identifier}\n\n6\n0\n0\n0\n0\n".encode())
        os.dup2(journal.fileno(), 1)
        os.dup2(journal.fileno(), 2)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


if __name__ == "__main__":
    main()
