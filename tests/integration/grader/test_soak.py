"""Two thousand tasks with attacks among them: nothing leaks, no result is lost."""

import concurrent.futures
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.grader.conftest import Grader, Inbox, python, script
from tests.integration.grader.test_attacks import LIMITS, Host

TASKS = 2000
ATTACKS = [
    script("bomb() { bomb | bomb & bomb; }; bomb 2>/dev/null; sleep 9"),
    python("x = []\nwhile True: x.append(bytearray(1 << 20))"),
    script("yes"),
    script("while :; do :; done"),
    script("kill -9 -1"),
    script("setsid sleep 60 & exit 0"),
    script("dd if=/dev/zero of=f bs=1M count=99 2>/dev/null; ln -s /etc/shadow output.txt"),
    b"no tar",
]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_soak(grader: Callable[..., Grader], inbox: Inbox) -> None:
    limits = {**LIMITS, "clock": 1.0}
    service = grader(limits=limits, instances=2, queue=TASKS, per_client=TASKS,
                     uploads_per_client=50)  # fmt: skip
    host = Host.of(service)
    assert service.process
    status = Path(f"/proc/{service.process.pid}")
    chance = random.Random(1)  # noqa: S311 (a plan, not a secret)
    plan = [chance.choice(ATTACKS) if chance.random() < 0.1 else None for _ in range(TASKS)]

    def post(number: int) -> None:
        archive = plan[number] or script(f"echo {number}")
        answer = service.client.post(archive, notify=inbox.url, token=str(number))
        assert answer.status == 200, answer

    descriptors = len(list((status / "fd").iterdir()))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(post, range(TASKS)))
    told = {int(one["token"]): one for one in inbox.expect(TASKS, seconds=6000)}
    assert sorted(told) == list(range(TASKS))
    for number, attack in enumerate(plan):
        if attack is None:
            assert (told[number]["status"], told[number]["stdout"]) == ("finished", f"{number}\n")
    host.unharmed()
    assert len(list((status / "fd").iterdir())) < descriptors + 12
    resident = int((status / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert resident < 200 << 20
