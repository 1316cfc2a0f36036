import base64
import struct

import pytest

from provision.guest.pool.certificate import ED25519, checked, key_id, session_of


def auth_info(key_id: bytes, kind: bytes = ED25519, method: str = "publickey") -> str:
    """What sshd tells PAM, as in PROTOCOL.certkeys."""
    fields = [kind, b"n" * 32, b"p" * 32]
    blob = b"".join(struct.pack(">I", len(f)) + f for f in fields)
    blob += struct.pack(">QI", 0, 1) + struct.pack(">I", len(key_id)) + key_id
    return f"{method} {kind.decode()} {base64.b64encode(blob).decode()}\n"


def test_the_key_id_is_the_student() -> None:
    assert session_of(auth_info(b"alice")) == ("alice", "")


@pytest.mark.parametrize(
    "info",
    [
        "",
        "password\n",
        "publickey ssh-ed25519 AAAA\n",
        auth_info(b"alice", kind=b"ssh-ed25519"),
        auth_info(b"alice", method="hostbased"),
        f"publickey {ED25519.decode()} {base64.b64encode(b'xx').decode()}\n",
        f"publickey {ED25519.decode()} ???\n",
    ],
)
def test_another_sign_in_is_no_session(info: str) -> None:
    with pytest.raises(ValueError):
        session_of(info)


@pytest.mark.parametrize(
    "name", ["", "..", "../etc", "a/b", ".hidden", "-rf", "Alice", "a" * 65, "a\nb", "a b", "ä"]
)
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        checked(name)
    with pytest.raises(ValueError):
        session_of(auth_info(name.encode()))


@pytest.mark.parametrize("name", ["a", "anna.b", "x@school.example", "a+b", "7of9", "a_b-c"])
def test_usual_names_are_fine(name: str) -> None:
    assert checked(name) == name


def test_a_certificate_names_the_profile() -> None:
    assert session_of(auth_info(key_id("alice", "stats").encode())) == ("alice", "stats")


@pytest.mark.parametrize("name", ["alice:", "alice:../x", "alice:a:b", ":stats"])
def test_a_damaged_profile_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a student's name"):
        session_of(auth_info(name.encode()))
