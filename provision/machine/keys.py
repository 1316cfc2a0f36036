"""Ed25519 key pairs in OpenSSH's own format."""

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def generate(path: Path, *, comment: str) -> str:
    """Make a passwordless key pair, readable by its owner only.

    Args:
        path: the private key's file; ``.pub`` is added for the public one.
        comment: what the public key's line ends with.

    Returns:
        The public key as one line of an authorized_keys file.
    """
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    line = f"{public.decode()} {comment}"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private)
    path.with_name(path.name + ".pub").write_text(line + "\n")
    return line
