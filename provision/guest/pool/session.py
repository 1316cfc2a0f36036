"""What a pool account runs: the forced command of every session.

Reads the request (JSON: ``argv``, ``env``, ``ulimit``) from standard input, tells the port on
standard output and becomes the notebook server. The request comes by standard input because
it holds the server's API token: arguments and environments of ssh could be read or kept.
"""

import json
import os
import resource
import socket
import sys
from urllib.parse import urlsplit, urlunsplit

from provision.guest.pool.namespaces import forbid

JOURNAL = "/run/systemd/journal/stdout"
PATH = "/usr/local/bin:/usr/bin:/bin"
FIRST_PORT = 10000

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


def environment(requested: dict[str, str], *, user: str, home: str, port: int) -> dict[str, str]:
    """The server's environment.

    Args:
        requested: what the hub gave; its service URL carries port 0.
        user: the account.
        home: the account's home, with the student's files in ``work``.
        port: the account's port.
    """
    work = f"{home}/work"
    url = urlsplit(requested["JUPYTERHUB_SERVICE_URL"])
    return {
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        **requested,
        "JUPYTERHUB_SERVICE_URL": urlunsplit(url._replace(netloc=f"127.0.0.1:{port}")),
        # Settings, histories and packages belong to the student, not to the account.
        "HOME": work,
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/bash",
        "PATH": PATH,
        # Sockets and connection files belong to the session.
        "JUPYTER_RUNTIME_DIR": f"{home}/runtime",
    }


def main() -> None:
    """Read the request and become the server."""
    request = json.loads(sys.stdin.buffer.read())
    user, home, port = os.environ["USER"], os.environ["HOME"], port_of(os.getuid())
    for limit, value in parse_ulimit(request.get("ulimit", "")):
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)  # noqa: PLW2901
        resource.setrlimit(limit, (value, value))
    env = environment(request["env"], user=user, home=home, port=port)
    os.chdir(env["HOME"])
    print(json.dumps({"port": port}), flush=True)  # noqa: T201 - the protocol, not a message
    forbid()
    _detach(f"notebook-{env['JUPYTERHUB_USER']}")
    os.execve(request["argv"][0], request["argv"], env)  # noqa: S606


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
