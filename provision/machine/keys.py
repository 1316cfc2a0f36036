"""Ed25519 key pairs in OpenSSH's own format."""

import contextlib
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from provision.errors import HostNotReadyError
from provision.files import write_whole


def generate(path: Path, *, comment: str) -> str:
    """Make a passwordless key pair, readable by its owner only, or leave nothing.

    Args:
        path: the private key's file; ``.pub`` is added for the public one.
        comment: what the public key's line ends with.

    Returns:
        The public key as one line of an authorized_keys file: of the pair that is there now,
        should another process have made it meanwhile.

    Raises:
        HostNotReadyError: it cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    try:
        with contextlib.suppress(FileExistsError):
            write_whole(path, private, mode=0o600, replace=False, durable=True)
    except OSError as error:
        raise HostNotReadyError(
            f"cannot write the key {path}: {error.strerror}",
            hint="free some room, or name a directory that you may write to",
        ) from error
    return public(path, comment=comment)


def public(path: Path, *, comment: str = "") -> str:
    """The public half of a key pair, as one line of an authorized_keys file.

    Its file is written anew where it is missing or does not fit, as after a full disk.

    Args:
        path: the private key's file.
        comment: what a new line ends with.

    Raises:
        HostNotReadyError: the private key is empty or damaged, or the public one cannot be written.
    """
    file = path.with_name(path.name + ".pub")
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except (ValueError, UnsupportedAlgorithm, TypeError) as error:
        raise HostNotReadyError(
            f"{path} is no private key that can be used: {error}",
            hint="bring it back from a backup; or move it away, and a new one is made, which opens"
            " only what is built from then on",
        ) from error
    except OSError as error:
        raise HostNotReadyError(f"cannot read the key {path}: {error.strerror}") from error
    form = serialization.PublicFormat.OpenSSH
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, form).decode()
    with contextlib.suppress(OSError, UnicodeDecodeError):
        there = file.read_text().strip()
        if there.split()[:2] == line.split():
            return there
    line = f"{line} {comment}".strip()
    try:
        write_whole(file, f"{line}\n".encode(), durable=True)
    except OSError as error:
        raise HostNotReadyError(f"cannot write the key {file}: {error.strerror}") from error
    return line
