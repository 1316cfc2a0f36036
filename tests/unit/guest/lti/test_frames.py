"""What a platform shows inside its own page: who may, and how one goes on from there."""

from dataclasses import replace

import pytest

from provision.guest.lti import choices
from provision.guest.lti.choices import Choices
from provision.guest.lti.frames import in_frame, policy
from provision.guest.lti.launch import Launch
from provision.guest.lti.platforms import Platform

PLACE = "https://moodle.test/mod/lti"
MOODLE = Platform(
    **{"title": "Moodle", "issuer": "https://moodle.test", "client_id": "a"},
    **{"deployments": ("1",), "authorization": f"{PLACE}/auth", "keys": f"{PLACE}/keys"},
    **{"token": f"{PLACE}/token", "audience": "", "courses": {}},
)
LAUNCH = Launch(MOODLE, "7", "", teaches=True, learns=False, deployment="1", context="42")


def test_the_platforms_own_pages_may_show_it() -> None:
    ours = "frame-ancestors 'self' https://moodle.test"
    assert policy([MOODLE]) == ours
    assert policy([MOODLE], f"{PLACE}/return", None) == ours
    assert policy([MOODLE], "https://own.test:8443/return") == f"{ours} https://own.test:8443"
    canvas = replace(MOODLE, issuer="urn:canvas", authorization="https://sso.canvas.test/auth")
    assert policy([canvas]) == f"{ours} https://sso.canvas.test"


@pytest.mark.parametrize(
    "address",
    ["", 5, "javascript:alert(1)", "https://", "https://a.test;x", "https://*", "https://[", "//a"],
    ids=str,
)
def test_what_is_no_origin_is_nobodys(address: object) -> None:
    assert policy([MOODLE], address) == policy([MOODLE])


def test_a_browser_says_that_it_is_a_frame() -> None:
    assert in_frame({"Sec-Fetch-Dest": "iframe"})
    assert not in_frame({"Sec-Fetch-Dest": "document"})
    assert not in_frame({})


def test_one_goes_on_once_within_an_hour_and_as_oneself(monkeypatch: pytest.MonkeyPatch) -> None:
    open_ones = Choices()
    key = open_ones.keep("emmy", LAUNCH)
    assert open_ones.take("", "") is None
    assert open_ones.take(key, "carl") is None
    assert open_ones.take(key, "emmy") == ("emmy", LAUNCH)
    assert open_ones.take(key) is None
    key = open_ones.keep("emmy", LAUNCH)
    monkeypatch.setattr(choices, "LIFE", -1)
    assert open_ones.take(key) is None
    monkeypatch.setattr(choices, "MOST", 2)
    for _ in range(5):
        key = open_ones.keep("emmy", LAUNCH)
    assert len(open_ones._open) == 2
