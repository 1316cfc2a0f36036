"""Runs in the guest: our proxy before a server that tries what a student's could.

Prints as JSON what the server was sent, and what of its answers came through.
"""

import http.client
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from typing import Any

from provision.guest.hub.visit import Sessions

HUB, SERVER, WEB, SESSIONS, API = 18081, 18082, 18000, 18443, 18001
TOKEN = "a-token"  # noqa: S105 - a test's
BROWSER = "0123456789abcdef" * 2
COOKIES = {
    "jupyterhub-hub-login": "hub",
    "__Host-jupyterhub-hub-login": "hub",
    "jupyterhub-session-id": "session",
    "jupyterhub-user-mallory": "own",
    "jupyterhub-user-mallory-oauth-state-1": "own",
    "jupyterhub-user-emmy": "another's",
    "jupyterhub-user-mallory2": "another's",
    "notebook-device": "hub",
    "appliance-browser": BROWSER,
    "_xsrf": "own",
}
SET = (
    "_xsrf=1; Path=/user/mallory/",
    "jupyterhub-user-mallory=1; Path=/user/mallory/; HttpOnly",
    "jupyterhub-user-mallory=2; Path=/",
    "jupyterhub-user-mallory=3; Path=/user/mallory/; Domain=127.0.0.1",
    "jupyterhub-user-mallory=4",
    "jupyterhub-user-mallory=5; Path=/user/mallory/; path=/",
    "jupyterhub-user-emmy=6; Path=/user/mallory/",
    "jupyterhub-session-id=7; Path=/user/mallory/",
    "_xsrf=8; Path=/hub/",
    "jupyterhub-hub-login=9; Path=/hub/",
    "__Host-jupyterhub-hub-login=10; Path=/; Secure",
    "appliance-visit=11; Path=/",
)
HOSTWIDE = {
    "Service-Worker-Allowed": "/",
    "Clear-Site-Data": '"cookies"',
    "Alt-Svc": 'h2=":1"',
    "Strict-Transport-Security": "max-age=9",
}
got: list[dict[str, Any]] = []


