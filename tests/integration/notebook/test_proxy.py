"""What the proxy holds back between a browser, the hub and a student's server."""

import json
from pathlib import Path
from typing import Any

import pytest
from guest import Guest

pytestmark = pytest.mark.timeout(300)
PYTHON = "/opt/notebook/bin/python"


@pytest.fixture(scope="module")
def facts(guest: Guest) -> dict[str, Any]:
    script = (Path(__file__).parent / "proxied.py").read_text()
    guest.run(f"cat > /tmp/proxied.py <<'THE-END'\n{script}\nTHE-END")
    module = "provision.guest.pool.notebook"
    where = f"import {module} as m; print(m.PROXY)"
    program = guest.run(f"{PYTHON} -I -c '{where}'").strip()
    return dict(json.loads(guest.run(f"{PYTHON} -I /tmp/proxied.py {program}")))


def test_a_ticket_opens_once_in_the_browser_that_it_is_for(facts: dict[str, Any]) -> None:
    first = facts["ticket"]
    assert (first["status"], first["headers"]["location"]) == (302, "/user/mallory/lab")
    assert "HttpOnly; SameSite=Lax" in first["set"][0]
    assert first["headers"]["clear-site-data"] == '"storage"'
    assert facts["again"] == 302
    assert facts["again_at"].endswith(":18000/user/mallory/lab")  # the hub may make another
    assert facts["late"] == facts["other_browser"] == facts["no_browser"] == []
    for name in ("forged", "elsewhere", "to_another", "visit_as_ticket", "ticket_as_visit"):
        assert facts[name] == 403, name


def test_a_server_is_sent_its_own_students_cookies(facts: dict[str, Any]) -> None:
    for sent in (facts["page_sent"], facts["socket_sent"]):
        (request,) = sent
        names = {each.partition("=")[0] for each in request["cookie"].split("; ")}
        assert names == {
            *("jupyterhub-user-mallory", "jupyterhub-user-mallory-oauth-state-1"),
            *("jupyterhub-session-id", "_xsrf"),
        }


def test_a_server_sets_its_own_students_cookies(facts: dict[str, Any]) -> None:
    own = [
        "_xsrf=1; Path=/user/mallory/",
        "jupyterhub-user-mallory=1; Path=/user/mallory/; HttpOnly",
    ]
    assert facts["page"]["set"] == facts["token"]["set"] == own
    lines = facts["socket"].split("\r\n")
    assert lines[0] == "HTTP/1.1 101 Switching Protocols"
    assert [each.partition(": ")[2] for each in lines if each.startswith("set-cookie")] == own


def test_a_server_says_nothing_about_the_whole_host(facts: dict[str, Any]) -> None:
    told = {"service-worker-allowed", "clear-site-data", "alt-svc", "strict-transport-security"}
    assert facts["page"]["status"] == 200
    assert not told & set(facts["page"]["headers"])
    assert not [each for each in told if each in facts["socket"].lower()]
    assert facts["page"]["headers"]["cross-origin-opener-policy"] == "same-origin"


def test_a_program_with_a_token_brings_no_cookie(facts: dict[str, Any]) -> None:
    assert facts["token"]["status"] == 200
    assert facts["program_socket"] == "HTTP/1.1 101"
    assert [each["cookie"] for each in facts["token_sent"]] == [None, None]


def test_nothing_else_reaches_a_server(facts: dict[str, Any]) -> None:
    assert set(facts["refused"].values()) == {403}, facts["refused"]
    assert set(facts["sockets"].values()) == {"HTTP/1.1 403"}, facts["sockets"]
    assert facts["reached"] == []


def test_what_both_origins_pages_are_made_of_needs_nobody(facts: dict[str, Any]) -> None:
    assert facts["static"] == 200
    assert facts["static_sent"] == [{"path": "/hub/static/x.js", "cookie": None, "by": "hub"}]


def test_other_addresses_lead_to_the_hub(facts: dict[str, Any]) -> None:
    assert facts["led"] == {
        "/user/emmy/lab?x=1": "//school.test:18000/user/emmy/lab?x=1",
        "/hub/home": "//school.test:18000/hub/home",
        "/": "//school.test:18000/",
        "http://evil.example/": "//school.test:18000/",
    }


def test_who_signs_out_leaves_nothing_open(facts: dict[str, Any]) -> None:
    left = facts["left"]
    assert (left["before"], left["socket"], left["still"]) == (200, "HTTP/1.1 101", [200, True])
    assert left["no_ticket"] == [403] * 4
    assert left["away"]["status"] == 302
    assert left["away"]["headers"]["location"].endswith(":18000/hub/logout")
    assert left["away"]["headers"]["clear-site-data"] == '"storage"'
    assert left["away"]["set"][0].endswith("; Max-Age=0")
    assert not left["open"]
    assert left["after"] == 403


def test_where_there_are_names_a_visit_counts_at_its_own(facts: dict[str, Any]) -> None:
    """A page below the same name can set cookies for the hosts beside its own."""
    apart = facts["apart"]
    assert apart["elsewhere"] == apart["shared"] == []
    assert apart["entry"]["status"] == 302
    assert "Domain" not in apart["entry"]["set"][0]
    assert (apart["own"], apart["capitals"], apart["tossed"]) == (200, 200, 403)
    assert apart["led"] == "//sage.school.test:18000/user/emmy/lab"
