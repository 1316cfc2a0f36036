"""Seats that find each other by multicast DNS (RFC 6762), where the server keeps no list of them.

Any web server, or a rented one far away, may have the folder; the seats of one network still see
each other. What a seat announces is believed only as to whom to ask.
"""

import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, Zeroconf

SERVICE = "_appliance._tcp.local."
_ANSWER_MS = 300


class Nearby:
    """This seat's announcement, and those of the others; `close` it.

    Args:
        name: this seat.
        port: where it serves chunks.
        url: the publisher's; the address that leads there is the one to announce.
    """

    def __init__(self, name: str, port: int, url: str) -> None:
        self._address = _own_address(url)
        self._zeroconf = Zeroconf(interfaces=[self._address], ip_version=IPVersion.V4Only)
        self._found: dict[str, None] = {}
        self._info = self._describe(name, port, "pulling")
        self._zeroconf.register_service(self._info, allow_name_change=True)
        self.name = self._info.name.removesuffix(f".{SERVICE}")
        self._browser = ServiceBrowser(self._zeroconf, SERVICE, handlers=[self._hear])

    def report(self, state: str) -> None:
        """Tell the others how far this seat is."""
        if self._info.properties.get(b"state") != state.encode():
            port = self._info.port or 0
            self._info = self._describe(self.name, port, state)
            self._zeroconf.update_service(self._info)

    def seats(self) -> list[dict[str, Any]]:
        """Every seat that is heard, in the form of the room's reports."""
        rows = []
        for full in list(self._found):
            info = self._zeroconf.get_service_info(SERVICE, full, _ANSWER_MS)
            if info and info.port and (addresses := info.parsed_addresses()):
                rows.append(
                    {
                        "name": full.removesuffix(f".{SERVICE}"),
                        "address": addresses[0],
                        "port": info.port,
                        "state": (info.properties.get(b"state") or b"").decode(errors="replace"),
                    }
                )
        return rows

    def close(self) -> None:
        """Say good-bye."""
        self._zeroconf.close()

    def _describe(self, name: str, port: int, state: str) -> ServiceInfo:
        properties: Mapping[str, str] = {"state": state}
        return ServiceInfo(
            SERVICE,
            f"{name}.{SERVICE}",
            parsed_addresses=[self._address],
            port=port,
            properties=dict(properties),
            server=f"{name}.local.",
        )

    def _hear(self, *, name: str, state_change: Any, **_: object) -> None:
        if state_change.name == "Removed":
            self._found.pop(name, None)
        else:
            self._found[name] = None


def _own_address(url: str) -> str:
    """This host's address on the way to a server; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        parts = urlsplit(url)
        probe.connect((parts.hostname or "", parts.port or 80))
        return str(probe.getsockname()[0])
