"""A student as the hub sees one: signs in by the form, starts a server, runs code in it."""

import http.cookiejar
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import websocket

PATIENCE = 60.0
ANY_CERTIFICATE = ssl._create_unverified_context()  # noqa: S323 - the guest made it itself
# What a Sage student does first, and what each cell shows.
SAGE_CELLS = {
    "2 + 2": "4",
    "integrate(x * sin(x), x)": "-x*cos(x) + sin(x)",
    "plot(sin, 0, 1)": "iVBOR",
    "factor(2^67 - 1)": "193707721 * 761838257287",
    "matrix(QQ, 3, 3, range(9)).rank()": "2",
}


class RefusedError(Exception):
    """The hub or the server answered with an error.

    Args:
        status: HTTP status.
        body: what it said.
    """

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status}: {body[:2000]}")
        self.status = status
        self.body = body


@dataclass
class Student:
    """One browser's worth of state.

    Args:
        url: the notebook's address without a path.
        name: account name.
        password: its password.
    """

    url: str
    name: str
    password: str = "correct horse"  # noqa: S105 - a test's
    cookies: http.cookiejar.CookieJar = field(default_factory=http.cookiejar.CookieJar)
    token: str = ""

    def __post_init__(self) -> None:
        self.opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self.cookies),
            urllib.request.HTTPSHandler(context=ANY_CERTIFICATE),
        )

    def request(
        self,
        method: str,
        path: str,
        data: Any = None,
        *,
        form: bool = False,
        timeout: float = 90,
        wants: str = "html",
    ) -> str:
        """Send one request, signed in by token or cookies."""
        body = None
        request = urllib.request.Request(self.url + path, method=method)
        if wants == "json":
            request.add_header("Accept", "application/json")
        if self.token:
            request.add_header("Authorization", f"token {self.token}")
        if form:
            body = urllib.parse.urlencode(data).encode()
        elif data is not None:
            body = json.dumps(data).encode()
            request.add_header("Content-Type", "application/json")
        for cookie in self.cookies:
            if cookie.name == "_xsrf" and path.startswith(cookie.path) and cookie.value:
                request.add_header("X-XSRFToken", urllib.parse.unquote(cookie.value))
        try:
            with self.opener.open(request, body, timeout=timeout) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            raise RefusedError(error.code, error.read().decode(errors="replace")) from None

    def json(self, method: str, path: str, data: Any = None) -> Any:
        """Send one request for JSON."""
        text = self.request(method, path, data)
        return json.loads(text) if text else None

    def sign_in(self) -> Self:
        """Sign in by the form, then take a token for what follows.

        Raises:
            RefusedError: the name or the password is wrong, or locked out.
        """
        self.request("GET", "/hub/login?next=%2Fhub%2Ftoken")
        xsrf = next(c.value for c in self.cookies if c.name == "_xsrf")
        form = {"username": self.name, "password": self.password, "_xsrf": xsrf}
        page = self.request("POST", "/hub/login?next=%2Fhub%2Ftoken", form, form=True)
        if "Invalid username or password" in page:
            raise RefusedError(403, page)
        if 'id="confirm"' in page:  # an administrator's password, again
            again = next(c.value for c in self.cookies if c.name == "_xsrf")
            form = {"password": self.password, "next": "/hub/token", "_xsrf": again}
            self.request("POST", "/hub/confirm", form, form=True)
        self.token = self.json("POST", f"/hub/api/users/{self.name}/tokens", {})["token"]
        return self

    def start(self, patience: float = PATIENCE) -> Self:
        """Start the server and wait until it is ready."""
        with_start = time.monotonic()
        try:
            self.json("POST", f"/hub/api/users/{self.name}/server", {})
        except RefusedError as error:
            if "already running" not in error.body and "pending" not in error.body:
                raise
        while True:
            asked = time.monotonic()
            if self.ready():
                return self
            if asked > with_start + patience:
                raise TimeoutError(f"no server for {self.name} after {patience:g} s")
            # A slow guest has better things to do than to answer us all the time.
            time.sleep(max(0.1, 5 * (time.monotonic() - asked)))

    def ready(self) -> bool:
        """Whether the server answers."""
        servers = self.json("GET", f"/hub/api/users/{self.name}").get("servers") or {}
        return bool(servers.get("", {}).get("ready"))

    def stop(self, patience: float = PATIENCE) -> None:
        """Stop the server and wait until it is gone."""
        self.json("DELETE", f"/hub/api/users/{self.name}/server")
        deadline = time.monotonic() + patience
        while self.json("GET", f"/hub/api/users/{self.name}").get("servers"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server of {self.name} does not stop")
            time.sleep(0.1)

    def server(self, method: str, path: str, data: Any = None) -> Any:
        """Ask the student's own server."""
        return self.json(method, f"/user/{self.name}/api/{path}", data)

    def channel(self, path: str) -> websocket.WebSocket:
        """A new websocket to a path of the student's own server."""
        url = f"{self.url}/user/{self.name}/{path}"
        return websocket.create_connection(
            url.replace("http", "ws", 1),
            header=[f"Authorization: token {self.token}"],
            sslopt={"cert_reqs": ssl.CERT_NONE},
            timeout=PATIENCE,
        )

    def terminal(self, name: str, command: str) -> str:
        """Type a command, whose last word is to be "over", into a terminal; what it showed."""
        connection, shown = self.channel(f"terminals/websocket/{name}"), ""
        connection.send(json.dumps(["stdin", f"{command}\r"]))
        while "\nover" not in shown:
            kind, *content = _next(connection, time.monotonic() + PATIENCE)
            shown += content[0] if kind == "stdout" else ""
        connection.close()
        return shown

    def kernel(self, kind: str = "python3") -> "Kernel":
        """Start a kernel."""
        return Kernel(self, self.server("POST", "kernels", {"name": kind})["id"])


def _next(connection: websocket.WebSocket, deadline: float) -> Any:
    """What comes next; pings alone, which a server sends for ever, are waited for until then."""
    while True:
        connection.settimeout(max(deadline - time.monotonic(), 0.01))
        kind, frame = connection.recv_data_frame(control_frame=True)
        if kind == websocket.ABNF.OPCODE_TEXT:
            return json.loads(frame.data)


class Kernel:
    """One running kernel."""

    def __init__(self, student: Student, identity: str) -> None:
        self.id = identity
        self.student = student

    def run(self, code: str, patience: float = PATIENCE) -> str:
        """Run a cell and return all that it showed, errors included."""
        identity = uuid.uuid4().hex
        header = {"msg_id": identity, "msg_type": "execute_request", "session": identity}
        header |= {"username": "", "version": "5.3", "date": ""}
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        # A new connection each time: an idle one is dropped, as we answer no pings between runs.
        connection = self.student.channel(f"api/kernels/{self.id}/channels")
        connection.send(json.dumps({**message, "channel": "shell", "buffers": []}))
        shown: list[str] = []
        deadline = time.monotonic() + patience
        while True:
            answer = _next(connection, deadline)
            if answer["parent_header"].get("msg_id") != identity:
                continue
            content = answer["content"]
            match answer["msg_type"]:
                case "stream":
                    shown.append(content["text"])
                case "execute_result" | "display_data":
                    shown.append(" ".join(map(str, content["data"].values())))
                case "error":
                    shown.append(f"{content['ename']}: {content['evalue']}")
                case "status" if content["execution_state"] == "idle":
                    connection.close()
                    return "".join(shown)

    def shell(self, command: str, patience: float = PATIENCE) -> str:
        """Run a shell command in the session and return all that it printed."""
        code = (
            "import subprocess as s; r = s.run(['bash', '-c', "
            f"{command!r}], stdout=s.PIPE, stderr=s.STDOUT, stdin=s.DEVNULL); "
            "print(r.stdout.decode(errors='replace'), end='')"
        )
        return self.run(code, patience)


def opens(url: str, name: str, password: str) -> bool:
    """Whether a name and a password are let in."""
    try:
        Student(url, name, password).sign_in()
    except RefusedError:
        return False
    return True


def await_(condition: Callable[[], bool], patience: float = 120) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
