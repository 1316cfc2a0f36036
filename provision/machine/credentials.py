"""Let ourselves into a guest that has no key of ours, without changing its image.

systemd takes credentials from the machine that boots it (systemd.system-credentials(7)):
nspawn passes them directly, QEMU as SMBIOS strings of type 11. systemd-tmpfiles makes files
from two of them, on each boot, before sshd starts.
"""

import base64
from collections.abc import Mapping

KEYS_FILE = "/run/appliance-verify/authorized_keys"
SSHD_FILE = "/etc/ssh/sshd_config.d/00-appliance-verify.conf"


def sign_in(user: str, public_key: str) -> dict[str, str]:
    """The credentials that let a key into an account of the guest.

    For another account than root this puts a drop-in of sshd on the root disk, so the disk
    should be a throw-away overlay. (The account's own authorized_keys is on a disk that may be
    mounted later than tmpfiles run.)

    Args:
        user: the account.
        public_key: one line of an authorized_keys file.
    """
    if user == "root":
        return {"ssh.authorized_keys.root": public_key}
    match = f"Match User {user}\n    AuthorizedKeysFile {KEYS_FILE}\n"
    directory = KEYS_FILE.rpartition("/")[0]
    lines = [
        f"d {directory} 0755 root root -",
        f"f~ {KEYS_FILE} 0644 root root - {_base64(public_key)}",
        f"f~ {SSHD_FILE} 0644 root root - {_base64(match)}",
    ]
    return {"tmpfiles.extra": "\n".join(lines) + "\n"}


def smbios(credentials: Mapping[str, str]) -> list[str]:
    """QEMU's arguments that pass credentials to the guest's systemd."""
    return [
        word
        for name, value in credentials.items()
        for word in (
            "-smbios",
            f"type=11,value=io.systemd.credential.binary:{name}={_base64(value)}",
        )
    ]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
