"""A guest's programs by themselves, without a kernel, systemd or services of its own.

What installs packages needs no more, and nothing has to boot: as an ordinary user, and for another
architecture, whose programs QEMU runs one by one, many times faster than it runs a whole guest.
"""

from collections.abc import Sequence
from pathlib import Path

from provision.machine.layered import LayeredMachine


class ChrootMachine(LayeredMachine):
    """A guest of directory layers that is not booted; what it writes lands in the topmost.

    Needs Linux, and to be root at least of a user namespace.
    """

    tools = (("nsenter", "util-linux"),)

    def command(self, public_key: str) -> Sequence[str]:
        """Have its sshd answer."""
        ways = (("ro", self.binds), ("rw", self.caches))
        return [
            *("bash", str(Path(__file__).with_name("chroot.sh")), public_key),
            *(
                word
                for way, places in ways
                for host, guest in places.items()
                for word in (way, str(host.resolve()), guest)
            ),
        ]
