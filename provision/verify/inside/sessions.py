"""Facts about sessions that the hub starts, gathered inside the guest as root.

Two made-up students sign in as from a browser; one starts a server, whose token and the other's are
tried on what is not theirs. Then the hub is killed, and wrong passwords are typed.
"""

import contextlib
import fcntl
import http.client
import http.cookiejar
import json
import os
import secrets
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

ASKED = json.loads(sys.argv[1])
VICTIM, MALLORY = "verify-owner", "verify-thief"
CONTAINED = subprocess.call(["systemd-detect-virt", "--quiet", "--container"]) == 0
SECRETS = ("proxy-token", "cookie-secret", "metrics-token")
PATIENCE = 300.0  # an emulated guest is slow
TRIES = 16  # the waits double: the last of them is long on any machine
AT_ONCE = 40
CROWD, FEW = "127.0.9.1", 20  # the address of a made-up room, and how many try there at once
ROUNDS = 15
ADDRESS_TRIES, ADDRESS_SECONDS = 100, 2  # as the hub counts: so many at once, then one in so long
LOOKED_UP = {"python": "json.loads", "sage": "integrate", "r": "integrate", "octave": "quad"}
URL = f"{'https' if ASKED['secure'] else 'http'}://127.0.0.1:{ASKED['port']}"
ANY_CERTIFICATE = ssl._create_unverified_context()  # noqa: S323 - the guest made it itself


def run(*argv: str, stdin: str = "") -> str:
    """What a command prints."""
    return subprocess.run(
        argv, check=False, text=True, input=stdin, capture_output=True
    ).stdout.strip()


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> bool:
    """Wait for a condition; tell whether it came true."""
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        if condition():
            return True
        if asked > deadline:
            return False
        # A slow guest has better things to do than to answer us all the time.
        time.sleep(max(0.1, 5 * (time.monotonic() - asked)))


class From(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Asks from one address of loopback."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._source = {"source_address": (address, 0)}

    def http_open(self, req: urllib.request.Request) -> Any:
        """Ask in the open."""
        return self.do_open(http.client.HTTPConnection, req, **self._source)

    def https_open(self, req: urllib.request.Request) -> Any:
        """Ask encrypted."""
        with_tls = {"context": ANY_CERTIFICATE, **self._source}
        return self.do_open(http.client.HTTPSConnection, req, **with_tls)


class Browser:
    """One browser; afterwards, whoever holds the token."""

    def __init__(self, name: str, token: str = "", address: str = "127.0.0.1") -> None:
        self.name, self.token = name, token
        self.cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self.cookies), From(address)
        )

    def ask(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[int, str]:
        """The answer's status and text; status 0 when there is none."""
        place = path if "://" in path else URL + path
        request = urllib.request.Request(place, data, dict(headers), method=method)  # noqa: S310
        if self.token:
            request.add_header("Authorization", f"token {self.token}")
        for cookie in self.cookies:
            if cookie.name == "_xsrf" and cookie.value and path.startswith(cookie.path):
                request.add_header("X-XSRFToken", urllib.parse.unquote(cookie.value))
        if data and data.startswith(b"{"):
            request.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(request, timeout=120) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError:
            return 0, ""

    def sign_in(self, password: str) -> int:
        """Sign in by the form; the answer's status, 403 for a wrong password."""
        return self.try_password(password)[0]

    def try_password(self, password: str) -> tuple[int, str]:
        """As ``sign_in``, with the page."""
        self.ask("GET", "/hub/login")
        xsrf = next((c.value for c in self.cookies if c.name == "_xsrf"), "")
        form = {"username": self.name, "password": password, "_xsrf": xsrf}
        status, page = self.ask(
            "POST", "/hub/login?next=%2Fhub%2Ftoken", urllib.parse.urlencode(form).encode()
        )
        return 403 if "Invalid username or password" in page else status, page

    def take_token(self) -> None:
        """From now on, ask with a token that may do all that the student may."""
        _, answer = self.ask("POST", f"/hub/api/users/{self.name}/tokens", b"{}")
        self.token = json.loads(answer)["token"]

    def server(self) -> dict[str, Any]:
        """What the hub says of the student's own server; empty when there is none."""
        status, answer = self.ask("GET", f"/hub/api/users/{self.name}")
        servers = json.loads(answer).get("servers") if status == 200 else {}
        return dict((servers or {}).get("", {}))


def try_token(thief: Browser, other: str) -> list[str]:
    """What of the other student's, and of the hub's own, the thief's token opens."""
    tried = (
        ("GET", "/hub/api/users"),
        ("GET", f"/hub/api/users/{other}"),
        ("POST", f"/hub/api/users/{other}/tokens"),
        ("POST", f"/hub/api/users/{other}/server"),
        ("DELETE", f"/hub/api/users/{other}/server"),
        ("GET", "/hub/api/proxy"),
        ("GET", "/hub/api/services"),
        ("GET", f"/user/{other}/api/contents"),
        ("GET", f"/user/{other}/api/kernels"),
        ("POST", f"/user/{other}/api/terminals"),
    )
    asked = [(each, thief.ask(*each, b"{}" if each[0] == "POST" else None)) for each in tried]
    return [
        f"{' '.join(each)}: {status}" for each, (status, _) in asked if status not in (403, 404)
    ]


def classroom(student: Browser) -> list[str]:
    """Which of the administrator's pages a student sees."""
    pages = ("/hub/classroom", "/hub/classroom/logs", "/hub/admin")
    asked = {page: student.ask("GET", page)[0] for page in pages}
    return [f"{page}: {status}" for page, status in asked.items() if status not in (403, 404)]


def foreign() -> list[str]:
    """What a page of another address gets from the hub, with a visitor's cookies."""
    visitor = Browser("")
    visitor.ask("GET", "/hub/login")
    reading = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}
    form = b"username=nobody&password=nothing"
    sent = {"Origin": "https://other.example.org"}
    answers = {
        "GET": visitor.ask("GET", "/hub/login", None, reading),
        "POST": visitor.ask("POST", "/hub/login", form, sent),
    }
    refused = "page of another address"
    return [method for method, (_, text) in answers.items() if refused not in text]


