"""Sign-in from learning platforms: a real hub, behind its guard, against platforms of our own."""

import contextlib
import json
import re
import socket
import threading
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from provision.guest.hub.silence import QUIET
from provision.guest.lti.people import Person
from provision.guest.pool.accounts import Accounts
from tests.integration.lti_platform import LTI, Platform, jwk, key_pair, unsigned
from tests.integration.signin.browser import Browser
from tests.integration.signin.lti_hub import Place, asked, opened


def test_a_pupil_opens_the_notebook_from_the_platform(place: Place, moodle: Platform) -> None:
    carl = Browser()
    status, address, _ = opened(moodle, carl)
    assert status == 200, address
    name = Person(moodle.issuer, "9").name
    assert name in carl.get(f"{place.url}/hub/home")[2]
    assert carl.get(f"{place.url}/hub/admin")[0] == 403
    # It is the same person each time, whatever the name is then.
    again = Browser()
    opened(moodle, again, name="Carl Friedrich Gauß")
    assert name in again.get(f"{place.url}/hub/home")[2]
    people = json.loads((place.state / "lti/people.json").read_text())
    assert people[name] == [moodle.issuer, "9", "Carl Friedrich Gauß"]
    assert "eyJ" not in place.log()  # as each token begins


def test_the_sign_in_page_leads_to_the_platform(place: Place) -> None:
    page = Browser().get(f"{place.url}/hub/login")[2]
    assert "Do you use Moodle? Open the notebook there" in " ".join(page.split())
    assert 'name="password"' in page


def test_two_platforms_with_one_user_name(place: Place, moodle: Platform) -> None:
    with place.ilias.serving() as ilias:
        one, other = Browser(), Browser()
        opened(moodle, one, "emmy")
        opened(ilias, other, "emmy")
        names = [Person(platform.issuer, "emmy").name for platform in (moodle, ilias)]
        for browser, mine, theirs in ((one, *names), (other, *names[::-1])):
            page = browser.get(f"{place.url}/hub/home")[2]
            assert (mine in page, theirs in page) == (True, False)
        # What one says is not believed of the other, whatever it claims.
        browser = Browser()
        form = ilias.answer(asked(ilias, browser, "emmy"), iss=moodle.issuer)
        assert browser.get(f"{place.url}/hub/lti/launch", form)[0] == 403
        browser = Browser()
        begun = asked(moodle, browser, "emmy")
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(begun).query))
        claims = moodle.claims("emmy", query["nonce"])
        form = {"state": query["state"], "id_token": ilias.sign(claims)}
        assert browser.get(f"{place.url}/hub/lti/launch", form)[0] == 403
        assert "/hub/login" in browser.get(f"{place.url}/hub/home")[1]


def test_a_name_of_the_platforms_is_nobody_elses(place: Place, moodle: Platform) -> None:
    """Visitors make accounts here; not one of a pupil who has yet to come, nor one who came."""
    coming, there = Person(moodle.issuer, "new").name, Person(moodle.issuer, "9").name
    opened(moodle, Browser())
    for name in (coming, coming.upper(), f" {coming} ", "lti-", "lti-sageadm", there):
        browser = Browser()
        found = re.search(r'name="_xsrf" value="([^"]+)"', browser.get(f"{place.url}/hub/login")[2])
        assert found
        form = {"username": name, "password": "a long password", "_xsrf": found[1]}
        assert browser.get(f"{place.url}/hub/login", form)[0] == 403, name
    assert coming not in Accounts(place.state / "accounts.json").names()
    assert opened(moodle, Browser(), "new")[0] == 200


def test_who_is_locked_does_not_come_in(place: Place, moodle: Platform) -> None:
    opened(moodle, Browser(), "cook")
    accounts, name = Accounts(place.state / "accounts.json"), Person(moodle.issuer, "cook").name
    accounts.lock(name)
    status, _, page = opened(moodle, Browser(), "cook")
    assert (status, "locked" in page) == (403, True)
    accounts.unlock(name)
    assert opened(moodle, Browser(), "cook")[0] == 200


