"""The one way out of a box that has no network: a port inside it that leads to a filtering proxy.

A box has a network namespace with a loopback and nothing else, so no packet leaves it. A door is
a listening socket that is made inside that namespace and served from outside, by this module's
process: it copies what arrives to the proxy and back, and can reach nothing else for the box.
There is no route, no name server and no other port, whatever the box does with its interfaces.

Run as ``python -m provision.guest.sandbox.gate FD ADDRESS PORT``; it ends when the other end of
the socket FD is closed. One thread only: the kernel lets no process with more enter a namespace.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import ipaddress
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import Any

from provision.errors import ConfigError

PORT = 3128
LOOPBACK = "127.0.0.1"
# The guest of a User-Mode Linux kernel sees a network card whose other end is the box's own tap0.
TAP, TAP_ADDRESS, TAP_GUEST = "tap0", "10.0.2.1", "10.0.2.2"

_CONNECTIONS = 64  # at a time, of one box
_CHUNK = 1 << 16
_PATIENCE = 30.0  # seconds for a door; a gate that takes longer hangs, and is started again
_NS_GET_USERNS = 0xB701
_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000
_TUNSETIFF, _TUNSETPERSIST, _TUNSETOWNER = 0x400454CA, 0x400454CB, 0x400454CC
_IFF_TAP, _IFF_NO_PI, _IFF_UP, _IFF_RUNNING = 0x2, 0x1000, 0x1, 0x40
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C


def variables(address: str = LOOPBACK) -> dict[str, str]:
    """The environment by which pip, apt, curl, Python, Maven and Gradle find the proxy."""
    url = f"http://{address}:{PORT}"
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    java = " ".join(
        f"-D{scheme}.proxyHost={address} -D{scheme}.proxyPort={PORT}"
        for scheme in ("http", "https")
    )
    return {**dict.fromkeys(names, url), "MAVEN_OPTS": java, "GRADLE_OPTS": java}


def proxy_address(text: str) -> tuple[str, int]:
    """Read ``ADDRESS:PORT``; a name would need a resolver in the gate, which has none.

    Raises:
        ConfigError: it is none.
    """
    host, _, port = text.rpartition(":")
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError:
        raise ConfigError(
            f"proxy {text!r} is not ADDRESS:PORT", hint=f"such as 127.0.0.1:{PORT}"
        ) from None


class Gate:
    """The gate's process, and the doors that it keeps open. For any thread.

    Args:
        proxy: where every door leads: address and port.
    """

    def __init__(self, proxy: tuple[str, int]) -> None:
        self._proxy = proxy
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_PATIENCE)
        with theirs:
            argv = [sys.executable, "-m", __name__, str(theirs.fileno())]
            argv += [self._proxy[0], str(self._proxy[1])]
            # The interpreter that runs us, though its path may be closed to this account.
            self._process = subprocess.Popen(
                argv, executable="/proc/self/exe", pass_fds=[theirs.fileno()]
            )

    def open(self, first: int, *, tap: bool = False) -> None:
        """Open a door into a box.

        Args:
            first: the process id of the box's first process.
            tap: on a network card for a kernel that runs in the box, not on its loopback.

        Raises:
            OSError: the box is gone, or the gate is.
        """
        net = os.open(f"/proc/{first}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            user = fcntl.ioctl(net, _NS_GET_USERNS)
            try:
                self._ask({"open": first, "tap": tap}, [user, net])
            finally:
                os.close(user)
        finally:
            os.close(net)

    def close(self, first: int) -> None:
        """Close the door of a box, and every connection through it."""
        with contextlib.suppress(OSError):
            self._ask({"close": first}, [])

    def stop(self) -> None:
        """End the gate's process."""
        self._control.close()
        self._process.kill()
        self._process.wait()

    def _ask(self, request: dict[str, Any], descriptors: list[int]) -> None:
        with self._lock:
            answer = self._exchange(request, descriptors)
            if not answer:  # someone killed or stopped it
                self.stop()
                self._start()
                answer = self._exchange(request, descriptors)
        if answer != "ok":
            raise OSError(f"no way out of the box: {answer or 'the gate has ended'}")

    def _exchange(self, request: dict[str, Any], descriptors: list[int]) -> str:
        try:
            socket.send_fds(self._control, [json.dumps(request).encode()], descriptors)
            return self._control.recv(4096).decode()
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            return ""


