"""Two thousand tasks with attacks among them: nothing leaks, no result is lost."""

import concurrent.futures
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.grader.conftest import Grader, Inbox, python, script
from tests.integration.grader.test_attacks import LIMITS, Host, member, sparse_giant, tar_of

TASKS = 2000
ATTACKS = [
    script("bomb() { bomb | bomb & bomb; }; bomb 2>/dev/null; sleep 9"),
    python("x = []\nwhile True: x.append(bytearray(1 << 20))"),
    script("yes"),
    script("while :; do :; done"),
    script("kill -9 -1"),
    script("setsid sleep 60 & exit 0"),
    script("dd if=/dev/zero of=f bs=1M count=99 2>/dev/null; ln -s /etc/shadow output.txt"),
    script("(while :; do echo 0 > exit_code.txt; done) & sleep 0.2; exit 5"),
    script("mkfifo output.txt; rm -rf /tmp/task; ln -s /etc /tmp/task"),
    script("trap '' XFSZ; truncate -s 15M output.txt; truncate -s 50G big; exit 0"),
    python("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"),
    python("import socket\nwhile True: socket.create_connection(('127.0.0.1', 3128)).close()"),
    tar_of(member("../../../../var/tmp/appliance-evil", size=1)),
    sparse_giant(),
    b"no tar",
]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_soak(grader: Callable[..., Grader], inbox: Inbox) -> None:
    limits = {**LIMITS, "clock": 1.0}
    # With a way out, so that every box has a door too: it leads to the inbox.
    service = grader(limits=limits, instances=2, queue=TASKS, per_client=TASKS,
                     uploads_per_client=50, proxy=inbox.url.removeprefix("http://"))  # fmt: skip
    host = Host.of(service)
    (gate,) = host.helpers
    assert service.process
    status = Path(f"/proc/{service.process.pid}")
    chance = random.Random(1)  # noqa: S311 (a plan, not a secret)
    plan = [chance.choice(ATTACKS) if chance.random() < 0.1 else None for _ in range(TASKS)]

    def post(number: int) -> None:
        archive = plan[number] or script(f"echo {number}")
        answer = service.client.post(archive, notify=inbox.url, token=str(number))
        assert answer.status == 200, answer

    service.client.result(script("true"))
    descriptors = [files(service.process.pid), files(gate)]
    temporary = sorted(Path("/tmp").iterdir())
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(post, range(TASKS)))
    told = {int(one["token"]): one for one in inbox.expect(TASKS, seconds=6000)}
    assert sorted(told) == list(range(TASKS))
    for number, attack in enumerate(plan):
        if attack is None:
            assert (told[number]["status"], told[number]["stdout"]) == ("finished", f"{number}\n")
    host.unharmed()
    assert files(service.process.pid) < descriptors[0] + 12
    assert files(gate) == descriptors[1]
    left = {path.name for path in Path("/tmp").iterdir()} - {path.name for path in temporary}
    assert not [name for name in left if "grader" in name or "bwrap" in name]
    assert not Path("/var/tmp/appliance-evil").exists()
    resident = int((status / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert resident < 200 << 20


def files(pid: int) -> int:
    """How many files a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
