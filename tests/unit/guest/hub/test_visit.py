import base64
import json
import re

import pytest

from provision.guest.hub.visit import Sessions, label, student_of


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
    assert Sessions(443, "token", secure).place(host, "emmy") == place


def test_where_the_school_has_names_each_student_has_one() -> None:
    sessions = Sessions(443, "token", True, "sage.school.test")
    assert sessions.place("localhost:8000", "emmy") == "emmy.sage.school.test:8443"
    assert sessions.place("sage.school.test", "") == "sage.school.test:886"
    assert sessions.cookie == (
        "appliance-browser",
        {
            **{"path": "/", "httponly": True, "samesite": "Lax", "secure": True},
            "domain": "sage.school.test",
        },
    )


@pytest.mark.parametrize(
    ("student", "begins"),
    [
        *(("emmy", "emmy"), ("e", "e"), ("emmy-2", "emmy-2")),
        *(("emmy.noether", "emmy-noether--"), ("emmy@school.org", "emmy-school-org--")),
        *(("emmy-", "emmy--"), ("a--b", "a-b--"), ("xn--p1ai", "xn-p1ai--"), ("9" * 64, "9999")),
    ],
)
def test_a_label_is_one_of_dns_and_one_students(student: str, begins: str) -> None:
    made = label(student)
    assert made.startswith(begins)
    assert (made == student) == (begins == student)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", made)
    assert label(f"{student}.") != made


def test_a_ticket_is_for_one_student_one_browser_one_minute() -> None:
    def ticket(token: str) -> str:
        words = ("visit", "emmy", "/user/emmy/lab", "a" * 32, "localhost:8000")
        return Sessions(443, token, True).ticket(*words, now=1000)

    signed = ticket("token")
    told = json.loads(base64.urlsafe_b64decode(signed.partition(".")[0] + "=="))
    assert (told["student"], told["next"], told["until"]) == ("emmy", "/user/emmy/lab", 1060)
    assert "a" * 32 not in str(told)
    assert signed != ticket("token")
    assert signed.partition(".")[0] != ticket("other").partition(".")[0]
