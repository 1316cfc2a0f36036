import base64
import json

import pytest

from provision.guest.hub.visit import student_of, there, ticket


@pytest.mark.parametrize(
    ("path", "student"),
    [
        ("/user/emmy/lab/tree/a%20b.ipynb?x=1", "emmy"),
        ("/user/emmy", "emmy"),
        ("/user/emmy?x", "emmy"),
        ("/user/a%40b.org/", "a@b.org"),
        ("/user/emmy/../carl/lab", "emmy"),
        ("/user/emmy%2Flab", None),
        ("/user/", None),
        ("/user//emmy", None),
        ("/hub/user/emmy/", None),
        ("//other.org/user/emmy/", None),
        ("http://other.org/user/emmy/", None),
        ("/user/emmy/\r\nLocation: x", None),
        ("/user/emmy/ä", None),
        ("", None),
    ],
)
def test_whose_server_an_address_names(path: str, student: str | None) -> None:
    assert student_of(path) == student


@pytest.mark.parametrize(
    ("host", "secure", "place"),
    [
        ("10.0.0.5:8000", True, "10.0.0.5:8443"),
        ("localhost:9001", False, "localhost:9444"),
        ("school.example.org", True, "school.example.org:886"),
        ("[fd00::5]:8000", True, "[fd00::5]:8443"),
    ],
)
def test_where_a_browser_finds_the_sessions(host: str, secure: bool, place: str) -> None:
    assert there(host, 443, secure=secure) == place


def test_a_ticket_is_for_one_student_one_browser_one_minute() -> None:
    signed = ticket("token", "emmy", "/user/emmy/lab", "a" * 32, now=1000)
    told = json.loads(base64.urlsafe_b64decode(signed.partition(".")[0] + "=="))
    assert (told["student"], told["next"], told["until"]) == ("emmy", "/user/emmy/lab", 1060)
    assert "a" * 32 not in str(told)
    again = ticket("token", "emmy", "/user/emmy/lab", "a" * 32, now=1000)
    assert signed != again
    assert ticket("other", "emmy", "/user/emmy/lab", "a" * 32, now=1000) != signed
