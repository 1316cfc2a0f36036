"""Post one task to a grading service and wait for its result; the guest's command ``grade``.

Reads ``GRADER_URL`` and ``GRADER_TOKEN``, or a file of such lines, from the environment.
"""

import json
import os
import secrets
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provision.errors import ApplianceError

URL = "http://127.0.0.1:8090"
ACCOUNT = Path("/etc/grader/client")
INSTANCES = Path("/etc/grader/instances")
_POLL_SECONDS = 30


class GraderError(ApplianceError):
    """The grading service did not take the task."""


def grade(
    archive: bytes,
    fields: Mapping[str, str],
    *,
    url: str,
    token: str | None = None,
    seconds: float = 600,
) -> dict[str, Any]:
    """Run a task and return its result as the service describes it.

    Args:
        archive: the tar with ``tmc-run``.
        fields: further form fields: ``image``, ``engine``.
        url: the service.
        token: its bearer token.
        seconds: how long to wait for the result.

    Raises:
        GraderError: no answer, or the task was not accepted, or is not done in time.
    """
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = 'Content-Disposition: form-data; name="file"; filename="task.tar"'
    parts.append(f"--{boundary}\r\n{head}\r\n\r\n")
    body = "".join(parts).encode() + archive + f"\r\n--{boundary}--\r\n".encode()
    kind = f"multipart/form-data; boundary={boundary}"
    answer = _ask(f"{url}/tasks.json", token, body, kind)
    if answer.get("status") != "ok":
        raise GraderError(
            f"{url} did not accept the task: {answer.get('reason') or answer.get('status')}",
            hint="set GRADER_TOKEN" if answer.get("status") == "unauthorized" else None,
        )
    for _ in range(max(1, round(seconds / _POLL_SECONDS))):
        task = _ask(f"{url}/tasks/{answer['id']}?wait={_POLL_SECONDS}", token)
        if task.get("state") == "done":
            return task
    raise GraderError(f"task {answer['id']} is not done after {seconds:g} s")


def _ask(
    url: str, token: str | None, body: bytes | None = None, kind: str | None = None
) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise GraderError(f"{url} is no http URL")
    request = urllib.request.Request(url, body)  # noqa: S310 (checked above)
    if kind:
        request.add_header("Content-Type", kind)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=_POLL_SECONDS + 30) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        try:
            found = json.load(error)
        except ValueError:
            raise GraderError(f"{url}: {error}") from None
    except (OSError, ValueError) as error:
        raise GraderError(f"{url} does not answer: {error}") from None
    return found


def account() -> tuple[str, str | None]:
    """The service and the token of this user, from the environment or the account file."""
    values = dict(os.environ)
    try:
        lines = ACCOUNT.read_text().splitlines()
        values = {**dict(line.split("=", 1) for line in lines if "=" in line), **values}
    except OSError:
        pass
    return values.get("GRADER_URL", URL), values.get("GRADER_TOKEN")


def address(name: str) -> str:
    """Where an instance of this machine listens.

    Raises:
        GraderError: there is no such instance.
    """
    try:
        settings = tomllib.loads((INSTANCES / f"{Path(name).name}.toml").read_text())
    except (OSError, ValueError):
        known = ", ".join(sorted(path.stem for path in INSTANCES.glob("*.toml")))
        raise GraderError(f"no instance {name}; there are: {known}") from None
    return f"http://127.0.0.1:{settings['port']}"


def main() -> int:
    """``grade [NAME=VALUE]... < TASK.tar``: print the result as JSON."""
    url, token = account()
    fields = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    try:
        if name := fields.pop("instance", None):
            url = address(name)
        result = grade(sys.stdin.buffer.read(), fields, url=url, token=token)
    except ApplianceError as error:
        sys.stderr.write(f"grade: {error}\n")
        return 2
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
