"""Run in the guest as root: fill /home to its last block, root's reserve too; tell as JSON.

The one argument is JSON: {"admin": account}.
"""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

STEP = 1 << 30


def write_as(account: str) -> str:
    """What stops an ordinary account from writing one more megabyte; empty when it can."""
    home = pwd.getpwnam(account).pw_dir
    done = subprocess.run(
        ["runuser", "-u", account, "--", "dd", "if=/dev/zero", f"of={home}/one-more",
         "bs=1M", "count=1", "conv=fsync"],
        check=False, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stderr.strip()


def main() -> None:
    """Fill, and report what is left where."""
    admin = json.loads(sys.argv[1])["admin"]
    step, number = STEP, 0
    while step >= 4096:
        with Path(f"/home/filler-{number}").open("wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, step)
            except OSError:
                step //= 4
        number += 1
    left = os.statvfs("/home")
    root = os.statvfs("/")
    subprocess.run(["logger", "-t", "verify", "home-is-full"], check=False)
    subprocess.run(["journalctl", "--sync"], check=False)
    journal = subprocess.run(
        ["journalctl", "-t", "verify", "-o", "cat", "--no-pager"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    failed = subprocess.run(
        ["systemctl", "--failed", "--output=json"], check=False, capture_output=True, text=True
    )
    facts = {
        "separate": Path("/home").stat().st_dev != Path("/").stat().st_dev,
        "left": left.f_bfree * left.f_frsize,
        "root_left": root.f_bavail * root.f_frsize,
        "refused": write_as(admin),
        "journal": "home-is-full" in journal.stdout,
        "active": {
            unit: subprocess.run(
                ["systemctl", "is-active", unit], check=False, capture_output=True, text=True
            ).stdout.strip()
            for unit in ("ssh.service", "systemd-journald.service", "systemd-logind.service")
        },
        "failed_units": [row["unit"] for row in json.loads(failed.stdout or "[]")],
    }
    json.dump(facts, sys.stdout)


main()
