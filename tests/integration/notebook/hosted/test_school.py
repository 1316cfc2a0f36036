"""Sign-in by the school's own provider: OpenID Connect in a browser, and LDAP."""

import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser import picture, window
from guest import Guest
from oidc_provider_mock import User, run_server_in_thread
from playwright.sync_api import Browser, Page, expect
from student import RefusedError, Student

from provision.verify import registry
from tests.integration.ldap import ENTRIES, MATH, REFUSED, SETTINGS, TEMPLATE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RECORD = "/etc/notebook/guest.json"
SECRET = "/var/lib/notebook/sign-in-secret"  # noqa: S105 - the name of a file
# A name that leads to this host's loopback, both from the guest and in the browser.
NAME = "id.school.test"
USERS = (
    User(
        sub="emmy", claims={"email": "Emmy@school.test", "email_verified": True, "groups": ["math"]}
    ),
    User(sub="carl", claims={"email": "carl@elsewhere.test", "groups": ["math"]}),
    User(sub="ada", claims={"email": "ada@school.test", "groups": ["cooks"]}),
    User(
        sub="zoe", claims={"email": "zoe@school.test", "email_verified": False, "groups": ["math"]}
    ),
    User(sub="eve", claims={"email": "../sageadm@school.test", "groups": ["math"]}),
)


@pytest.fixture
def signing_in(hosted: Guest) -> Iterator[Callable[[dict[str, object]], None]]:
    """Change who says who a student is; afterwards it is as it was."""

    def change(wanted: dict[str, object]) -> None:
        told = json.loads(hosted.run(f"cat {RECORD}")) | {"sign_in": {"admins": [], **wanted}}
        hosted.run(f"cat > {RECORD} << 'END'\n{json.dumps(told)}\nEND\nsystemctl restart notebook")
        hosted.wait()

    with hosted.keeping(RECORD, then=f"rm -f {SECRET}; systemctl restart notebook"):
        yield change
    hosted.wait()


def authorize(page: Page, hosted: Guest, who: str) -> None:
    page.goto(f"{hosted.url}/hub/login")
    page.locator("a", has_text="Sign in with").click()
    page.locator('input[name="sub"]').fill(who)
    page.get_by_role("button", name="Authorize", exact=True).click()