class Server(http.server.BaseHTTPRequestHandler):
    """Writes down what it is sent, and answers with all that it should not."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a request, or an upgrade."""
        port = self.server.server_address[1]
        cookie = self.headers.get("Cookie")
        got.append({"path": self.path, "cookie": cookie, "by": "hub" if port == HUB else "server"})
        upgrade = self.headers.get("Upgrade")
        self.send_response(101 if upgrade else 200)
        if upgrade:
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
        for cookie in SET:
            self.send_header("Set-Cookie", cookie)
        for name, value in HOSTWIDE.items():
            self.send_header(name, value)
        if not upgrade:
            self.send_header("Content-Length", "0")
        self.end_headers()
        self.close_connection = bool(upgrade)
        if self.path.endswith("?hold"):
            self.rfile.read()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def ask(port: int, path: str, *, method: str = "GET", **headers: str) -> dict[str, Any]:
    """The status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=sent)
    answer = connection.getresponse()
    return {
        "status": answer.status,
        "set": answer.headers.get_all("Set-Cookie") or [],
        "headers": {name.lower(): value for name, value in answer.headers.items()},
    }


def upgrade(port: int, path: str, cookie: str, authorization: str = "") -> str:
    """The head of what answers a websocket."""
    more = f"Authorization: {authorization}\r\n" if authorization else ""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nCookie: {cookie}\r\n{more}\r\n".encode()
        )
        return connection.recv(65536).decode()


def started(program: str, subdomain_host: str = "") -> subprocess.Popen[bytes]:
    """The proxy, with a route to the server."""
    told: dict[str, Any] = {"interface": "127.0.0.1", "port": WEB, "sessions_port": SESSIONS}
    told |= {"hub_port": HUB, "api_port": API, "subdomain_host": subdomain_host}
    environment = {**os.environ, "CONFIGPROXY_AUTH_TOKEN": TOKEN}
    proxy = subprocess.Popen(
        ["/usr/bin/node", program, json.dumps(told)], env=environment, stdout=subprocess.DEVNULL
    )
    route = urllib.request.Request(
        f"http://127.0.0.1:{API}/api/routes/user/mallory",
        json.dumps({"target": f"http://127.0.0.1:{SERVER}"}).encode(),
        {"Authorization": f"token {TOKEN}"},
    )
    while proxy.poll() is None:
        try:
            urllib.request.urlopen(route, timeout=30).close()
            break
        except OSError:
            time.sleep(0.2)
    return proxy


def entered(
    path: str = "/user/mallory/lab",
    *,
    age: float = 0,
    token: str = TOKEN,
    kind: str = "visit",
    subdomain_host: str = "",
) -> str:
    """The address with a ticket."""
    sessions = Sessions(SESSIONS - WEB, token, secure=False, subdomain_host=subdomain_host)
    asked = (kind, "mallory", path, BROWSER, f"127.0.0.1:{WEB}")
    return f"/{kind}?ticket={sessions.ticket(*asked, now=time.time() - age)}"


def tried() -> dict[str, Any]:
    """All that is tried."""
    held = "; ".join(f"{name}={value}" for name, value in COOKIES.items())
    browser = f"appliance-browser={BROWSER}"
    ours = entered()
    first = ask(SESSIONS, ours, Cookie=browser)
    visit = first["set"][0].partition(";")[0]
    cookie = f"{held}; {visit}"
    facts: dict[str, Any] = {
        "ticket": first,
        "again": ask(SESSIONS, ours, Cookie=browser)["status"],
        "again_at": ask(SESSIONS, ours, Cookie=browser)["headers"]["location"],
        "late": ask(SESSIONS, entered(age=61), Cookie=browser)["set"],
        "other_browser": ask(SESSIONS, entered(), Cookie="appliance-browser=x")["set"],
        "no_browser": ask(SESSIONS, entered())["set"],
        "forged": ask(SESSIONS, entered(token="another"), Cookie=browser)["status"],  # noqa: S106
        "elsewhere": ask(SESSIONS, entered("//evil.example/"), Cookie=browser)["status"],
        "to_another": ask(SESSIONS, entered("/user/emmy/"), Cookie=browser)["status"],
        "visit_as_ticket": ask(
            SESSIONS, f"/visit?ticket={visit.partition('=')[2]}", Cookie=browser
        )["status"],
        "ticket_as_visit": ask(
            SESSIONS,
            "/user/mallory/",
            Cookie=f"appliance-visit={entered().partition('=')[2]}",
            Sec_Fetch_Mode="cors",
        )["status"],
    }
    got.clear()
    facts["page"] = ask(SESSIONS, "/user/mallory/lab", Cookie=cookie)
    facts["page_sent"] = list(got)
    got.clear()
    facts["socket"] = upgrade(SESSIONS, "/user/mallory/api", cookie)
    facts["socket_sent"] = list(got)
    got.clear()
    facts["token"] = ask(WEB, "/user/mallory/api", Cookie=cookie, Authorization="token x")
    facts["program_socket"] = upgrade(WEB, "/user/mallory/api", cookie, "token x")[:12]
    facts["token_sent"] = list(got)
    got.clear()
    asked: dict[str, tuple[int, str, dict[str, str]]] = {
        "at the hub's port": (WEB, "/user/mallory/api", {"Cookie": cookie}),
        "by a name in parts": (SESSIONS, "/user/mallory%2F..%2Femmy/", {"Cookie": cookie}),
        "without a visit": (SESSIONS, "/user/mallory/", {"Cookie": held}),
        "by basic words": (SESSIONS, "/user/mallory/", {"Authorization": "Basic eDp5"}),
        "another's": (SESSIONS, "/user/emmy/", {"Cookie": cookie}),
        "a worker": (SESSIONS, "/user/mallory/w", {"Cookie": cookie, "Service_Worker": "script"}),
        "the hub": (SESSIONS, "/hub/home", {"Cookie": cookie}),
        "unreadable": (SESSIONS, "/user/%zz/", {"Cookie": cookie}),
    }
    facts["refused"] = {
        name: ask(port, path, Sec_Fetch_Mode="cors", **headers)["status"]
        for name, (port, path, headers) in asked.items()
    }
    facts["sockets"] = {
        "at the hub's port": upgrade(WEB, "/user/mallory/api", cookie)[:12],
        "without a visit": upgrade(SESSIONS, "/user/mallory/api", held)[:12],
        "another's": upgrade(SESSIONS, "/user/emmy/api", cookie)[:12],
        "the hub": upgrade(SESSIONS, "/hub/api", cookie)[:12],
    }
    for path in ("/%75ser/mallory/x", "//user/mallory/x", "/user%2Fmallory/x", "/user/mallory%2fx"):
        for port in (WEB, SESSIONS):
            ask(port, path, Cookie=held)
            upgrade(port, path, held)
    facts["reached"] = [each for each in got if each["by"] == "server"]
    got.clear()
    facts["static"] = ask(SESSIONS, "/hub/static/x.js", Cookie=cookie)["status"]
    facts["static_sent"] = list(got)
    facts["led"] = {
        path: ask(SESSIONS, path, Host=f"school.test:{SESSIONS}")["headers"].get("location")
        for path in ("/user/emmy/lab?x=1", "/hub/home", "/", "http://evil.example/")
    }
    return facts


def open_still(connection: socket.socket, seconds: float) -> bool:
    """Whether nobody closes a connection within so many seconds."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return True
    except ConnectionError:
        pass
    return False


