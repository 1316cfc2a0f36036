"""Which addresses are public, and which are this machine's own network."""

import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SITE = 48  # bits of a site's IPv6 prefix, RFC 6177: beside ours are our neighbours' subnets
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291
# Of it: protocols' own and Teredo, examples, 6to4 (RFC 6890, 9637).
_NOT_PUBLIC = tuple(
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_LOW = 0xFFFF_FFFF
_COMPATIBLE, _MAPPED, _TRANSLATED = 0, 0xFFFF, 0xFFFF_0000  # RFC 4291, RFC 2765
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # RFC 5214: the interface's half begins so
_UP, _GATEWAY, _REJECT = 0x1, 0x2, 0x200  # route flags, linux/route.h


def address(text: str) -> Address | None:
    """Read an address in its full spelling; None: it is none, or needs a link's name beside it."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def embedded_address(found: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(found, ipaddress.IPv4Address):
        return found
    number = int(found)
    above = number >> 32
    inside = above in (_COMPATIBLE, _MAPPED, _TRANSLATED) or above & _LOW in _ISATAP
    if inside or found in _NAT64:
        return ipaddress.IPv4Address(number & _LOW)
    return found.sixtofour or found


def is_public(found: Address) -> bool:
    """Whether an address, and what it stands for, is one of the internet's."""
    other = embedded_address(found)
    if isinstance(other, ipaddress.IPv4Address):
        if not other.is_global or other.is_multicast:
            return False
        mapped = isinstance(found, ipaddress.IPv4Address) or int(found) >> 32 == _MAPPED
        if mapped or found in _NAT64:
            return True
    return (
        isinstance(found, ipaddress.IPv6Address)
        and found in _GLOBAL_UNICAST
        and not any(found in network for network in _NOT_PUBLIC)
    )


def own(proc: Path = Path("/proc/net")) -> list[Network]:
    """The networks that this machine is in: public addresses of a school are no strangers.

    Routes without a gateway are links of ours. An IPv6 site has more subnets than the one that we
    are in: all of its prefix counts.
    """
    return [*_links4(_lines(proc / "route")), *_links6(_lines(proc / "ipv6_route"))]


def _links4(lines: list[list[str]]) -> Iterator[Network]:
    for _, target, _, flags, _, _, _, mask, *_ in lines[1:]:
        prefix = int(mask, 16).bit_count()
        if int(flags, 16) & _UP and not int(flags, 16) & (_GATEWAY | _REJECT) and prefix:
            text = socket.inet_ntoa(struct.pack("=I", int(target, 16)))
            yield ipaddress.IPv4Network((text, prefix), strict=False)


def _links6(lines: list[list[str]]) -> Iterator[Network]:
    for target, length, _, _, _, _, _, _, flags, *_ in lines:
        prefix, found = int(length, 16), ipaddress.IPv6Address(int(target, 16))
        if int(flags, 16) & (_GATEWAY | _REJECT) or not prefix:
            continue
        if found in _GLOBAL_UNICAST:
            prefix = min(prefix, _SITE)
        yield ipaddress.IPv6Network((found, prefix), strict=False)


def _lines(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text().splitlines()]
    except OSError:  # a kernel without this family
        return []
