"""Leave to use a Google Drive, against a provider of our own: Google's are only its addresses."""

import json
import urllib.error
import urllib.parse
import urllib.request

import pytest
from oidc_provider_mock import User, run_server_in_thread
from storehome import Home

CLIENT = ("--client-id", "notebook")


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *words: object) -> None:
        return None


def agree(address: str) -> str:
    """What a person does in the browser; the address at which it ends."""
    form = urllib.parse.urlencode({"sub": "emmy"}).encode()
    try:
        urllib.request.build_opener(_Stay).open(address, form, timeout=60)
    except urllib.error.HTTPError as error:
        return str(error.headers["Location"])
    raise AssertionError("the provider sent nobody back")


def answer(home: Home, given: str = "") -> tuple[str, str]:
    """Connect a Drive; the address that was shown, and all that was said."""
    with home.begin("connect", "drive", "drive", *CLIENT) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("not-so-secret\n")
        process.stdin.flush()
        address = ""
        while not address.startswith("http"):
            line = process.stdout.readline()
            assert line, "it ended without an address"
            address = line.strip()
        process.stdin.write(f"{given or agree(address)}\n")
        process.stdin.close()
        return address, process.stdout.read()


def test_a_student_allows_it_in_the_browser(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    with run_server_in_thread(user_claims=[User(sub="emmy")]) as server:
        place = f"http://127.0.0.1:{server.server_port}/oauth2"
        home.env = {
            "RCLONE_DRIVE_AUTH_URL": f"{place}/authorize",
            "RCLONE_DRIVE_TOKEN_URL": f"{place}/token",
            # Google itself is out of reach: nothing answers there.
            "HTTPS_PROXY": "http://127.0.0.1:9",
        }
        address, said = answer(home)
        assert address.startswith(f"{place}/authorize?")
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)
        assert asked["client_id"] == ["notebook"]
        assert asked["access_type"] == ["offline"]
        # With the token it goes on to Google's own address, and says that it does not answer.
        assert "drive is not connected" in said
        assert "googleapis.com" in said
        assert "access_token" not in said
        _, said = answer(home, "https://elsewhere.test/?code=1")
        assert "this is not an address" in said
        said = home.store("list")[1]
        assert said == "", json.dumps(said)