@dataclass
class _Door:
    listener: socket.socket
    server: asyncio.Server | None = None
    connections: set[asyncio.Task[None]] = field(default_factory=set)


class _Keeper:
    """The gate's process: requests on one socket, connections on every door."""

    def __init__(self, control: socket.socket, proxy: tuple[str, int]) -> None:
        self.control, self.proxy = control, proxy
        self.doors: dict[int, _Door] = {}

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            readable = asyncio.Event()
            loop.add_reader(self.control, readable.set)
            await readable.wait()
            loop.remove_reader(self.control)
            message, descriptors, _, _ = socket.recv_fds(self.control, 4096, 2)
            if not message:
                return
            try:
                await self._do(json.loads(message), descriptors)
                answer = "ok"
            except OSError as error:
                answer = str(error)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            self.control.send(answer.encode())

    async def _do(self, request: dict[str, Any], descriptors: list[int]) -> None:
        if (first := request.get("close")) is not None:
            await self._close(first)
            return
        first = request["open"]
        await self._close(first)
        door = _Door(_listener_inside(*descriptors, tap=request["tap"]))

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task  # noqa: S101 (a server's callback is one)
            if len(door.connections) >= _CONNECTIONS:
                writer.close()
                return
            door.connections.add(task)
            try:
                await self._pass(reader, writer)
            finally:
                door.connections.discard(task)
                writer.close()

        door.server = await asyncio.start_server(serve, sock=door.listener)
        self.doors[first] = door

    async def _close(self, first: int) -> None:
        if door := self.doors.pop(first, None):
            if door.server:
                door.server.close()
            for task in door.connections:
                task.cancel()
            await asyncio.gather(*door.connections, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.proxy)
        except OSError:
            return
        try:
            await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer))
        except OSError:
            pass
        finally:
            up_writer.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(_CHUNK):
        sink.write(data)
        await sink.drain()
    sink.write_eof()


def _listener_inside(user: int, net: int, *, tap: bool) -> socket.socket:
    """A listening socket in a network namespace: a child enters it and hands the socket out."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        try:
            _enter(user, _CLONE_NEWUSER)
            _enter(net, _CLONE_NEWNET)
            if tap:
                _make_tap(os.getuid())
            listener = socket.create_server((TAP_ADDRESS if tap else LOOPBACK, PORT), backlog=16)
            socket.send_fds(theirs, [b"ok"], [listener.fileno()])
        except OSError as error:
            theirs.send(str(error).encode())
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        message, descriptors, _, _ = socket.recv_fds(ours, 4096, 1)
    os.waitpid(child, 0)
    if not descriptors:
        raise OSError(message.decode() or "cannot enter the box")
    return socket.socket(fileno=descriptors[0])


def _enter(namespace: int, kind: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, kind):
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter the box's namespace: {os.strerror(number)}")


def _make_tap(owner: int) -> None:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    name = TAP.encode()
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name, _IFF_TAP | _IFF_NO_PI))
    fcntl.ioctl(device, _TUNSETOWNER, owner)
    fcntl.ioctl(device, _TUNSETPERSIST, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for request, address in ((_SIOCSIFADDR, TAP_ADDRESS), (_SIOCSIFNETMASK, "255.255.255.252")):
            where = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(any_socket, request, struct.pack("16s16s8x", name, where))
        flags = struct.pack("16sH22x", name, _IFF_UP | _IFF_RUNNING)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, flags)


def main() -> None:
    """Serve the doors until the other end of the control socket is closed."""
    descriptor, address, port = sys.argv[1:4]
    control = socket.socket(fileno=int(descriptor))

    async def serve() -> None:
        await _Keeper(control, (address, int(port))).serve()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
