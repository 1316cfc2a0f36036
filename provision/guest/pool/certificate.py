"""The student's name in the SSH certificate that opens a session.

The hub signs a certificate for every session; its key id is the student's name, and the profile
that was chosen. sshd proves the
signature and hands the certificate to PAM, so that root can trust the name without asking the
hub. The format is OpenSSH's PROTOCOL.certkeys.
"""

import base64
import re
import struct

# A file name, too: no slash, no leading dot.
NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
WHOLE = rf"{NAME.pattern}\Z"  # for who only looks at how a name begins
ED25519 = b"ssh-ed25519-cert-v01@openssh.com"


def key_id(student: str, profile: str = "") -> str:
    """What a session's certificate says: the student, and the profile if one was chosen.

    Raises:
        ValueError: one of the names cannot be used.
    """
    return f"{checked(student)}:{checked(profile)}" if profile else checked(student)


def session_of(auth_info: str) -> tuple[str, str]:
    """Read for whom a session is from what sshd tells PAM about the sign-in.

    Args:
        auth_info: the variable SSH_AUTH_INFO_0: ``publickey TYPE BASE64`` in its first line.

    Returns:
        The student's name, and the profile's; empty: none was chosen.

    Raises:
        ValueError: it holds no certificate of ours, or no usable name.
    """
    words = (auth_info.splitlines() or [""])[0].split()
    if len(words) < 3 or words[0] != "publickey" or words[1].encode() != ED25519:
        raise ValueError("the sign-in was not by a session's certificate")
    blob = base64.b64decode(words[2], validate=True)
    try:
        kind, rest = _string(blob)
        _nonce, rest = _string(rest)
        _public, rest = _string(rest)
        identity, _ = _string(rest[12:])  # after the serial number (8 bytes) and the type (4)
    except struct.error:
        raise ValueError("the certificate is cut off") from None
    if kind != ED25519:
        raise ValueError("the sign-in was not by a session's certificate")
    student, colon, profile = identity.decode(errors="replace").partition(":")
    return checked(student), checked(profile) if colon else ""


def checked(name: str) -> str:
    """Return ``name`` if it can name a student and a directory.

    Raises:
        ValueError: it cannot.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"not a student's name: {name!r}")
    return name


def _string(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack_from(">I", data)
    if len(data) < 4 + length:
        raise struct.error
    return data[4 : 4 + length], data[4 + length :]
