"""Sent into a guest: guesses passwords there from many addresses of loopback, many at once.

The argument is JSON: a list of tries, each with ``name`` and ``password``, and perhaps ``source``
(the address that it comes from), ``headers``, ``port`` and ``gap`` (seconds after the one before).
Prints what came of each: ``in``, ``wrong``, or the status.
"""

import concurrent.futures
import http.client
import json
import re
import sys
import urllib.parse


def attempt(told: dict) -> str:  # type: ignore[type-arg] - JSON's
    """Load the form, and send it."""
    here = (told.get("source", "127.0.0.1"), 0)
    port = told.get("port", 8000)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300, source_address=here)
    connection.request("GET", "/hub/login", headers=told.get("headers", {}))
    answer = connection.getresponse()
    cookies = [line.partition(";")[0] for line in answer.msg.get_all("Set-Cookie", [])]
    token = re.search(r'name="_xsrf" value="([^"]+)"', answer.read().decode())
    form = {"username": told["name"], "password": told["password"], "_xsrf": token and token[1]}
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": "; ".join(cookies),
        **told.get("headers", {}),
    }
    connection.close()
    body = urllib.parse.urlencode(form)
    connection.request("POST", "/hub/login?next=%2Fhub%2Ftoken", body, headers)
    answer = connection.getresponse()
    page = answer.read().decode(errors="replace")
    if answer.status == 302:
        return "in"
    return "wrong" if "Invalid username or password" in page else str(answer.status)


tries = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(int(sys.argv[2])) as pool:
    print(json.dumps(list(pool.map(attempt, tries))))  # noqa: T201 - a program