def test_one_answer_opens_one_browser_once(place: Place, moodle: Platform) -> None:
    launch = f"{place.url}/hub/lti/launch"
    carl, mallory = Browser(), Browser()
    form = moodle.answer(asked(moodle, carl))
    assert mallory.get(launch, form)[0] == 400  # another's browser
    asked(moodle, mallory)
    assert mallory.get(launch, form)[0] == 400  # which has begun one of its own
    mine = moodle.answer(asked(moodle, mallory))
    mixed = {"state": mine["state"], "id_token": form["id_token"]}
    assert mallory.get(launch, mixed)[0] == 403  # with that one's state
    kept = [(c.name, c.value) for c in carl.cookies]
    assert carl.get(launch, form, origin=moodle.issuer)[0] == 200
    assert carl.get(launch, form)[0] == 400  # again
    thief = Browser()
    for name, value in kept:  # again, with all that the browser had
        thief.put(name, value or "", place.url)
    assert thief.get(launch, form)[0] == 403
    assert "/hub/login" in thief.get(f"{place.url}/hub/home")[1]
    for state in ("", "x", "00", "ff" * 24, "é", form["state"] + "0"):
        assert carl.get(launch, {**form, "state": state})[0] == 400, state
    assert carl.get(launch)[0] == 400


@pytest.mark.parametrize(
    "change",
    [
        *({"exp": 5}, {"iat": 4_000_000_000}, {"aud": "other"}, {"azp": "other"}),
        *({"aud": ["notebook", "other"]}, {"iss": "https://elsewhere.test"}, {"nonce": "other"}),
        *({f"{LTI}/deployment_id": "2"}, {f"{LTI}/version": None}, {"sub": None}, {"iat": None}),
        *({f"{LTI}/roles": None}, {f"{LTI}/resource_link": None}, {f"{LTI}/message_type": "x"}),
        {f"{LTI}/target_link_uri": "https://elsewhere.test/hub/lti/launch"},
    ],
    ids=str,
)
def test_what_is_not_believed(place: Place, moodle: Platform, change: dict[str, Any]) -> None:
    browser = Browser()
    status, _, page = opened(moodle, browser, **change)
    assert (status, "Nobody is signed in" in page) == (403, True), page[-3000:]
    assert "/hub/login" in browser.get(f"{place.url}/hub/home")[1]


@pytest.mark.parametrize("kind", ["stranger", "none", "secret", "nothing", "long", "huge"])
def test_what_is_not_signed_by_the_platform(place: Place, moodle: Platform, kind: str) -> None:
    browser = Browser()
    begun = asked(moodle, browser)
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(begun).query))
    claims = moodle.claims("9", query["nonce"])
    token = {
        "stranger": lambda: moodle.sign(claims, key_pair()),
        "none": lambda: unsigned(claims, {"alg": "none", "kid": "key-1"}),
        "secret": lambda: unsigned(claims, {"alg": "HS256", "kid": "key-1"}, b"x" * 32),
        "nothing": lambda: "",
        "long": lambda: moodle.sign({**claims, "more": "x" * 40_000}),
        "huge": lambda: "x" * (9 << 20),
    }[kind]()
    if kind == "huge":
        with contextlib.suppress(OSError):  # the hub reads no further
            status = browser.get(
                f"{place.url}/hub/lti/launch", {"state": query["state"], "id_token": token}
            )[0]
            assert status in (400, 413, 500, 503)
    else:
        form = {"state": query["state"], "id_token": token}
        assert browser.get(f"{place.url}/hub/lti/launch", form)[0] == 403
    assert "/hub/login" in browser.get(f"{place.url}/hub/home")[1]


@pytest.mark.parametrize(
    "change",
    [
        *({"iss": "https://elsewhere.test"}, {"iss": ""}, {"client_id": "other"}),
        *({"lti_deployment_id": "2"}, {"login_hint": ""}, {"target_link_uri": ""}),
        *({"target_link_uri": "https://elsewhere.test/"}, {"login_hint": "x" * 2001}),
        {"target_link_uri": "http://127.0.0.1@elsewhere.test/"},
    ],
    ids=str,
)
def test_what_begins_no_sign_in(place: Place, moodle: Platform, change: dict[str, str]) -> None:
    status, address, _ = Browser().follow(moodle.begun("9", **change))
    assert status == 400, address


