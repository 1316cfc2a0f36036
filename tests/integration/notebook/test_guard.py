"""What the hub asks of a request besides the cookie: that its own page sent it, the password."""

import urllib.error
import urllib.parse
import urllib.request

import pytest
from guest import Guest
from student import RefusedError, Student

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def admin(guest: Guest) -> Student:
    """The administrator's browser, just signed in: it has the cookie and nothing else."""
    password = guest.run("cat /var/lib/notebook/first-password").strip()
    browser = Student(guest.url, "sageadm", password)
    browser.request("GET", "/hub/login")
    form = {"username": "sageadm", "password": password, "_xsrf": xsrf(browser)}
    browser.request("POST", "/hub/login?next=%2Fhub%2Fhome", form, form=True)
    return browser


def xsrf(browser: Student) -> str:
    return next(str(c.value) for c in browser.cookies if c.name == "_xsrf")


def act(browser: Student, **words: str) -> str:
    form = {**words, "_xsrf": xsrf(browser)}
    return browser.request("POST", "/hub/classroom/do", form, form=True)


def test_a_stolen_visit_changes_no_password_token_or_name(guest: Guest, admin: Student) -> None:
    emmy = Student(guest.url, "emmy").sign_in()
    for words in ({"action": "password"}, {"action": "delete", "confirm": "emmy"}):
        with pytest.raises(RefusedError, match="403") as refused:
            act(admin, student="emmy", **words)
        assert 'id="confirm"' in refused.value.body
        with pytest.raises(RefusedError, match="403") as refused:
            act(admin, student="emmy", password="a guess", **words)  # noqa: S106 - a wrong one
        assert "not the password" in refused.value.body
    for method, path in (
        ("POST", "/hub/api/users/sageadm/tokens"),
        ("POST", "/hub/api/users/emmy/tokens"),
        ("DELETE", "/hub/api/users/emmy"),
        ("POST", "/hub/api/users/mine"),
        ("PATCH", "/hub/api/users/emmy"),
        ("POST", "/hub/api/shutdown"),
    ):
        with pytest.raises(RefusedError, match="password again"):
            admin.json(method, path, {"name": "emmy", "admin": True})
    for page in ("token", "admin"):
        assert 'id="confirm"' in admin.request("GET", f"/hub/{page}")
    Student(guest.url, "emmy").sign_in()  # with the password that she has
    assert not emmy.json("GET", "/hub/api/user")["admin"]


def test_the_password_opens_them_for_a_while(guest: Guest, admin: Student) -> None:
    Student(guest.url, "guarded").sign_in()  # nobody else's: it has another password from now on
    page = act(admin, student="guarded", action="password", password=admin.password)
    assert 'id="password"' in page
    assert admin.json("POST", "/hub/api/users/sageadm/tokens", {})["token"]
    other = Student(guest.url, "sageadm", admin.password)  # another browser is asked
    other.request("GET", "/hub/login")
    form = {"username": "sageadm", "password": admin.password, "_xsrf": xsrf(other)}
    other.request("POST", "/hub/login?next=%2Fhub%2Fhome", form, form=True)
    with pytest.raises(RefusedError, match="password again"):
        other.json("POST", "/hub/api/users/sageadm/tokens", {})


def test_what_another_address_sends_is_refused(guest: Guest, admin: Student) -> None:
    def sent(method: str, path: str, **headers: str) -> int:
        body = urllib.parse.urlencode({"_xsrf": xsrf(admin)}).encode()
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        body = None if method == "GET" else body
        request = urllib.request.Request(guest.url + path, body, told, method=method)
        try:
            with admin.opener.open(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    own, port = guest.url, guest.url.rpartition(":")[2]
    there = own.replace(port, str(int(port) + 1))
    assert sent("GET", "/hub/home") == 200
    assert sent("GET", "/hub/home", Sec_Fetch_Site="same-site", Sec_Fetch_Mode="cors") == 403
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert sent("GET", "/hub/home", Sec_Fetch_Dest="document", **link) == 200
    assert sent("GET", "/hub/home", Sec_Fetch_Dest="iframe", **link) == 403
    assert sent("POST", "/hub/classroom/do", Origin=there) == 403
    assert sent("POST", "/hub/classroom/do", Origin="null") == 403
    assert sent("POST", "/hub/classroom/do", Origin=own) == 400  # no action is named
