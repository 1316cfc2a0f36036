import pytest

from provision.guest.hub.guard import foreign, needs_password

HOST = "10.0.0.5:8000"


def fetched(site: str, mode: str = "cors", dest: str = "empty", **more: str) -> dict[str, str]:
    return {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest, **more}


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", fetched("same-site")),
        ("GET", fetched("same-site", "no-cors", "image")),
        ("GET", fetched("cross-site", "navigate", "iframe")),
        ("POST", fetched("same-site", "no-cors")),
        ("POST", fetched("cross-site", "navigate", "document")),
        ("POST", fetched("same-site", "navigate", "document", Origin="http://10.0.0.5:8000")),
        ("DELETE", fetched("same-site")),
        # A browser that came unencrypted tells no more than this.
        ("POST", {"Origin": "http://10.0.0.5:8443"}),
        ("POST", {"Origin": "http://10.0.0.5"}),
        ("POST", {"Origin": "null"}),
        ("POST", {"Origin": ""}),
        ("DELETE", {"Origin": "http://other.example.org:8000"}),
    ],
)
def test_another_address_sends_nothing(method: str, headers: dict[str, str]) -> None:
    assert foreign(method, headers, HOST)


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {}),
        ("POST", {}),  # no browser
        ("GET", fetched("none", "navigate", "document")),
        ("GET", fetched("cross-site", "navigate", "document")),  # a link
        ("GET", fetched("same-site", "navigate", "document")),
        ("POST", fetched("same-origin", Origin="http://10.0.0.5:8000")),
        ("POST", fetched("none", "navigate", "document")),
        ("POST", {"Origin": "http://10.0.0.5:8000"}),
        ("POST", {"Origin": "https://10.0.0.5:8000"}),
    ],
)
def test_the_hubs_own_pages_and_links_do(method: str, headers: dict[str, str]) -> None:
    assert not foreign(method, headers, HOST)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "token"),
        ("GET", "admin"),
        ("POST", "api/users"),
        ("POST", "api/users/emmy"),
        ("PATCH", "api/users/emmy"),
        ("DELETE", "api/users/emmy"),
        ("POST", "api/users/sageadm/tokens"),
        ("DELETE", "api/users/sageadm/tokens/a1"),
        ("POST", "api/users/server/tokens"),
        ("POST", "api/groups/all/users"),
        ("POST", "api/shares/emmy/"),
        ("POST", "api/shutdown"),
        ("PATCH", "api/proxy"),
    ],
)
def test_passwords_tokens_and_names_need_the_password(method: str, path: str) -> None:
    assert needs_password(method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "home"),
        ("GET", "classroom"),
        ("GET", "api/users"),
        ("POST", "login"),
        ("POST", "spawn/emmy"),
        ("POST", "api/users/emmy/server"),
        ("DELETE", "api/users/emmy/server"),
        ("DELETE", "api/users/emmy/servers/"),
        ("POST", "api/users/emmy/activity"),
        ("POST", "api/oauth2/authorize"),
        ("POST", "classroom/do"),  # which asks by itself, and keeps what was filled in
    ],
)
def test_an_everyday_thing_does_not(method: str, path: str) -> None:
    assert not needs_password(method, path)