def apart() -> list[str]:
    """What a page without a ticket gets of a session, and of the hub at the sessions' port."""
    sessions = f"{URL.rpartition(':')[0]}:{ASKED['sessions_port']}"
    reading = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    places = (
        *(f"{each}/user/{VICTIM}/api/contents" for each in (URL, sessions)),
        *(f"{sessions}/hub/{each}" for each in ("classroom", "api/users", "login")),
        f"{sessions}/visit?ticket=made.up",
    )
    asked = {place: Browser("").ask("GET", place, None, reading)[0] for place in places}
    return [f"{place}: {status}" for place, status in asked.items() if status != 403]


def documentation(session: Browser) -> list[str]:
    """Which books do not open in a session, or are not searched."""
    base, found = f"/user/{VICTIM}/appliance/documentation/", []
    for book in ASKED["documentation"]:
        status, _ = session.ask("GET", f"{base}{book}/index.html")
        if status != 200:
            found.append(f"{book} answers {status}")
        if name := LOOKED_UP.get(book):
            _, page = session.ask("GET", f"{base}?q={name}")
            place, _, rest = page.partition(f'<a href="{base}{book}/')[2].partition('"')
            if not rest.startswith(f">{name}<"):
                found.append(f"{book}: the search does not find {name}")
            elif session.ask("GET", f"{base}{book}/{place.partition('#')[0]}")[0] != 200:
                found.append(f"{book}: {place} does not open")
    return found


def metrics() -> list[str]:
    """What the token for metrics opens besides them; or that it does not open these."""
    token = Path("/var/lib/notebook/metrics-token").read_text().strip()
    reader = Browser("metrics", token)
    tried = ("/hub/api/users", "/hub/api/proxy", f"/user/{VICTIM}/api/contents")
    asked = {path: reader.ask("GET", path)[0] for path in tried}
    found = [f"it opens {path}" for path, status in asked.items() if status not in (403, 404)]
    if reader.ask("GET", "/hub/metrics")[0] != 200:
        found.append("it does not open the metrics")
    if Browser("").ask("GET", "/hub/metrics")[0] == 200:
        found.append("the metrics are open without it")
    return found


def missing_secrets() -> list[str]:
    """Which of the hub's secrets are not there, or what a power cut leaves of a file."""
    state = Path("/var/lib/notebook")
    found = [name for name in SECRETS if not (state / name).is_file()]
    first = [path.name for path in (state / "first-password",) if path.exists()]
    for name in {*SECRETS, *first} - {*found}:
        text = (state / name).read_bytes().strip(b" \t\r\n\0")
        if len(text) < 16 or b"\0" in text:
            found.append(name)
    return sorted(found)


def session_token(account: str) -> str:
    """The token that the hub gave the session on an account."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.owner() == account:
                for line in (entry / "environ").read_bytes().split(b"\0"):
                    if line.startswith(b"JUPYTERHUB_API_TOKEN="):
                        return line.partition(b"=")[2].decode()
        except (OSError, KeyError):
            continue
    return ""


def places() -> str:
    """Who has which account, as the leases say."""
    return run("notebook-sessions")


def hub() -> str:
    """The number of the hub's process."""
    return run("systemctl", "show", "-P", "MainPID", "notebook")


