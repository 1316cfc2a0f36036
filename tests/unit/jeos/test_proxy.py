"""Which proxy a build has, and that nobody is told its password."""

import subprocess
from collections.abc import Callable

import pytest

from provision.errors import HostNotReadyError
from provision.jeos import proxy
from provision.jeos.proxy import Proxy

OURS = "http://user:p%40ss@proxy.test:3128"
Host = Callable[..., None]


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with these variables and this configuration of apt; none at first."""

    def make(apt: str = "", **environment: str) -> None:
        for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        answer = subprocess.CompletedProcess([], 0, stdout=apt)
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)

    make()
    return make


def test_without_any_there_is_none() -> None:
    assert proxy.of(None) == Proxy()
    assert proxy.of(None).environment() == {}


def test_the_environments_comes_before_apts(host: Host) -> None:
    host("Acquire::http::Proxy=http://apt.test:1\n", https_proxy=OURS, no_proxy="lan.test")
    found = proxy.of(None)
    assert found.environment() == {"https_proxy": OURS, "no_proxy": "lan.test"}
    assert found.source == "the environment"


@pytest.mark.parametrize(
    ("apt", "expected"),
    [
        ("Acquire::http::Proxy=http://a.test:1", {"http": "http://a.test:1"}),
        ("Acquire::http::proxy=a.test:1\nAcquire::https::Proxy=DIRECT", None),
        ("Acquire::http::Proxy=http://a.test:1\nAcquire::http::Proxy::b.test=DIRECT", {}),
        ("Acquire::http::Timeout=5\nAcquire::http::Proxy=DIRECT", "none"),
    ],
)
def test_apts(host: Host, apt: str, expected: object) -> None:
    host(apt + "\n")
    found = proxy.of(None).urls
    if expected == "none":
        assert found == {}
    elif expected is None:
        assert found == {"http": "http://a.test:1"}
    else:
        assert found == dict.fromkeys(("http", "https"), "http://a.test:1")


def test_a_configured_one_borrows_the_password_of_the_same_only(host: Host) -> None:
    host(http_proxy=OURS)
    same = proxy.of("http://proxy.test:3128/")
    assert same.environment() == dict.fromkeys(("http_proxy", "https_proxy"), OURS)
    other = proxy.of("http://other.test:3128")
    assert "p%40ss" not in str(other.environment())


@pytest.mark.parametrize(
    "url", [OURS, "http://user:p@ss/x@proxy.test:3128", "user:p%40ss@proxy.test:3128"]
)
def test_nobody_is_shown_the_password(host: Host, url: str) -> None:
    host(http_proxy=url)
    try:
        found = proxy.of(None)
    except HostNotReadyError as error:
        told = f"{error} {error.hint}"
    else:
        assert str(found) == "http://proxy.test:3128"
        told = f"{found} {found!r} {[found]}"
    assert "p%40ss" not in told
    assert "p@ss" not in told


@pytest.mark.parametrize("url", ["socks5://proxy.test:1080", "http://", "http://a b", 'http://a"'])
def test_what_is_no_http_proxy_is_named(host: Host, url: str) -> None:
    host(http_proxy=url)
    with pytest.raises(HostNotReadyError, match="is no HTTP proxy"):
        proxy.of(None)


def test_a_guest_finds_this_hosts_loopback_at_its_gateway() -> None:
    urls = {"http": "http://u:p@localhost:3128", "https": "http://127.0.0.1:8"}
    assert Proxy(urls).within("10.0.2.2").urls == {
        "http": "http://u:p@10.0.2.2:3128",
        "https": "http://10.0.2.2:8",
    }
    assert Proxy({"http": OURS}).within("10.0.2.2").urls == {"http": OURS}
