"""Run in the guest as root: let the grading sandbox and the jail run something; tell as JSON.

The one argument is JSON: {"grader": bool, "jail": bool}.
"""

import io
import json
import subprocess
import sys
import tarfile
import time
import urllib.request
from typing import Any

LOOK = """#!/bin/sh
echo out
id -u > output.txt
{ touch /usr/x; touch /etc/x; touch /var/x; } 2>/dev/null
find / -xdev -name x -user "$(id -u)" 2>/dev/null
ls -d /proc/[0-9]* | wc -l >&2
grep -c : /proc/net/dev >&2
sed -n 's/^CapEff:[^0-9a-f]*0*//p' /proc/self/status >&2
"""
SAFEEXEC = (
    *(
        "/usr/local/bin/safeexec",
        "--chroot_dir",
        "/srv/jail",
        "--env_vars",
        "PY",
        "--exec_dir",
        "/",
    ),
    *("--exec", "/bin/python3", "-u", "-S", "-c", "print(1+1)"),
)


def exercise(script: str) -> bytes:
    """A task's tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("tmc-run")
        member.size, member.mode = len(script.encode()), 0o755
        archive.addfile(member, io.BytesIO(script.encode()))
    return buffer.getvalue()


def grade(script: str, patience: float = 60) -> dict[str, Any]:
    """A task's result; after a boot the service may need a moment."""
    deadline = time.monotonic() + patience
    while True:
        done = subprocess.run(
            ["/usr/local/bin/grade"], input=exercise(script), capture_output=True, check=False
        )
        if done.returncode == 0:
            found: dict[str, Any] = json.loads(done.stdout)
            return found
        if time.monotonic() > deadline:
            return {"status": "unreachable", "reason": done.stderr.decode()[-500:]}
        time.sleep(0.5)


def status() -> dict[str, Any]:
    """How the service says that it keeps each limit."""
    for line in open("/etc/grader/client"):  # noqa: SIM115, PTH123 (a one-shot script)
        if line.startswith("GRADER_URL="):
            url = line.strip().partition("=")[2]
            with urllib.request.urlopen(f"{url}/status.json", timeout=30) as answer:  # noqa: S310
                found: dict[str, Any] = json.load(answer)
            return found
    return {}


def main() -> None:
    """Print the facts."""
    asked = json.loads(sys.argv[1])
    facts: dict[str, Any] = {
        "container": subprocess.run(["systemd-detect-virt", "-cq"], check=False).returncode == 0
    }
    if asked["grader"]:
        facts["result"] = grade(LOOK)
        facts["bomb"] = grade("#!/usr/bin/perl\n$x .= 'x' x 1e6 while 1")
        facts["next"] = grade("#!/bin/sh\necho fine")
        facts["status"] = status()
    if asked["jail"]:
        done = subprocess.run(
            ["runuser", "-u", "nobody", "--", *SAFEEXEC],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        facts["jail"] = {"printed": done.stdout, "report": done.stderr}
    json.dump(facts, sys.stdout)


main()
