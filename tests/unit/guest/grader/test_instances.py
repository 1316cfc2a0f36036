"""Named instances: their files, and the proxy's configuration that follows from them."""

from pathlib import Path

import pytest

from provision.errors import ConfigError
from provision.guest.grader import client, instances
from provision.guest.grader.settings import Settings
from provision.guest.sandbox.gate import proxy_address, variables


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "default.toml").write_text('host = "127.0.0.1"\nport = 8090\n')
    return tmp_path


def test_the_proxy_lets_through_what_is_listed_at_the_instances_own_port() -> None:
    text = instances.proxy_configuration(
        {
            "a": Settings(network=("pypi.org", ".debian.org"), proxy="127.0.0.1:3128"),
            "b": Settings(network=("cache.lan:8081",), proxy="127.0.0.1:3129"),
            "c": Settings(),
        }
    )
    lines = text.splitlines()
    assert lines[-1] == "http_access deny all"
    assert [line for line in lines if line.startswith("http_port")] == [
        "http_port 127.0.0.1:3128 name=a",
        "http_port 127.0.0.1:3129 name=b",
    ]
    rules = [line for line in lines if line.startswith("http_access")]
    assert rules == [
        "http_access deny to_localhost",
        "http_access deny CONNECT at_a host_a_0 !tls_a_0",
        "http_access allow at_a host_a_0 port_a_0",
        "http_access deny CONNECT at_a host_a_1 !tls_a_1",
        "http_access allow at_a host_a_1 port_a_1 !private",
        "http_access allow at_b host_b_0 port_b_0",
        "http_access deny all",
    ]
    assert "acl host_a_1 dstdomain -n .debian.org" in lines
    assert "acl port_b_0 port 8081" in lines


def test_every_tool_is_told_of_the_proxy() -> None:
    found = variables()
    assert found["http_proxy"] == found["HTTPS_PROXY"] == "http://127.0.0.1:3128"
    assert "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=3128" in found["MAVEN_OPTS"]


def test_the_proxys_address_is_no_name() -> None:
    assert proxy_address("127.0.0.1:3128") == ("127.0.0.1", 3128)
    for wrong in ("localhost:3128", "127.0.0.1", "127.0.0.1:x", ""):
        with pytest.raises(ConfigError, match="ADDRESS:PORT"):
            proxy_address(wrong)


def test_grade_finds_an_instance_by_its_name(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "INSTANCES", directory)
    assert client.address("default") == "http://127.0.0.1:8090"
    with pytest.raises(client.GraderError, match=r"no instance nope; there are: default"):
        client.address("nope")
