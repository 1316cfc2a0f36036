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
    """The credentials that let a key into an account of the guest, besides those that it accepts.

    For another account than root this puts a drop-in of sshd on the root disk, so the disk
    should be a throw-away overlay. (The account's own authorized_keys may be on a disk that is
    mounted only later; AuthorizedKeysFile stays what the image says, so that it can be tested.)

    Args:
        user: the account.
        public_key: one line of an authorized_keys file.
    """
    root = {"ssh.authorized_keys.root": public_key}
    if user == "root":
        return root
    match = (
        f"Match User {user}\n"
        f"    AuthorizedKeysCommand /usr/bin/cat {KEYS_FILE}\n"
        "    AuthorizedKeysCommandUser nobody\n"
    )
    directory = KEYS_FILE.rpartition("/")[0]
    lines = [
        f"d {directory} 0755 root root -",
        f"f~ {KEYS_FILE} 0644 root root - {_base64(public_key)}",
        f"f~ {SSHD_FILE} 0644 root root - {_base64(match)}",
    ]
    # Root gets the key too, so that a refusal of root means something.
    return {**root, "tmpfiles.extra": "\n".join(lines) + "\n"}


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
