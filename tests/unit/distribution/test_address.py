"""URLs as users write them: who is asked, who is told the password, and what is shown."""

import base64

import pytest

from provision.distribution import address
from provision.errors import UsageError


def _login(pair: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@pytest.mark.parametrize(
    ("text", "url", "login"),
    [
        ("http://x/", "http://x", {}),
        ("http://x:81/a/", "http://x:81/a", {}),
        ("https://[2001:db8::5]:8443/a", "https://[2001:db8::5]:8443/a", {}),
        ("http://u:p@x/a", "http://x/a", _login("u:p")),
        ("http://u@x", "http://x", _login("u:")),
        ("http://u:p%40%3A%2fß@x", "http://x", _login("u:p@:/ß")),
        ("http://u:p@q@x", "http://x", _login("u:p@q")),
    ],
)
def test_a_url_and_who_asks(text: str, url: str, login: dict[str, str]) -> None:
    found = address.parse(text)
    assert (found.url, found.login) == (url, login)
    assert "p%40" not in repr(found) and "Basic" not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "ftp://u:SECRET@x/",
            "file:///etc/SECRET@x",
            "http://u:SECRET@",
            "http://u:SECRET@x:port/",
        ),
        *("http://u:SECRET@x:65536/", "http://u:a/SECRET@x/", "http://u:SECRET@x/a b"),
        *("http://u:SECRET@[x/", "http://u:SECRET@x\r\nHost: y", "u:SECRET@x://"),
    ],
)
def test_what_is_no_url_shows_no_password(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        address.parse(text)
    assert "SECRET" not in str(caught.value)


def test_another_server_is_told_no_password() -> None:
    here = address.parse("http://u:p@x/a")
    for location in ("/b", "b", "http://x/b", "http://x:80/b", "//x/b", "http://v:w@x/b"):
        assert here.redirect("http://x/a/c", location).login == _login("u:p"), location
    for location in ("http://y/b", "https://x/b", "http://x:81/b", "//y", "http://v:w@y/b"):
        assert here.redirect("http://x/a/c", location).login == {}, location
    for location in ("file:///etc/passwd", "ftp://x/b", "javascript:x", "http://x:y/"):
        with pytest.raises(UsageError):
            here.redirect("http://x/a/c", location)


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "http://x/a", None),
        ({"http_proxy": "http://p:3128"}, "http://x/a", "http://p:3128"),
        ({"http_proxy": "p:3128/"}, "http://x/a", "http://p:3128"),
        ({"http_proxy": "http://p:3128"}, "https://x/a", None),
        ({"https_proxy": "http://p:3128"}, "https://x/a", "http://p:3128"),
        ({"all_proxy": "http://p:3128"}, "https://x/a", "http://p:3128"),
        ({"http_proxy": "http://p:1", "no_proxy": "y, x"}, "http://x/a", None),
        ({"http_proxy": "http://p:1", "no_proxy": ".school"}, "http://x.school/a", None),
        ({"http_proxy": "http://p:1", "no_proxy": "*"}, "http://x/a", None),
        ({"http_proxy": "http://p:1", "no_proxy": "x:81"}, "http://x:82/a", "http://p:1"),
        ({"http_proxy": "http://p:1", "no_proxy": "10.0.0.0/8"}, "http://10.1.2.3:8080/a", None),
        (
            {"http_proxy": "http://p:1", "no_proxy": "10.0.0.0/8,junk/x"},
            "http://11.1.2.3/",
            "http://p:1",
        ),
    ],
)
def test_proxies_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str | None
) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = address.proxy_of(url)
    assert (found.url if found else None) == proxy


def test_a_proxys_password_is_sent_to_the_proxy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", "http://u:SECRET%21@p:3128")
    found = address.proxy_of("http://x/a")
    assert found is not None
    assert found.url == "http://p:3128"
    assert found.login == {"Proxy-Authorization": _login("u:SECRET!")["Authorization"]}
    monkeypatch.setenv("http_proxy", "socks5://u:SECRET@p:1080")
    with pytest.raises(UsageError) as caught:
        address.proxy_of("http://x/a")
    assert "SECRET" not in str(caught.value)
