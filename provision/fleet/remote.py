"""One appliance over SSH: pinned host key, programs of ours as root, transfers that resume."""

import contextlib
import io
import json
import re
import shlex
import shutil
import socket
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self, TypeVar

import paramiko

from provision import resources
from provision.errors import GuestError, UsageError
from provision.fleet.inside.answers import Answer
from provision.fleet.inventory import Host, Inventory
from provision.machine.ssh import CommandResult, NoAnswerError, connect, execute

PATIENCE = 15.0
SILENCE_SECONDS = 45.0
BLOCK = 256 << 10
WAIT = "wait until it has ended; or, when it is known to be dead, add --take-over"
INSIDE = Path(__file__).parent / "inside"
Told = TypeVar("Told", bound=Answer)
_pinning = threading.Lock()


class StepError(GuestError):
    """A program of ours refused in the guest, and said why."""


class ApplianceBusyError(GuestError):
    """Somebody else changes the appliance now."""


class Remote:
    """A connection to one host of the fleet; a context manager.

    Args:
        host: from the inventory.
        known_hosts: file with its pinned key.

    Raises:
        GuestError: on entry: no answer, the key was refused, or its host key is not pinned.
    """

    def __init__(self, host: Host, known_hosts: Path) -> None:
        self.host = host
        self._known_hosts = known_hosts
        self._client: paramiko.SSHClient | None = None
        self._placed: dict[str, str] = {}

    def __enter__(self) -> Self:
        if pinned_fingerprint(self.host, self._known_hosts) is None:
            raise GuestError(
                f"no host key is pinned for {self.host.name}",
                hint=f"appliance fleet add {self.host.name} {self.host.address}"
                f" --port {self.host.port}",
            )
        self._client = connect(self.host.endpoint(self._known_hosts), patience=PATIENCE)
        transport = self._client.get_transport()
        assert transport is not None  # noqa: S101 (it is connected)
        threading.Thread(target=_watch, args=(transport,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def client(self) -> paramiko.SSHClient:
        """The connection."""
        if self._client is None:
            raise NoAnswerError(f"not connected to {self.host.name}")
        return self._client

    def sudo(self, *argv: str, stdin: bytes = b"", timeout: float | None = None) -> str:
        """Run a command as root.

        Returns:
            What it printed.

        Raises:
            GuestError: it failed, with its last words.
        """
        done = self._as_root(argv, stdin, timeout)
        if done.status:
            told = done.stderr.strip() or done.stdout.strip() or "no word"
            raise GuestError(f"{argv[0]} ended with status {done.status}: {told[-600:]}")
        return done.stdout

    def program(
        self, name: str, *argv: str, stdin: bytes = b"", timeout: float | None = None
    ) -> Any:
        """Run one of our programs (``inside/``) as root; it prints one JSON object.

        The program is put there first, whole, where what is there is another.

        Raises:
            StepError: it refused, and said why.
            ApplianceBusyError: another run has the appliance.
            GuestError: it failed otherwise.
        """
        run = (f"--run={self.host.run}",) if self.host.run else ()
        done = self._as_root((self.place(name), *run, *argv), stdin, timeout)
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            told = (done.stderr.strip() or done.stdout.strip() or "it was cut off")[-600:]
            raise GuestError(f"{name} {' '.join(argv[:1])} ended unexpectedly: {told}") from None
        if isinstance(answer, dict) and "error" in answer and answer.get("busy"):
            raise ApplianceBusyError(f"{self.host.name}: {answer['error']}", hint=WAIT)
        if isinstance(answer, dict) and "error" in answer:
            raise StepError(answer["error"])
        return answer

    def ask(self, kind: type[Told], name: str, *argv: str, timeout: float | None = 60) -> Told:
        """Run one of our programs that answers with a record; errors as for `program`."""
        return kind.read(self.program(name, *argv, timeout=timeout))

    def receive(self, name: str, *argv: str, into: IO[bytes]) -> None:
        """Run one of our programs as root and keep what it prints, however much that is.

        Args:
            name: the program.
            argv: its verb and arguments.
            into: a file that is open for writing.

        Raises:
            StepError: it refused, and said why.
            NoAnswerError: the connection broke.
        """
        command = self._root_words((self.place(name), *argv))
        try:
            _, out, err = self.client.exec_command(command)
            shutil.copyfileobj(out, into, BLOCK)
            told, status = err.read().decode(errors="replace"), out.channel.recv_exit_status()
        except (EOFError, paramiko.SSHException, TimeoutError) as error:
            raise NoAnswerError(f"the connection to {self.host.name} broke: {error}") from error
        if status:
            raise StepError(told.strip()[-600:] or f"{name} was cut off")

    def _as_root(self, argv: tuple[str, ...], stdin: bytes, timeout: float | None) -> CommandResult:
        return execute(self.client, self._root_words(argv), stdin=stdin, timeout=timeout)

    def _root_words(self, argv: tuple[str, ...]) -> str:
        return shlex.join(argv if self.host.user == "root" else ("sudo", "-n", *argv))

    def place(self, name: str) -> str:
        """Put one of our programs into the guest; returns its path there."""
        if name in self._placed:
            return self._placed[name]
        source = pack(name)
        path = f"/usr/local/lib/appliance/{name.replace('_', '-')}"
        script = (
            f"mkdir -p /usr/local/lib/appliance && cat > {path}.new.$$ &&"
            f" chmod 755 {path}.new.$$ && if cmp -s {path}.new.$$ {path};"
            f" then rm {path}.new.$$; else mv {path}.new.$$ {path} && sync {path}; fi"
        )
        self.sudo("sh", "-c", script, stdin=source, timeout=60)
        self._placed[name] = path
        return path

    def upload(self, source: Path, target: str, tell: Callable[[int], None] | None = None) -> int:
        """Copy a file into a directory of the administrator's; what is there already stays.

        Args:
            source: the file.
            target: its path in the guest.
            tell: called with the bytes that are there.

        Returns:
            How many bytes were sent.

        Raises:
            NoAnswerError: the connection broke; the next call goes on from there.
            GuestError: the guest's disk is full.
        """
        try:
            with contextlib.closing(self.client.open_sftp()) as sftp, source.open("rb") as file:
                there = 0
                with contextlib.suppress(FileNotFoundError):
                    there = sftp.stat(target).st_size or 0
                if there > source.stat().st_size:
                    sftp.remove(target)
                    there = 0
                file.seek(there)
                sent = 0
                with sftp.open(target, "ab") as out:
                    out.set_pipelined(True)
                    while block := file.read(BLOCK):
                        out.write(block)
                        sent += len(block)
                        if tell:
                            tell(there + sent)
                arrived = sftp.stat(target).st_size  # pipelined writes fail without a word
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise NoAnswerError(f"the transfer to {self.host.name} broke off: {error}") from error
        if arrived != source.stat().st_size:
            raise GuestError(
                f"only {arrived} of {source.stat().st_size} bytes fit on {self.host.name}",
                hint="its disk is full",
            )
        return sent


def pack(name: str) -> bytes:
    """One of our programs, with the modules that it imports at its top, as one file.

    It is a zip file that Python runs; the same source gives the same bytes. What the host has too
    goes in beside it: `provision` in a guest is the guest's own copy.
    """
    modules, sources = ["__init__", name], {}
    for module in modules:  # grows as more are found
        places = (INSIDE / f"{module}.py", resources.PACKAGE / f"{module}.py")
        text = next(path for path in places if path.exists()).read_text()
        sources[module] = re.sub(r"(?m)^from provision\.(\w+) import ", r"from .\1 import ", text)
        found = re.findall(r"(?m)^from \.(?: import )?(\w+)", sources[module])
        modules += [each for each in found if each not in modules]
    out = io.BytesIO()
    out.write(b"#!/usr/bin/python3 -I\n")
    with zipfile.ZipFile(out, "w") as archive:
        start = f"from inside.{name} import main\n\nmain()\n"
        archive.writestr(zipfile.ZipInfo("__main__.py"), start)
        for module in sorted(sources):
            archive.writestr(zipfile.ZipInfo(f"inside/{module}.py"), sources[module])
    return out.getvalue()


def _watch(transport: paramiko.Transport) -> None:
    """Close a connection whose other side has fallen silent: TCP alone would wait for long."""
    while transport.is_active():
        answered = threading.Event()

        def ask(answered: threading.Event = answered) -> None:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                transport.global_request("keepalive@openssh.com", wait=True)
                answered.set()

        threading.Thread(target=ask, daemon=True).start()
        if not answered.wait(SILENCE_SECONDS):
            transport.close()
        time.sleep(PATIENCE)


def reach(host: Host, inventory: Inventory) -> Remote:
    """A connection to a host; enter it to connect."""
    return Remote(host, inventory.known_hosts)


def offered_key(address: str, port: int) -> paramiko.PKey:
    """The host key that a server offers, before anything is trusted.

    Raises:
        NoAnswerError: no SSH server answers.
    """
    try:
        with socket.create_connection((address, port), timeout=PATIENCE) as connection:
            transport = paramiko.Transport(connection)
            try:
                transport.start_client(timeout=PATIENCE)
                return transport.get_remote_server_key()
            finally:
                transport.close()
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise NoAnswerError(f"no SSH server answers on {address} port {port}: {error}") from error


def pin(address: str, port: int, key: paramiko.PKey, known_hosts: Path) -> None:
    """Remember a host's key, in place of any other."""
    with _pinning:
        name = _name(address, port)
        lines = known_hosts.read_text().splitlines() if known_hosts.exists() else []
        kept = [line for line in lines if line.partition(" ")[0] != name]
        known_hosts.parent.mkdir(parents=True, exist_ok=True)
        fresh = known_hosts.with_name(f".{known_hosts.name}.new")
        fresh.write_text("\n".join([*kept, f"{name} {key.get_name()} {key.get_base64()}", ""]))
        fresh.replace(known_hosts)


def forget(address: str, port: int, known_hosts: Path) -> None:
    """Forget a host's key."""
    if known_hosts.exists():
        name = _name(address, port)
        lines = known_hosts.read_text().splitlines()
        known_hosts.write_text(
            "".join(f"{line}\n" for line in lines if line.partition(" ")[0] != name)
        )


def pinned_fingerprint(host: Host, known_hosts: Path) -> str | None:
    """The fingerprint that is pinned for a host."""
    if not known_hosts.exists():
        return None
    keys = paramiko.HostKeys(str(known_hosts)).lookup(_name(host.address, host.port))
    return next((key.fingerprint for key in keys.values()), None) if keys else None


def check_fingerprint(key: paramiko.PKey, wanted: str) -> None:
    """Compare a host key with a fingerprint as the console shows it.

    Raises:
        UsageError: they differ.
    """
    if key.fingerprint.removeprefix("SHA256:") != wanted.strip().removeprefix("SHA256:"):
        raise UsageError(
            f"the host key is {key.fingerprint}, not {wanted}",
            hint="compare with the appliance's console; somebody else may be answering",
        )


def _name(address: str, port: int) -> str:
    return address if port == 22 else f"[{address}]:{port}"
