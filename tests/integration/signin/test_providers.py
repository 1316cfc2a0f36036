"""Sign-in from the button to the hub: our authenticators against a provider of our own.

Only the addresses of Google's endpoints are others; hub, proxy, authenticators and OAuth are real.
"""

import contextlib
import hashlib
import http.cookiejar
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from oidc_provider_mock import User, run_server_in_thread

from provision import resources
from provision.build import places
from provision.config import read
from provision.export import zero_to_jupyterhub
from provision.locks import holding
from provision.machine.ports import free_port
from provision.process import require
from tests.integration.ldap import MATH, REFUSED, TEMPLATE, directory, unpack

pytestmark = pytest.mark.slow

QUIET = 11  # seconds after which a silent provider is asked again
SECRET = "not-so-secret"  # noqa: S105 - a test's


def person(name: str, domain: str, **claims: object) -> User:
    usual: dict[str, object] = {"email": f"{name}@{domain}", "hd": domain}
    usual |= {"verified_email": True, "email_verified": True}
    return User(sub=name.lower(), claims={**usual, **claims})


USERS = (
    person("Emmy", "school.test"),
    person("carl", "elsewhere.test"),
    person("zoe", "school.test", verified_email=False),
    person("mallory", "school.test", hd=""),  # a mail address alone proves no domain
)
HUB = """
import json, sys
sys.path.insert(0, {packages!r})
from pathlib import Path
c = get_config()
{sign_in}
c.Google.authorize_url = "{provider}/oauth2/authorize"
c.Google.token_url = "{provider}/oauth2/token"
c.Google.userdata_url = "{provider}/userinfo"
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = [
    *("env", "-u", "LD_PRELOAD", "NODE_PATH=/usr/share/nodejs:/usr/lib/nodejs"),
    "configurable-http-proxy",
]
"""

OURS = """
from provision.guest.hub.sign_in import configure
c.merge(configure(json.loads({wanted!r}), Path(".").resolve()))
"""
# What the chart's hub does with its values. Our package is not there, but the files that go along.
CHART = """
sys.path[:] = [place for place in sys.path if not Path(place, "provision", "export").is_dir()]
hub = json.loads(Path("hub.json").read_text())
c.JupyterHub.authenticator_class = "dummy"
for name, settings in hub["config"].items():
    c[name].update(settings)
for name, text in sorted(hub["extraConfig"].items()):
    exec(text)
import provision.guest.hub.sign_in
assert Path(provision.guest.hub.sign_in.__file__).is_relative_to(Path("files").resolve())
"""

GOOGLE = {"google": {"client_id": "notebook", "domains": ["school.test"]}}


@pytest.fixture(scope="module")
def packages() -> Path:
    """What the appliance adds for sign-in, by its own lock; kept for the next run."""
    lock = resources.playbooks() / "roles/extensions/files/signin.lock"
    key = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    target = places.cache() / "tests" / f"signin-{key}"
    if not (target / "whole").exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--require-hashes"]
        pip += ["--only-binary", ":all:", "--upgrade", "--target", str(target), "-r", str(lock)]
        subprocess.run(pip, check=True)
        (target / "whole").touch()
    return target


