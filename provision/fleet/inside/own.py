"""What is this one appliance's own: no image carries it, no package or playbook brings it back.

Written down once, for three: a new root disk takes it (``leave_root``), an upgrade that goes back
leaves it as it is now (``renew_system``), and most of it is in the backup (``contents``).
"""

import fnmatch
from collections.abc import Iterator
from pathlib import Path

HOST_KEYS = "/etc/ssh/ssh_host_*"
ADMIN_KEYS = "/etc/ssh/authorized_keys.d"
HUB = "/var/lib/notebook"
# Who may enter, whom it trusts, what it is called. Patterns.
ENTRY = (
    *(HOST_KEYS, ADMIN_KEYS, "/etc/ssh/ssh_known_hosts", "/etc/ssh/pool_authorized_keys"),
    *("/etc/hostname", "/etc/appliance", "/etc/notebook/hubs.pub"),
    *("/etc/grader/tokens", "/etc/grader/client"),
)
# The backup, as it was set up.
BACKUP = (
    *("/var/lib/appliance/backup", "/usr/local/lib/appliance/backup"),
    *("/etc/systemd/system/appliance-backup.*", "/etc/systemd/system/*/appliance-backup.*"),
)
OWN = (HUB, *ENTRY, *BACKUP)


def own() -> Iterator[Path]:
    """All of it that there is."""
    for pattern in OWN:
        yield from sorted(Path("/").glob(pattern[1:]))


def is_own(path: str) -> bool:
    """Whether a path is one of them, there or not."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in OWN)