def start_time(visitor: Browser) -> str:
    """Since when the student's server runs, as it says itself."""
    status, answer = visitor.ask("GET", f"/user/{visitor.name}/api/status")
    return str(json.loads(answer)["started"]) if status == 200 else f"status {status}"


def kill_hub(victim: Browser) -> dict[str, Any]:
    """What is left of a session when the hub was killed, and of its lease when it ended."""
    before = {"places": places(), "begun": start_time(victim)}
    old = hub()
    subprocess.run(
        ["systemctl", "kill", "--kill-whom=main", "--signal=KILL", "notebook"], check=False
    )
    held = places() == before["places"]
    back = until(lambda: hub() not in (old, "0") and victim.server().get("ready"))
    facts = {
        "hub_back": back,
        "held": held,
        "kept": {"places": places(), "begun": start_time(victim)} == before,
    }
    victim.ask("DELETE", f"/hub/api/users/{VICTIM}/server")
    return facts | {"given_back": until(lambda: places() == "", 60)}


def import_list(lines: str, *options: str) -> str:
    """Import a class list; what the command says of it."""
    return run("notebook-accounts", "import", *options, "-", stdin=lines)


def import_again() -> list[str]:
    """Whose account a list changes that names all who are there; it must skip each."""
    file = Path("/var/lib/notebook/accounts.json")
    before = json.loads(file.read_text())
    said = import_list(f"{VICTIM}\n{MALLORY},another word\n{ASKED['admin']},another word\n")
    after = json.loads(file.read_text())
    silent = [name for name in (VICTIM, MALLORY, ASKED["admin"]) if f"skipped {name}" not in said]
    return sorted({name for name in before if before[name] != after.get(name)} | set(silent))


def compare_leases(mallory: Browser) -> dict[str, Any]:
    """Who has which account while two have sessions, and whose lease nobody holds."""
    mallory.ask("POST", f"/hub/api/users/{MALLORY}/server", b"{}")
    both = until(lambda: mallory.server().get("ready"))
    held = dict(line.split() for line in places().splitlines())
    loose = []
    for account in held:
        file = Path("/var/lib/notebook/leases") / account
        with contextlib.suppress(BlockingIOError), file.open("rb") as lease:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            loose.append(account)
    mallory.ask("DELETE", f"/hub/api/users/{MALLORY}/server")
    until(lambda: MALLORY not in places(), 60)
    return {"both": both, "students": sorted(held.values()), "loose": loose}


def way_in(victim: Browser) -> dict[str, Any]:
    """What becomes of a student who chooses what is gone, then of one who closed the own files."""
    start = ("POST", f"/hub/api/users/{VICTIM}/server")
    gone = victim.ask(*start, b'{"profile": "gone"}')[0]
    if gone == 400:  # else it is let in, and files that are closed meanwhile would end the session
        (Path(ASKED["directory"]) / VICTIM).chmod(0)
        victim.ask(*start, b"{}")
    return {"gone": gone, "opens": until(lambda: victim.server().get("ready"))}


def skip_password(password: str) -> dict[str, int]:
    """What a browser in which the administrator signed in may change without the password."""
    admin = Browser(ASKED["admin"])
    status = admin.sign_in(password)
    asked = {
        "token": ("POST", f"/hub/api/users/{VICTIM}/tokens", b"{}"),
        "deletion": ("DELETE", f"/hub/api/users/{MALLORY}", None),
        "name": ("PATCH", f"/hub/api/users/{MALLORY}", b'{"name": "verify-renamed"}'),
    }
    changed = {what: admin.ask(*how)[0] for what, how in asked.items()}
    return {"sign-in": status, **changed}


def lock_out(victim: Browser, password: str) -> dict[str, Any]:
    """What is left to a student who is locked, then to a stranger who comes with that name."""
    browser = Browser(VICTIM)
    browser.sign_in(password)
    there = victim.server().get("ready") and browser.ask("GET", "/hub/api/user")[0] == 200
    facts: dict[str, Any] = {"open": bool(there)}
    run("notebook-accounts", "lock", VICTIM)
    facts["left"] = [] if until(lambda: places() == "", 60) else ["session"]
    for kind, thief in (("cookie", browser), ("token", victim)):
        facts["left"] += [kind] * (thief.ask("GET", "/hub/api/user")[0] == 200)
    facts["left"] += ["password"] * (Browser(VICTIM).sign_in(password) == 200)
    run("notebook-accounts", "remove", VICTIM)
    facts["stranger"] = Browser(VICTIM).sign_in("whoever comes first")
    return facts