def _export(wanted: str, place: Path) -> None:
    """The hub's part of exported values, with the client's secret of a second file of values."""
    exported = zero_to_jupyterhub.values(
        read(assignments=[f"sign_in={wanted}"], environ={}).config,
        image="registry.test/sage",
        account=("nb1", 1001, 1002),
        kernels=[],
    )["hub"]
    files = place / "files"
    for file in exported.pop("extraFiles").values():
        path = Path(file["mountPath"].replace(zero_to_jupyterhub.RULES, str(files)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["stringData"])
    for name in ("Google", "Oidc"):
        exported["config"][name] = {"client_secret": SECRET}
    (place / "hub.json").write_text(
        json.dumps(exported).replace(zero_to_jupyterhub.RULES, str(files))
    )


class Browser:
    """One browser's worth of state; it says how each step ended."""

    def __init__(self) -> None:
        self.cookies = http.cookiejar.CookieJar()
        handlers = (
            urllib.request.HTTPCookieProcessor(self.cookies),
            urllib.request.ProxyHandler({}),
        )
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, url: str, form: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Status, the address at which it ended, and the page."""
        data = urllib.parse.urlencode(form).encode() if form else None
        try:
            with self._opener.open(url, data, timeout=60) as answer:
                return answer.status, answer.url, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.url or "", error.read().decode()


@pytest.fixture
def hub(
    request: pytest.FixtureRequest, packages: Path, tmp_path: Path
) -> Iterator[tuple[str, str]]:
    """A hub with the settings of sign-in that the test names, and where its provider will be.

    Words of the test: whose hub it is, the appliance's or the chart's; the settings; how far its
    clock is from everybody else's, if it is.
    """
    port, provider = free_port(), free_port()
    whose, settings, *skew = request.param
    command = [sys.executable, "-m", "jupyterhub", "-f", "hub.py"]
    if skew:
        command = [require("faketime", "faketime"), "-m", "-f", *skew, *command]
    settings = {"admins": ["emmy@school.test"]} | settings
    wanted = json.dumps(settings).replace("PROVIDER", f"http://127.0.0.1:{provider}")
    wanted = wanted.replace("DIRECTORY", f"127.0.0.1:{provider}")
    if whose == "chart":
        _export(wanted, tmp_path)
    told: dict[str, object] = {
        "sign_in": CHART if whose == "chart" else OURS.format(wanted=wanted),
        "packages": str(packages),
        "provider": f"http://127.0.0.1:{provider}",
        "port": port,
    }
    told |= {"hub_port": free_port(), "proxy_port": free_port()}
    (tmp_path / "hub.py").write_text(HUB.format(**told))
    (tmp_path / "sign-in-secret").write_text(f"{SECRET}\n")
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    env["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
    with (tmp_path / "log").open("wb") as log:
        hub = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 180
            while "JupyterHub is now running" not in (said := (tmp_path / "log").read_text()):
                assert hub.poll() is None and time.monotonic() < deadline, said[-4000:]
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{provider}"
            assert SECRET not in (tmp_path / "log").read_text()
        finally:
            os.killpg(hub.pid, signal.SIGTERM)  # faketime, too, and what it runs
            hub.wait()


def agree(browser: Browser, hub: str, who: str) -> tuple[int, str, str]:
    """Press the button, and agree at the provider."""
    status, address, _ = browser.get(f"{hub}/hub/oauth_login")
    assert (status, "/oauth2/authorize?" in address) == (200, True)
    return browser.get(address, {"sub": who})


@pytest.mark.parametrize("hub", [("appliance", GOOGLE), ("chart", GOOGLE)], indirect=True)
def test_who_may_come_in_by_google(hub: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    url, provider = hub
    port = int(provider.rpartition(":")[2])
    with run_server_in_thread(port, user_claims=USERS):
        page = Browser().get(f"{url}/hub/login")[2]
        assert "Sign in with Google" in " ".join(page.split()), page
        emmy = Browser()
        agree(emmy, url, "emmy")
        status, address, page = emmy.get(f"{url}/hub/home")
        assert (status, address) == (200, f"{url}/hub/home")
        assert "emmy@school.test" in page
        assert emmy.get(f"{url}/hub/admin")[0] == 200  # one of sign_in.admins
        for who in ("carl", "zoe", "mallory"):
            browser = Browser()
            assert agree(browser, url, who)[0] == 403, who
            assert "/hub/login" in browser.get(f"{url}/hub/home")[1]
        # A state that another browser was given is refused.
        started = Browser().get(f"{url}/hub/oauth_login")[1]
        assert Browser().get(started, {"sub": "emmy"})[0] == 400
        late = Browser()
        address = late.get(f"{url}/hub/oauth_login")[1]
        state = urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)["state"][0]
    # The provider is down when the hub asks it.
    back = urllib.parse.urlencode({"code": "x", "state": state})
    status, _, page = late.get(f"{url}/hub/oauth_callback?{back}")
    assert (status, "does not answer" in page) == (503, True), json.dumps(page[-2000:])
    assert emmy.get(f"{url}/hub/home")[0] == 200  # who is in stays in


OIDC = {
    "issuer": "PROVIDER",
    **{"client_id": "notebook", "title": "your school account", "username": "email"},
    **{"domains": ["school.test"], "groups": [], "groups_claim": "groups"},
}


@pytest.mark.parametrize(
    "hub", [("appliance", {"oidc": OIDC}), ("chart", {"oidc": OIDC})], indirect=True
)
def test_who_may_come_in_by_another_provider(
    hub: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a browser, with groups: tests/integration/notebook/hosted/test_school.py."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    url, provider = hub
    assert "does not answer" in Browser().get(f"{url}/hub/oauth_login")[2]
    with run_server_in_thread(int(provider.rpartition(":")[2]), user_claims=USERS):
        assert "Sign in with your school account" in Browser().get(f"{url}/hub/login")[2]
        emmy = Browser()
        agree(emmy, url, "emmy")
        assert "emmy@school.test" in emmy.get(f"{url}/hub/home")[2]
        assert agree(Browser(), url, "carl")[0] == 403


@pytest.mark.parametrize(
    "hub",
    [("appliance", {"oidc": OIDC}, "-40m"), ("appliance", {"oidc": OIDC}, "+40m")],
    indirect=True,
)
def test_a_hub_whose_clock_is_wrong(hub: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the provider says is asked over its own connection, and believed whatever the hour."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    url, provider = hub
    with run_server_in_thread(int(provider.rpartition(":")[2]), user_claims=USERS):
        emmy = Browser()
        agree(emmy, url, "emmy")
        status, address, page = emmy.get(f"{url}/hub/home")
        assert (status, address) == (200, f"{url}/hub/home")
        assert "emmy@school.test" in page
        assert agree(Browser(), url, "carl")[0] == 403
        status, _, _ = emmy.get(f"{url}/hub/logout")
        assert "/hub/login" in emmy.get(f"{url}/hub/home")[1]


NOT_VERIFIED = (False, "false", "False", None, 0, 1, "1", "yes", "")
CLAIMS = (
    # The administrator's name, with what the rules refuse.
    User(sub="admin0", claims={"email": "emmy@school.test", "groups": ["math"]}),
    *(
        User(
            sub=f"admin{n}",
            claims={"email": "emmy@school.test", "email_verified": claim, "groups": ["math"]},
        )
        for n, claim in enumerate(NOT_VERIFIED, start=1)
    ),
    person("cook", "school.test", email="emmy@school.test", groups=["cooks"]),
    person("capitals", "school.test", email="EMMY@School.test", groups=["cooks"]),
    # No name, or one that only looks like somebody's.
    User(sub="nameless", claims={"email_verified": True, "groups": ["math"]}),
    person("number", "school.test", email=5, groups=["math"]),
    person("list", "school.test", email=["emmy@school.test"], groups=["math"]),
    person("kelvin", "school.test", email="\u212aim@school.test", groups=["math"]),
    person("blank", "school.test", email="kim @school.test", groups=["math"]),
    person("slash", "school.test", email="kim/../emmy@school.test", groups=["math"]),
    person("other", "school.test", email="emmy@school.test@elsewhere.test", groups=["math"]),
)
CAREFUL = {"oidc": {**OIDC, "groups": ["math"]}}


@pytest.mark.parametrize("hub", [("appliance", CAREFUL)], indirect=True)
def test_who_may_not_come_in_by_what_the_provider_says(
    hub: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Administrators neither."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    url, provider = hub
    users = (*CLAIMS, person("Emmy", "School.test", groups=["math"]))
    with run_server_in_thread(int(provider.rpartition(":")[2]), user_claims=users):
        said = {}
        for user in CLAIMS:
            browser = Browser()
            said[user.sub] = agree(browser, url, user.sub)[0]
            assert "/hub/login" in browser.get(f"{url}/hub/home")[1], user.sub
        assert said == dict.fromkeys(said, 403)
        emmy = Browser()
        agree(emmy, url, "emmy")
        assert emmy.get(f"{url}/hub/admin")[0] == 200


class Answering(http.server.BaseHTTPRequestHandler):
    """A provider that publishes what the test says."""

    published = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.published)))
        self.end_headers()
        self.wfile.write(self.published)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("hub", [("appliance", {"oidc": OIDC})], indirect=True)
@pytest.mark.parametrize("published", [b"{}", b"[]", b"<html>", b'{"token_endpoint": "/t"}', b""])
def test_a_provider_that_publishes_nothing_useful(
    hub: tuple[str, str], published: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, provider = hub
    monkeypatch.setattr(Answering, "published", published)
    port = int(provider.rpartition(":")[2])
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Answering) as server:
        threading.Thread(target=server.serve_forever).start()
        status, _, page = Browser().get(f"{url}/hub/oauth_login")
        server.shutdown()
    assert (status, "answers what cannot be used" in page) == (502, True), page[-2000:]


@pytest.mark.parametrize("hub", [("appliance", {"oidc": OIDC})], indirect=True)
def test_a_provider_that_does_not_answer_holds_nobody_up(hub: tuple[str, str]) -> None:
    """It takes connections and is silent; the hub is asked once, not once a click."""
    url, provider = hub
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", int(provider.rpartition(":")[2])), backlog=50) as door:
        threading.Thread(target=_take, args=(door, taken), daemon=True).start()
        with ThreadPoolExecutor(30) as crowd:
            clicks = [crowd.submit(Browser().get, f"{url}/hub/oauth_login") for _ in range(30)]
            while not taken:
                time.sleep(0.05)
            # While that one waits, everybody else is served.
            assert Browser().get(f"{url}/hub/login")[0] == 200
            assert not any(click.done() for click in clicks)
            assert {click.result()[0] for click in clicks} == {503}
        assert Browser().get(f"{url}/hub/oauth_login")[0] == 503
        assert len(taken) == 1
        door.shutdown(socket.SHUT_RDWR)


def _take(door: socket.socket, taken: list[socket.socket]) -> None:
    with contextlib.suppress(OSError):
        while True:
            taken.append(door.accept()[0])


@pytest.fixture(scope="module")
def slapd() -> Path:
    """Debian's slapd in a directory of its own, kept for the next run."""
    target = places.cache() / "tests" / "slapd"
    target.parent.mkdir(parents=True, exist_ok=True)
    with holding(target.with_suffix(".lock"), wait=True):
        if not target.exists():
            part = target.with_suffix(".part")
            subprocess.run(["rm", "-rf", part], check=True)
            unpack(part)
            part.rename(target)
    return target


LDAP = {
    "ldap": {"server": "DIRECTORY", "tls": "insecure", "template": TEMPLATE, "groups": [MATH]},
    "admins": ["emmy"],
}


@pytest.mark.parametrize("hub", [("appliance", LDAP), ("chart", LDAP)], indirect=True)
def test_who_may_come_in_by_the_directory(
    hub: tuple[str, str], slapd: Path, tmp_path: Path
) -> None:
    """In a guest: tests/integration/notebook/hosted/test_school.py."""
    url, provider = hub

    def sign_in(name: str, password: str) -> tuple[Browser, int, str]:
        browser = Browser()
        found = re.search(r'name="_xsrf" value="([^"]+)"', browser.get(f"{url}/hub/login")[2])
        assert found
        form = {"username": name, "password": password, "_xsrf": found[1]}
        status, _, page = browser.get(f"{url}/hub/login?next=%2Fhub%2Fhome", form)
        return browser, status, page

    _, status, page = sign_in("emmy", "invariant")
    assert (status, "does not answer" in page) == (503, True), page[-2000:]
    with directory(slapd, tmp_path / "directory", int(provider.rpartition(":")[2])):
        emmy, status, page = sign_in("emmy", "invariant")
        assert (status, "emmy" in page) == (200, True), page[-2000:]
        assert emmy.get(f"{url}/hub/admin")[0] == 200  # one of sign_in.admins
        for name, password in REFUSED:
            browser, status, _ = sign_in(name, password)
            assert status in (401, 403), (name, status)
            assert "/hub/login" in browser.get(f"{url}/hub/home")[1]
    assert emmy.get(f"{url}/hub/home")[0] == 200  # who is in stays in


@pytest.mark.parametrize("hub", [("appliance", LDAP)], indirect=True)
def test_a_directory_is_not_guessed_at_and_holds_nobody_up(
    hub: tuple[str, str], slapd: Path, tmp_path: Path
) -> None:
    url, provider = hub
    browser = Browser()
    found = re.search(r'name="_xsrf" value="([^"]+)"', browser.get(f"{url}/hub/login")[2])
    assert found

    def guess(password: str) -> int:
        form = {"username": "emmy", "password": password, "_xsrf": found[1]}
        return browser.get(f"{url}/hub/login", form)[0]

    port = int(provider.rpartition(":")[2])
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", port), backlog=50) as door:
        threading.Thread(target=_take, args=(door, taken), daemon=True).start()
        with ThreadPoolExecutor(4) as crowd:
            waiting = [crowd.submit(guess, "invariant") for _ in range(4)]
            while not taken:
                time.sleep(0.05)
            assert Browser().get(f"{url}/hub/login")[0] == 200
            assert not any(each.done() for each in waiting)
            assert {each.result() for each in waiting} == {503}
        assert len(taken) == 1
        door.shutdown(socket.SHUT_RDWR)
    time.sleep(QUIET)
    with directory(slapd, tmp_path / "directory", port), ThreadPoolExecutor(40) as crowd:
        said = list(crowd.map(guess, [*["wrong"] * 50, "invariant", *["wrong"] * 9]))
    assert set(said) == {403, 429}
    assert said.count(429) > 45