def test_a_provider_says_who_it_is(
    hosted: Guest,
    browser: Browser,
    signing_in: Callable[[dict[str, object]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # the provider is on loopback
    with run_server_in_thread(user_claims=USERS) as server:
        hosted.run(f"echo {hosted.gateway()} {NAME} >> /etc/hosts")
        oidc = {
            **{"issuer": f"http://{NAME}:{server.server_port}", "client_id": "notebook"},
            **{"title": "your school account", "username": "email", "groups_claim": "groups"},
            **{"domains": ["school.test"], "groups": ["math", "physics"]},
        }
        signing_in({"oidc": oidc, "admins": ["emmy@school.test"]})
        page = window(browser)
        page.goto(f"{hosted.url}/hub/oauth_login")
        expect(page.locator("body")).to_contain_text("Sign-in is not set up")

        hosted.run("echo not-so-secret | notebook-secret && systemctl restart notebook")
        hosted.wait()
        assert hosted.run(f"stat -c '%U %a' {SECRET}").split() == ["notebook", "600"]
        page.goto(f"{hosted.url}/hub/login")
        picture(page, "sign-in-school")
        authorize(page, hosted, "emmy")
        page.get_by_role("button", name="Start").click()
        page.locator(".jp-Notebook h1", has_text="First steps").wait_for()
        assert "/user/emmy@school.test/" in page.url.replace("%40", "@")
        page.goto(f"{hosted.url}/hub/classroom")
        expect(page.locator("h1")).to_contain_text("Classroom")
        said = hosted.run("journalctl -u notebook --no-pager -o cat; ps -eo args")
        assert "not-so-secret" not in said

        for who, why in {
            "carl": "your mail address is of another domain",
            "ada": "you are in none of its groups",
            "zoe": "your mail address is not verified",
            "eve": "not currently authorized",
        }.items():
            other = window(browser)
            authorize(other, hosted, who)
            expect(other.locator("body")).to_contain_text(why)
            other.goto(f"{hosted.url}/hub/home")
            assert "login" in other.url
            other.context.close()
    # The provider is down, and the hub was started anew: it says so, and nothing else breaks.
    hosted.run("systemctl restart notebook")
    hosted.wait()
    late = window(browser)
    late.goto(f"{hosted.url}/hub/oauth_login")
    expect(late.locator("body")).to_contain_text("The school's sign-in does not answer")
    page.goto(f"{hosted.url}/user/emmy@school.test/lab?reset")  # who is in stays in
    page.wait_for_selector(".jp-Launcher")


GOOGLE = """
import asyncio
from pathlib import Path
from tornado.web import HTTPError
from provision.guest.hub.sign_in import Google, configure

wanted = {"google": {"client_id": "a", "domains": ["school.test"]}, "admins": []}
authenticator = Google(config=configure(wanted, Path("/var/lib/notebook")))

async def may(**claims):
    told = {"email": "Emmy@school.test", "hd": "school.test", "verified_email": True, **claims}
    model = {"name": "x", "admin": None, "auth_state": {"google_user": told}}
    name = authenticator.normalize_username(authenticator.user_info_to_username(told))
    model = await authenticator.update_auth_model({**model, "name": name})
    if not authenticator.check_blocked_users(name, model):
        return None
    try:
        return name if await authenticator.check_allowed(name, model) else None
    except HTTPError as error:
        return error.status_code

async def main():
    others = {"hd": "elsewhere.test"}, {"hd": ""}, {"verified_email": False}
    print(await may(), *[await may(**other) for other in others])

asyncio.run(main())
"""


def test_google_accounts_are_of_the_schools_domains(hosted: Guest) -> None:
    told = hosted.run(f"/opt/notebook/bin/python -I - << 'END'{GOOGLE}END")
    assert told.split() == ["emmy@school.test", "None", "None", "403"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"google": {"client_id": "a", "domains": ["school.test"]}},
        {
            "oidc": {
                **{"issuer": "https://id.school.test", "client_id": "a", "title": "school"},
                **{"username": "sub", "domains": ["school.test"], "groups": ["math"]},
                "groups_claim": "groups",
            }
        },
    ],
    ids=["google", "oidc"],
)
def test_verify_asks_for_the_rules(hosted: Guest, wanted: dict[str, object]) -> None:
    told = json.dumps({"sign_in": {"admins": ["verify"], **wanted}})

    def asked() -> dict[str, Any]:
        program = (registry.INSIDE / "provider.py").read_text()
        answer: dict[str, Any] = json.loads(hosted.run(f"python3 - << 'END'\n{program}\nEND"))
        return answer

    rules = "/opt/notebook/lib/python3*/site-packages/provision/guest/hub/sign_in.py"
    with hosted.keeping(RECORD, rules):
        hosted.run(f"echo {shlex.quote(told)} > {RECORD}")
        assert asked() == {"known": True, "strangers": []}
        # Without ours, an administrator is let in whatever the provider says.
        hosted.run(f"sed -i 's/ def check_allowed/&_/' {rules}")
        assert 'verified as "false"' in asked()["strangers"]


def test_a_directory_says_who_it_is(
    hosted: Guest, signing_in: Callable[[dict[str, object]], None]
) -> None:
    hosted.run(
        "which slapd || (echo exit 101 > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d;"
        " apt-get update -q && DEBIAN_FRONTEND=noninteractive"
        " apt-get install -qy --no-install-recommends slapd; rm /usr/sbin/policy-rc.d)",
        timeout=600,
    )
    hosted.run(
        "rm -rf /var/tmp/ldap; mkdir -p /var/tmp/ldap\n"
        f"cat > /root/ldap.conf << 'END'{SETTINGS.format(root='', place='/var/tmp/ldap')}END\n"
        f"cat > /root/ldap.ldif << 'END'{ENTRIES}END\n"
        "slapadd -f /root/ldap.conf -l /root/ldap.ldif"
        " && slapd -f /root/ldap.conf -h ldap://127.0.0.1:3890"
    )
    try:
        ldap = {
            **{"server": "127.0.0.1:3890", "tls": "insecure"},
            "template": TEMPLATE,
        }
        signing_in({"ldap": {**ldap, "groups": [MATH]}})
        Student(hosted.url, "emmy", "invariant").sign_in()
        for name, password in REFUSED:
            with pytest.raises(RefusedError):
                Student(hosted.url, name, password).sign_in()
        # A server whose certificate nobody vouches for, or that has none, is not spoken to.
        signing_in({"ldap": {**ldap, "tls": "before_bind", "groups": []}})
        with pytest.raises(RefusedError) as refused:
            Student(hosted.url, "emmy", "invariant").sign_in()
        assert "directory does not answer as it should" in refused.value.body
    finally:
        hosted.run("kill $(cat /var/tmp/ldap/pid)")
