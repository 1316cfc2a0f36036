"""A nursery: ENVIRONMENT/bin/python start.py, by that environment's own Python, as root.

It has the group of those who may connect. What it imports here is what its children share.
"""

import contextlib
import gc
import importlib.util
import json
import os
import runpy
import socket
import sys
import traceback
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[3])

from provision.guest.nursery import imports  # noqa: E402
from provision.guest.nursery.fresh import OURS, Past, check, is_script, noting, past, renew  # noqa: E402
from provision.guest.nursery.serve import Born, Nursery  # noqa: E402
from provision.guest.nursery.settle import settle  # noqa: E402
from provision.guest.nursery.wire import (  # noqa: E402
    PLACE,
    ForkRefusedError,
    ForkRequest,
    receive_request,
    tell,
)

CURRENT = Path("/opt/sage-current")
OTHERS = Path("/opt/python")  # where Python's notebooks have their packages, if they have any
BACKLOG = 128
REQUEST_SECONDS = 5.0
STALE = 75  # exit status: our files were replaced, start me anew
# What a session's server is made of, but for what reads at once what it is told: jupyterlab's
# application, JupyterHub's side of it (``jupyterhub.singleuser``, ``jupyterhub.services.auth``).
SERVER = (
    *("jupyterhub.handlers.pages", "jupyterhub.httpclient", "jupyterhub.log"),
    *("jupyter_core.migrate", "tornado.platform.asyncio", "IPython.paths", "jinja2.ext"),
    *("jupyter_server.extension.application", "jupyter_server.auth.logout"),
    *("jupyter_server.view.handlers", "jupyter_server.nbconvert.handlers"),
    *("jupyterlab_server.app", "jupyterlab.commands", "jupyterlab.coreconfig"),
    *("jupyterlab.debuglog", "jupyterlab.extensions", "jupyterlab.handlers.announcements"),
    *("jupyterlab.handlers.build_handler", "jupyterlab.handlers.error_handler"),
    *("jupyterlab.handlers.extension_manager_handler", "jupyter_lsp.serverextension"),
    *("jupyterlab.handlers.plugin_manager_handler", "jupyter_server_terminals.app"),
    *("jupyter_archive.handlers", "jupyter_lsp.virtual_documents_shadow"),
    *("notebook_shim.nbserver", "notebook_shim.shim"),
)


def warm(prefix: Path) -> Past:
    """Import the environment's language, and what its servers consist of.

    Args:
        prefix: of the environment.

    Raises:
        SystemExit: what was imported has threads, which no child would have.
    """
    with contextlib.suppress(FileNotFoundError):
        os.environ.update(json.loads((prefix / "kernel.json").read_text())["env"])
    began = dict(os.environ)
    os.environ |= OURS
    with noting() as read:
        serves = importlib.util.find_spec("jupyterhub")
        if not (serves and OTHERS.exists()):
            imports.load_language()
        if serves:
            _import_server(prefix)
    if threads := sum(1 for _ in Path("/proc/self/task").iterdir()) - 1:
        sys.exit(f"{threads} threads were started by what is imported: nothing can be forked")
    return past(began, read)


def _import_server(prefix: Path) -> None:
    for name in SERVER:
        imports.load(name)
    server = imports.load("jupyter_server.serverapp")
    for names in getattr(server, "JUPYTER_SERVICE_HANDLERS", {}).values():
        for name in names or ():
            imports.load(name)
    # As jupyter_server itself finds its extensions.
    for file in sorted((prefix / "etc/jupyter/jupyter_server_config.d").glob("*.json")):
        enabled = json.loads(file.read_text()).get("ServerApp", {}).get("jpserver_extensions", {})
        for name in (name for name, on in enabled.items() if on):
            imports.load(name)


def main() -> None:
    """Serve until the end; in each child, be the kernel."""
    prefix = Path(sys.prefix)
    (PLACE / prefix.name).unlink(missing_ok=True)  # of one that was killed
    del sys.path[0]  # our own place, which no kernel has
    before = warm(prefix)
    gc.collect()
    gc.freeze()
    with listen(PLACE / prefix.name) as listener:
        tell_systemd("READY=1")
        sys.stdout.flush()
        sys.stderr.flush()
        born = Nursery(listener, os.getgid()).serve(
            lambda: tell_systemd("WATCHDOG=1"), lambda: is_current(prefix)
        )
    if born is None:
        sys.exit(STALE if stale() else 0)
    argv = grow(born, before).argv
    if is_script(argv):
        runpy.run_path(argv[0], run_name="__main__")
    else:
        runpy.run_module(argv[2], run_name="__main__", alter_sys=True)


def listen(path: Path) -> socket.socket:
    """Listen where our group may connect."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mask = os.umask(0o117)
    listener.bind(str(path))
    os.umask(mask)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def grow(born: Born, before: Past) -> ForkRequest:
    """From here to the kernel: a process of the session, then what it asked for.

    Raises:
        SystemExit: it cannot be.
    """
    connection = born.connection
    # Before the account may look into it: others' connections, and the nursery's journal.
    for number in (1, 2):
        os.dup2(0, number)
    _close_but(connection.fileno(), born.peer.pidfd)
    try:
        settle(born.peer)
        connection.settimeout(REQUEST_SECONDS)
        request, descriptors = receive_request(connection)
        check(request, before)
        *streams, place = descriptors
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        os.fchdir(place)
        os.umask(request.umask)
        renew(request, before, born.peer.pidfd)
        connection.send(json.dumps({"pid": os.getpid()}).encode(), socket.MSG_NOSIGNAL)
    except (OSError, ForkRefusedError) as error:
        steps = [frame.name for frame in traceback.extract_tb(error.__traceback__)[1:]]
        tell(connection, refused=f"{error} ({', '.join(steps)})")
        os._exit(1)
    _close_but(born.peer.pidfd, connection.detach())  # which tells by its end that this one ended
    return request


def _close_but(*kept: int) -> None:
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if number > 2 and number not in kept:
            with contextlib.suppress(OSError):  # what listed them is closed already
                os.close(number)


def tell_systemd(word: str) -> None:
    """How it is: who does not tell for a while is started anew."""
    if place := os.environ.get("NOTIFY_SOCKET"):
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with notify, contextlib.suppress(OSError):  # it is busy, or starts anew itself
            notify.sendto(word.encode(), socket.MSG_DONTWAIT, place)


def is_current(prefix: Path) -> bool:
    """Whether somebody may still come: not to a Sage that another has replaced."""
    replaced = prefix.name.startswith("sage-") and CURRENT.resolve() != prefix
    return not replaced and not stale()


def stale() -> bool:
    """Whether a file that we have in memory was replaced, as by a security update."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return any(line.endswith(" (deleted)") and " /usr/" in line for line in maps)


if __name__ == "__main__":
    main()