def left(visit: str) -> dict[str, Any]:
    """What is open to a browser that signs out, before and afterwards."""

    def asked() -> int:
        status = ask(SESSIONS, "/user/mallory/api", Cookie=visit, Sec_Fetch_Mode="cors")["status"]
        return int(status)

    facts: dict[str, Any] = {"before": asked()}
    with socket.create_connection(("127.0.0.1", SESSIONS), 30) as connection:
        connection.sendall(
            f"GET /user/mallory/api?hold HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nCookie: {visit}\r\n\r\n".encode()
        )
        facts["socket"] = connection.recv(65536).decode()[:12]
        away = entered("/hub/logout", kind="leave")
        facts["no_ticket"] = [
            ask(SESSIONS, place)["status"]
            for place in ("/leave?ticket=x", away.replace("ticket=", "ticket=x"),
                          entered().replace("visit?", "leave?"), away.replace("leave?", "visit?"))
        ]  # fmt: skip
        facts["still"] = asked(), open_still(connection, 1)
        facts["away"] = ask(SESSIONS, away, Cookie=visit)
        facts["open"] = open_still(connection, 30)
    facts["after"] = asked()  # a page that kept the cookie
    return facts


def apart() -> dict[str, Any]:
    """What is open at the hosts of two students."""
    domain = "sage.school.test"
    mallory, emmy = (f"{name}.{domain}:{SESSIONS}" for name in ("mallory", "emmy"))
    browser = f"appliance-browser={BROWSER}"
    ticket = entered(subdomain_host=domain)
    facts: dict[str, Any] = {
        "elsewhere": ask(SESSIONS, ticket, Cookie=browser, Host=emmy)["set"],
        "shared": ask(SESSIONS, ticket, Cookie=browser, Host=f"{domain}:{SESSIONS}")["set"],
    }
    entry = ask(SESSIONS, ticket, Cookie=browser, Host=mallory)
    facts["entry"] = entry
    visit = entry["set"][0].partition(";")[0]
    for name, host in (("own", mallory), ("capitals", mallory.upper()), ("tossed", emmy)):
        sent = {"Cookie": visit, "Host": host, "Sec_Fetch_Mode": "cors"}
        facts[name] = ask(SESSIONS, "/user/mallory/api", **sent)["status"]
    led = ask(SESSIONS, "/user/emmy/lab", Host=emmy)["headers"]
    facts["led"] = led.get("location")
    return facts


def main() -> None:
    """Print what was tried."""
    for port in (HUB, SERVER):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy = started(sys.argv[1])
    try:
        facts = tried()
        visit = ask(SESSIONS, entered(), Cookie=f"appliance-browser={BROWSER}")["set"][0]
        facts["left"] = left(visit.partition(";")[0])
    finally:
        proxy.terminate()
        proxy.wait()
    proxy = started(sys.argv[1], "sage.school.test")
    try:
        facts["apart"] = apart()
    finally:
        proxy.terminate()
        proxy.wait()
    json.dump(facts, sys.stdout)


main()
