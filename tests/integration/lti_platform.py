"""A learning platform of the tests' own: LTI 1.3 with its services, by the specifications.

It is one server with a key pair; what it says of whom is a test's to change. What the tool asks of
it is written down. Nothing of it uses our code.
"""

import base64
import contextlib
import http.server
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

LTI = "https://purl.imsglobal.org/spec/lti/claim"
CONTEXT = "http://purl.imsglobal.org/vocab/lis/v2/membership"
TEACHER, PUPIL = f"{CONTEXT}#Instructor", f"{CONTEXT}#Learner"
SCOPES = {
    "roster": "https://purl.imsglobal.org/spec/lti-nrps/scope/contextmembership.readonly",
    "score": "https://purl.imsglobal.org/spec/lti-ags/scope/score",
    "column": "https://purl.imsglobal.org/spec/lti-ags/scope/lineitem",
}
KID = "key-1"


def key_pair() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def jwk(key: rsa.RSAPrivateKey, kid: str = KID) -> dict[str, Any]:
    told = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**told, "kid": kid, "alg": "RS256", "use": "sig"}


class Platform:
    """One platform, at a port of loopback.

    Args:
        port: where.
        tool: the tool's address, without a slash at its end.
        host: its name there.
    """

    def __init__(self, port: int, tool: str, host: str = "127.0.0.1") -> None:
        self.port, self.tool = port, tool
        self.issuer = f"http://{host}:{port}"
        self.key = key_pair()
        self.published: Any = {"keys": [jwk(self.key)]}
        self.client_id, self.deployment, self.context = "notebook", "1", "42"
        self.people = {"7": ("Emmy Noether", TEACHER), "9": ("Carl Gauß", PUPIL)}
        self.members: list[dict[str, Any]] = []
        self.page = 2  # members of one answer
        self.further = self.issuer  # where the next ones are
        self.columns: list[dict[str, Any]] = []
        self.scores: list[tuple[str, dict[str, Any]]] = []
        self.refused: set[str] = set()  # of whom it takes no points
        self.asked: list[str] = []
        self.tokens: dict[str, set[str]] = {}
        self.assertions: list[str] = []
        self.says: dict[str, Any] = {}  # claims of each launch besides the usual ones
        self.returned: list[dict[str, str]] = []  # what came back of links that were set up
        self.status = 0  # of each answer of a service, where it is not as it should be
        self.silent = threading.Event()

    def settings(self, **further: object) -> dict[str, Any]:
        """As ``sign_in.lti`` has it."""
        return {
            **{"title": "Moodle", "issuer": self.issuer, "client_id": self.client_id},
            **{"deployments": [self.deployment], "authorization": f"{self.issuer}/auth"},
            **{"keys": f"{self.issuer}/keys", "token": f"{self.issuer}/token", "courses": []},
            **further,
        }

    def begun(self, sub: str, /, **further: str) -> str:
        """The address to which the platform leads whoever clicks on the link."""
        told = {
            **{"iss": self.issuer, "client_id": self.client_id, "login_hint": sub},
            **{"target_link_uri": f"{self.tool}/hub/lti/launch", "lti_message_hint": "hint"},
            **{"lti_deployment_id": self.deployment},
            **further,
        }
        return f"{self.tool}/hub/lti/login?{urllib.parse.urlencode(told)}"

    def claims(self, sub: str, nonce: str, /, **further: Any) -> dict[str, Any]:
        """What it says of somebody who opens a link; None takes a claim out."""
        title, role = self.people.get(sub, ("", PUPIL))
        now = int(time.time())
        told = {
            **{"iss": self.issuer, "aud": self.client_id, "sub": sub, "nonce": nonce},
            **{"iat": now, "exp": now + 300, "name": title},
            f"{LTI}/version": "1.3.0",
            f"{LTI}/message_type": "LtiResourceLinkRequest",
            f"{LTI}/deployment_id": self.deployment,
            f"{LTI}/target_link_uri": f"{self.tool}/hub/lti/launch",
            f"{LTI}/resource_link": {"id": "3"},
            f"{LTI}/roles": [role],
            f"{LTI}/context": {"id": self.context, "title": "Algebra"},
            "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice": {
                "context_memberships_url": f"{self.issuer}/members",
                "service_versions": ["2.0"],
            },
            "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint": {
                "lineitems": f"{self.issuer}/columns?type=1",
                "scope": [SCOPES["score"], SCOPES["column"]],
            },
            **self.says,
            **further,
        }
        return {name: each for name, each in told.items() if each is not None}

    def sign(self, claims: dict[str, Any], key: Any = None, alg: str = "RS256", **head: Any) -> str:
        """A token."""
        return jwt.encode(claims, key or self.key, alg, headers={"kid": KID, **head})

    def answer(self, asked: str, /, **further: Any) -> dict[str, str]:
        """The form that it has a browser send, whom the tool led there by an address."""
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(asked).query))
        assert query["redirect_uri"] == f"{self.tool}/hub/lti/launch", query
        assert (query["scope"], query["response_type"]) == ("openid", "id_token")
        assert (query["response_mode"], query["prompt"]) == ("form_post", "none")
        assert query["client_id"] == self.client_id
        claims = self.claims(query["login_hint"], query["nonce"], **further)
        return {"state": query["state"], "id_token": self.sign(claims)}

    @contextlib.contextmanager
    def serving(self) -> Iterator["Platform"]:
        """Answer, until the block ends."""
        handler = type("Handler", (_Handler,), {"platform": self})
        with http.server.ThreadingHTTPServer(("0.0.0.0", self.port), handler) as server:  # noqa: S104
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    platform: Platform

    def do_GET(self) -> None:
        """Keys, authentication, members and columns."""
        platform, parts = self.platform, urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        platform.asked.append(f"GET {self.path}")
        if platform.silent.is_set():
            time.sleep(20)
        if parts.path == "/keys":
            self._say(platform.published)
        elif parts.path == "/auth":
            self._form(platform.answer(f"{platform.issuer}{self.path}"))
        elif parts.path == "/course":
            self._course(**query)
        elif parts.path == "/members" and self._may("roster"):
            begin = int(query.get("from", 0))
            end = begin + platform.page
            # Its case counts: some platforms' bookmarks are base64.
            more = f'<{platform.further}/members?from={end}&Mark=Ab>; rel="next"'
            said = {"id": "m", "context": {"id": platform.context}}
            links = {"Link": more} if end < len(platform.members) else {}
            if begin and query.get("Mark") != "Ab":
                self._say({}, 400)
            else:
                self._say({**said, "members": platform.members[begin:end]}, **links)
        elif parts.path == "/columns" and self._may("column"):
            wanted = query.get("resource_id")
            found = [c for c in platform.columns if wanted in (None, c.get("resourceId"))]
            self._say(found)
        elif parts.path not in ("/members", "/columns"):
            self._say({}, 404)

    def do_POST(self) -> None:
        """Tokens of its services, new columns and scores."""
        platform, parts = self.platform, urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        platform.asked.append(f"POST {self.path}")
        if platform.silent.is_set():
            time.sleep(20)
        if parts.path == "/token":
            self._token(dict(urllib.parse.parse_qsl(body.decode())))
        elif parts.path == "/return":
            platform.returned.append(dict(urllib.parse.parse_qsl(body.decode())))
            self._send(b"<p>It is set up.</p>", "text/html")
        elif parts.path == "/columns" and self._may("column"):
            column = json.loads(body)
            column["id"] = f"{platform.issuer}/columns/{len(platform.columns) + 1}?type=1"
            platform.columns.append(column)
            self._say(column, 201)
        elif parts.path.endswith("/scores") and self._may("score"):
            column = self.path.replace("/scores", "")
            assert self.headers["Content-Type"] == "application/vnd.ims.lis.v1.score+json"
            score = json.loads(body)
            if score["userId"] in platform.refused:
                self._say({}, 403)
            else:
                platform.scores.append((column, score))
                self._say({}, 200)
        elif not parts.path.endswith(("/scores", "/columns")):
            self._say({}, 404)

    def _token(self, form: dict[str, str]) -> None:
        platform = self.platform
        with platform_keys(platform.tool) as keys:
            assertion = form["client_assertion"]
            told = jwt.decode(
                assertion,
                keys[jwt.get_unverified_header(assertion)["kid"]],
                algorithms=["RS256"],
                audience=f"{platform.issuer}/token",
                options={"require": ["iss", "sub", "aud", "iat", "exp", "jti"]},
            )
        assert told["iss"] == told["sub"] == platform.client_id
        assert told["jti"] not in platform.assertions
        platform.assertions.append(told["jti"])
        assert form["grant_type"] == "client_credentials"
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        assert form["client_assertion_type"] == kind
        token = f"token-{len(platform.tokens)}"
        platform.tokens[token] = set(form["scope"].split())
        said = {"access_token": token, "token_type": "bearer", "expires_in": 3600}
        self._say({**said, "scope": form["scope"]})

    def _may(self, what: str) -> bool:
        if self.platform.status:
            self._say({}, self.platform.status)
            return False
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if SCOPES[what] in self.platform.tokens.get(token, ()):
            return True
        self._say({}, 401)
        return False

    def _form(self, fields: dict[str, str]) -> None:
        inputs = "".join(f'<input type="hidden" name="{n}" value="{v}">' for n, v in fields.items())
        place = f"{self.platform.tool}/hub/lti/launch"
        page = f'<form method="post" action="{place}">{inputs}<button>go on</button></form>'
        self._send(page.encode(), "text/html")

    def _course(self, sub: str, target: str) -> None:
        """A page with a link, which opens inside it or in a window, as Moodle sends it."""
        begun = urllib.parse.urlsplit(self.platform.begun(sub))
        inputs = "".join(
            f'<input type="hidden" name="{name}" value="{value}">'
            for name, value in urllib.parse.parse_qsl(begun.query)
        )
        place = f"{self.platform.tool}{begun.path}"
        page = (
            f'<form method="post" action="{place}" target="{target}">{inputs}<button>open</button>'
        )
        frame = '</form><iframe name="inside" width="700" height="500"></iframe>'
        self._send(f"{page}{frame}".encode(), "text/html")

    def _say(self, told: Any, status: int = 200, **headers: str) -> None:
        self._send(json.dumps(told).encode(), "application/json", status, **headers)

    def _send(self, body: bytes, kind: str, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, text in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            **headers,
        }.items():
            self.send_header(name, text)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def platform_keys(tool: str) -> Iterator[dict[str, Any]]:
    """The tool's public keys, as it publishes them."""
    import ssl
    import urllib.request

    anybody = ssl._create_unverified_context()  # noqa: S323 - the appliance's own certificate
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=anybody)
    )
    with opener.open(f"{tool}/hub/lti/keys", timeout=20) as answer:
        published = json.load(answer)
    yield {k["kid"]: jwt.PyJWK.from_dict(k).key for k in published["keys"]}


def unsigned(claims: dict[str, Any], head: dict[str, Any], signature: bytes = b"") -> str:
    """A token as no library makes it."""
    parts = (json.dumps(head).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in parts)


Change = Callable[[Platform, dict[str, Any]], str]