def test_a_link_leads_nowhere_but_to_the_platform_that_is_set_up(
    place: Place, moodle: Platform
) -> None:
    """What somebody adds to the link's address is no address of ours."""
    more = {"redirect_uri": "https://elsewhere.test/", "next": "https://elsewhere.test/"}
    browser = Browser()
    address = asked(moodle, browser, **more)
    assert address.startswith(f"{moodle.issuer}/auth?")
    assert "elsewhere" not in address
    form = {**moodle.answer(address), **more}
    assert browser.get(f"{place.url}/hub/lti/launch", form)[1].startswith(place.url)


def test_a_form_from_elsewhere_opens_nothing_else(place: Place, moodle: Platform) -> None:
    """The guard lets the platform's form through to where it belongs."""
    browser = Browser()
    opened(moodle, browser)
    for path in ("login", "token", "logout", "lti/keys", "lti/link", "lti/window"):
        status = browser.get(f"{place.url}/hub/{path}", {"a": "b"}, origin=moodle.issuer)[0]
        assert status in (403, 405), path


@pytest.mark.slow
def test_a_platforms_new_key_is_found_and_the_old_one_is_no_more(
    place: Place, moodle: Platform
) -> None:
    opened(moodle, Browser())
    before, moodle.key = moodle.key, key_pair()
    moodle.published = {"keys": [jwk(moodle.key, "key-2")]}
    time.sleep(QUIET)
    try:
        browser = Browser()
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(asked(moodle, browser)).query))
        token = moodle.sign(moodle.claims("9", query["nonce"]), kid="key-2")
        form = {"state": query["state"], "id_token": token}
        assert browser.get(f"{place.url}/hub/lti/launch", form)[0] == 200
        assert opened(moodle, Browser())[0] == 403  # by that name there is none any more
    finally:
        moodle.key, moodle.published = before, {"keys": [jwk(before)]}
        time.sleep(QUIET)
        assert opened(moodle, Browser())[0] == 200


def test_the_platform_says_that_it_does_not_know_somebody(place: Place, moodle: Platform) -> None:
    browser = Browser()
    state = moodle.answer(asked(moodle, browser))["state"]
    form = {"state": state, "error": "login_required", "error_description": "<b>no</b>"}
    status, _, page = browser.get(f"{place.url}/hub/lti/launch", form)
    assert (status, "does not say who you are" in page, "<b>no" in page) == (403, True, False)


def test_a_silent_platform_holds_nobody_up(place: Place) -> None:
    """Its keys are not known yet, and it takes connections and says nothing."""
    ilias = place.ilias
    browsers = [Browser() for _ in range(12)]
    taken: dict[socket.socket, bytes] = {}
    with socket.create_server(("0.0.0.0", ilias.port), backlog=50) as door:  # noqa: S104
        threading.Thread(target=_take, args=(door, taken), daemon=True).start()
        forms = [ilias.answer(asked(ilias, browser)) for browser in browsers]
        for form in forms:  # by a key that was not seen before
            form["id_token"] = ilias.sign({"sub": "9"}, kid="key-9")
        launch = f"{place.url}/hub/lti/launch"
        with ThreadPoolExecutor(12) as crowd:
            clicks = [crowd.submit(b.get, launch, f) for b, f in zip(browsers, forms, strict=True)]
            while not _keys(taken):
                time.sleep(0.05)
            assert Browser().get(f"{place.url}/hub/login")[0] == 200
            said = [click.result() for click in clicks]
        assert {status for status, _, _ in said} == {503}
        assert "does not answer" in said[0][2]
        assert _keys(taken) == 1
        door.shutdown(socket.SHUT_RDWR)
    time.sleep(QUIET)
    with ilias.serving():
        assert opened(ilias, Browser())[0] == 200


def _take(door: socket.socket, taken: dict[socket.socket, bytes]) -> None:
    with contextlib.suppress(OSError):
        while True:
            asking = door.accept()[0]
            taken[asking] = asking.recv(100)


def _keys(taken: dict[socket.socket, bytes]) -> int:
    """Who asks for its keys; points of other tests may be on their way to it, too."""
    return sum(begun.startswith(b"GET /keys ") for begun in taken.copy().values())


def test_the_tools_key_is_the_hubs_alone(place: Place) -> None:
    key = place.state / "lti/key.pem"
    assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    status, _, page = Browser().get(f"{place.url}/hub/lti/keys")
    assert status == 200
    (public,) = json.loads(page)["keys"]
    assert set(public) == {"kty", "key_ops", "n", "e", "kid", "alg", "use"} - (
        set() if "key_ops" in public else {"key_ops"}
    )
