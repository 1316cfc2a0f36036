"""Synchronise by the clock while a session runs: a task of the session's own server.

No service manager runs in a session, and this one ends with it.
"""

import asyncio
import os
import sys
from pathlib import Path

EVERY = "APPLIANCE_STORES_EVERY"  # seconds, in the environment of the session's server


async def keep(home: Path) -> None:
    """Synchronise all stores, and again after each pause, until cancelled.

    Args:
        home: the student's home directory.
    """
    pause = float(os.environ.get(EVERY) or 0)
    while pause:
        await asyncio.sleep(pause)
        if (home / ".config" / "store" / "rclone.conf").exists():
            # How it went is in `store list`; what it says is in the session's journal.
            words = (sys.executable, "-I", "-m", "provision.guest.stores", "sync")
            process = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.DEVNULL)
            await process.wait()
