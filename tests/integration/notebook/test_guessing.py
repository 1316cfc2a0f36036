"""Sign-in under attack: passwords are not guessed, and nobody is locked out by who guesses."""

import json
import shlex
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from guest import Guest
from student import RefusedError, Student

# Five wrong tries are free; the sixth to the tenth come 1, 2, 4, 8 and 16 seconds later.
FEW = 10
GUESSER = Path(__file__).with_name("guesser.py").read_text()
RIGHT = "correct horse"


def tried(guest: Guest, tries: list[dict[str, Any]], at_once: int = 50) -> list[str]:
    """What came of tries that are made in the guest."""
    guest.run(f"cat > /root/guesser.py << 'END'\n{GUESSER}\nEND")
    words = f"{shlex.quote(json.dumps(tries))} {at_once}"
    said: list[str] = json.loads(guest.run(f"python3 /root/guesser.py {words}", timeout=600))
    return said


def wrong(name: str, source: str, number: int = 1, **more: Any) -> list[dict[str, Any]]:
    return [
        {"name": name, "password": f"guess {n:05}", "source": source, **more} for n in range(number)
    ]


def right(name: str, source: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "password": RIGHT, "source": source, **more}


def test_a_hundred_tries_at_once_are_not_a_hundred_tries(guest: Guest) -> None:
    Student(guest.url, "target").sign_in()
    tries = wrong("target", "127.0.7.1", 150)
    tries.insert(100, right("target", "127.0.7.1"))
    said = tried(guest, tries, at_once=100)
    assert said[100] != "in"
    assert said.count("wrong") <= FEW
    assert said.count("429") >= 150 - FEW


def test_the_administrators_name_is_no_faster_to_guess(guest: Guest) -> None:
    before = guest.run("journalctl -u 'notebook-pam@*' -o cat --no-pager -g Started | wc -l")
    said = tried(guest, wrong("sageadm", "127.0.7.2", 60), at_once=60)
    assert said.count("wrong") <= FEW
    assert said.count("429") >= 60 - FEW
    after = guest.run("journalctl -u 'notebook-pam@*' -o cat --no-pager -g Started | wc -l")
    assert int(after) - int(before) <= FEW
    password = guest.run("cat /var/lib/notebook/first-password").strip()
    assert tried(guest, [{**right("sageadm", "127.0.0.1"), "password": password}]) == ["in"]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-Ip", "Forwarded", "X-Scheme"])
def test_a_header_makes_no_other_address(guest: Guest, header: str) -> None:
    name = f"spoof{header.lower()[-4:].strip('-')}"
    Student(guest.url, name).sign_in()  # at 127.0.0.1, which this guesser pretends to be
    said = tried(
        guest,
        [
            {**each, "headers": {header: f"127.0.0.{1 + n % 9}"}}
            for n, each in enumerate(wrong(name, "127.0.7.3", 60))
        ],
    )
    assert said.count("wrong") <= FEW
    assert tried(guest, [right(name, "127.0.0.1")]) == ["in"]


def test_who_guesses_elsewhere_does_not_lock_the_owner_out(guest: Guest) -> None:
    usual = Student(guest.url, "owner").sign_in()
    mark = next(c for c in usual.cookies if c.name == "notebook-device")
    carried = {"Cookie": f"{mark.name}={mark.value}"}
    attack = wrong("owner", "127.0.7.4", 300)
    said: list[str] = []
    attacker = threading.Thread(target=lambda: said.extend(tried(guest, attack, at_once=20)))
    attacker.start()
    try:
        for _ in range(3):
            # From the usual address, without a cookie, and by the usual browser wherever it is.
            Student(guest.url, "owner").sign_in()
            assert tried(guest, [right("owner", "127.0.7.5", headers=carried)]) == ["in"]
    finally:
        attacker.join()
    assert said.count("429") >= 280


def test_a_class_signs_in_while_names_are_guessed(guest: Guest) -> None:
    """From their own address and from elsewhere, by names that are and that are not."""
    names = [f"pupil{n}" for n in range(40)]
    lines = "".join(f"{name},{RIGHT}\n" for name in names)
    guest.run(f"printf '{lines}' | notebook-accounts import -")
    attack = [
        each
        for n in range(20)
        for each in (
            *wrong("pupil0", "127.0.7.6", 3),
            *wrong(f"No body {n}", "127.0.7.6", 3),
            *wrong(f"pupil{30 + n % 10}", "127.0.0.1", 4),
        )
    ]
    said: list[str] = []
    attacker = threading.Thread(target=lambda: said.extend(tried(guest, attack, at_once=30)))
    attacker.start()
    for name in names[1:30]:
        Student(guest.url, name, RIGHT).sign_in()
    attacker.join()
    assert "in" not in said
    assert said.count("429") > 0


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"headers": {"X-Forwarded-For": "127.0.0.1"}}, id="as the proxy"),
        # The kernel shows what waits after a connection's end as root's.
        pytest.param({"used": True}, id="from a port that is shown as root's"),
    ],
)
def test_a_session_may_not_guess(guest: Guest, how: dict[str, Any]) -> None:
    """It reaches the hub without the proxy, and could claim any address."""
    inner = Student(guest.url, "inner").sign_in().start()
    try:
        kernel = inner.kernel()
        kernel.run(f"open('/tmp/guesser.py', 'w').write({GUESSER!r})")
        tries = [{**one, "port": 8081, **how} for one in wrong("sageadm", "127.0.0.1", 3)]
        said = kernel.shell(f"python3 /tmp/guesser.py {shlex.quote(json.dumps(tries))} 1 2>&1")
    finally:
        inner.stop()
    assert said.strip() == json.dumps(["403"] * 3)


def test_a_password_by_the_api_is_counted_too(guest: Guest) -> None:
    """A token can be asked for with a password."""
    Student(guest.url, "caller").sign_in()

    def call(password: str) -> int:
        auth = {"username": "caller", "password": password}
        try:
            Student(guest.url, "caller").json(
                "POST", "/hub/api/users/caller/tokens", {"auth": auth}
            )
        except RefusedError as refused:
            return refused.status
        return 200

    with ThreadPoolExecutor(40) as crowd:
        said = list(crowd.map(call, [*["a guess"] * 80, RIGHT, *["a guess"] * 20]))
    assert set(said) == {403}


def test_an_endless_password_is_not_hashed(guest: Guest) -> None:
    with pytest.raises(RefusedError) as refused:
        Student(guest.url, "longest", "x" * 5_000_000).sign_in()
    assert refused.value.status in (403, 400, 413)
    assert "longest" not in guest.run("notebook-accounts list")