def guess_many(password: str) -> dict[str, Any]:
    """What an address gets that guesses at many names, and who had the right password there."""

    def guess(name: str) -> str:
        # Too short for an account to come of it, where a visitor may make one.
        return Browser(name, address=CROWD).try_password("wrong")[1]

    slowed, rounds, begun = False, 0, time.monotonic()
    with ThreadPoolExecutor(FEW) as crowd:
        while not slowed and rounds < ROUNDS and time.monotonic() - begun < PATIENCE:
            names = [f"verify-guess-{rounds}-{n}" for n in range(FEW)]
            list(crowd.map(guess, names))
            slowed = "from your address" in guess(names[0])
            rounds += 1
    # An emulated guest may be too slow to try more than anybody may.
    allowed = ADDRESS_TRIES + (time.monotonic() - begun) / ADDRESS_SECONDS
    return {
        "slowed": slowed or rounds * FEW < allowed,
        "classmate": Browser(VICTIM, address=CROWD).sign_in(password),
    }


def guess_one(password: str) -> dict[str, Any]:
    """What wrong passwords get, one after the other and many at once, and who had the right one."""
    owner = Browser(VICTIM)
    owner.sign_in(password)
    facts: dict[str, Any] = {"admin": Browser(ASKED["admin"]).sign_in("the first one here")}
    begun = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as crowd:
        said = crowd.map(lambda _: Browser(VICTIM).sign_in("wrong"), range(AT_ONCE))
        facts["at_once"] = sum(status != 429 for status in said)
    facts["at_once_seconds"] = time.monotonic() - begun
    owner.ask("GET", "/hub/logout")
    facts["owner"] = owner.sign_in(password)
    tries = (Browser(MALLORY).sign_in("wrong") for _ in range(TRIES))
    facts["tries"] = next((n for n, status in enumerate(tries) if status == 429), None)
    return facts


def main() -> None:
    """Print the facts."""
    if CONTAINED and not os.path.ismount(ASKED["directory"]):  # see notebook.py
        students = ["mount", "-t", "tmpfs", "-o", "mode=0711", "tmpfs", ASKED["directory"]]
        subprocess.run(students, check=True)
        subprocess.run(["systemctl", "restart", "sshd-pool"], check=False)
    words = {name: secrets.token_urlsafe() for name in (VICTIM, MALLORY)}
    names = "".join(f"{name},{word}\n" for name, word in words.items())
    import_list(names, "--same-students", "--reset-passwords")
    facts: dict[str, Any] = {}
    until(lambda: Browser("").ask("GET", "/hub/login")[0] == 200)
    victim, mallory = Browser(VICTIM), Browser(MALLORY)
    try:
        for visitor in (victim, mallory):
            if (status := visitor.sign_in(words[visitor.name])) != 200:
                raise RuntimeError(f"{visitor.name} cannot sign in: {status}")
            visitor.take_token()
        asked = victim.ask("POST", f"/hub/api/users/{VICTIM}/server", b"{}")
        if not until(lambda: victim.server().get("ready")):
            raise RuntimeError(f"the server does not start: {asked}")
        session = Browser(VICTIM, session_token(places().partition("@")[0]))
        facts["own"] = session.ask("GET", f"/user/{VICTIM}/api/status")[0] == 200
        facts["documentation"] = documentation(session)
        facts["opened"] = try_token(session, MALLORY) + try_token(mallory, VICTIM)
        facts["classroom"] = classroom(mallory)
        facts["foreign"] = foreign()
        facts["apart"] = apart()
        facts["metrics"] = metrics()
        facts["lost"] = missing_secrets()
        facts["leased"] = compare_leases(mallory)
        facts["outlived"] = kill_hub(victim)
        facts["changed"] = import_again()
        first = Path("/var/lib/notebook/first-password").read_text().strip()
        facts["confirmed"] = skip_password(first)
        facts["way_in"] = way_in(victim)
        facts["closed"] = lock_out(victim, words[VICTIM])
        run("notebook-accounts", "remove", VICTIM)
        import_list(names, "--same-students")
        facts["crowd"] = guess_many(words[VICTIM])
        facts |= guess_one(words[VICTIM])
    except (RuntimeError, OSError, KeyError, ValueError) as error:
        facts["error"] = str(error)
    finally:
        run("notebook-sessions", "end")
        for name in words:
            run("notebook-accounts", "remove", name)
    json.dump(facts, sys.stdout)


main()
