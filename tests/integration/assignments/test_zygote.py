"""What a forked child may in its box, with this machine's Python: nothing of another's.

Whole notebooks, and what students try in them, are in tests/integration/notebook.
"""

import json
import secrets
import time
from collections.abc import Iterator

import pytest

from provision.guest.assignments import boxes
from provision.guest.assignments.boxes import Boxed
from provision.guest.assignments.kernels import Kernel
from provision.guest.sandbox.limits import Limits, Verdict

LIMITS = boxes.LIMITS._replace(clock=60, cpu=30)


class Coder:
    """A child that runs what it is told: the examiner's program, whose code is a teacher's."""

    def __init__(self, zygote: boxes.Zygote, limits: Limits = LIMITS) -> None:
        self.boxed = Boxed(zygote, "examiner", 30, limits)
        self._key = secrets.token_hex()
        self.boxed.send({"source": {"cells": [], "locked": []}, "key": self._key})
        self.boxed.receive(60)

    def run(self, code: str) -> str:
        """What the last line of some code is; of an error its message; of an end why."""
        self.boxed.send({"run": code, "key": self._key})
        line = self.boxed.receive(60)
        if line is None:
            return self.boxed.gone
        told = (json.loads(line)["done"] or [{"evalue": ""}])[-1]
        return str(told["data"]["text/plain"] if "data" in told else told["evalue"])


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[boxes.Boxes]:
    kernel = Kernel(("/usr/bin/python3",), ())
    found = boxes.Boxes(boxes.root(tmp_path_factory.mktemp("root"), kernel), kernel)
    yield found
    found.close()


@pytest.fixture
def zygote(kept: boxes.Boxes) -> boxes.Zygote:
    return kept.begin()


@pytest.fixture
def coder(zygote: boxes.Zygote) -> Iterator[Coder]:
    found = Coder(zygote)
    yield found
    found.boxed.close()


@pytest.fixture
def other(zygote: boxes.Zygote) -> Iterator[Coder]:
    found = Coder(zygote)
    yield found
    found.boxed.close()


CALL = "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        pytest.param(f"{CALL}libc.unshare(0x00020000), ctypes.get_errno()", "(-1, 1)", id="mounts"),
        pytest.param(f"{CALL}libc.unshare(0x10000000), ctypes.get_errno()", "(-1, 1)", id="users"),
        pytest.param(
            f"{CALL}libc.mount(b'none', b'/tmp', b'tmpfs', 0, None), ctypes.get_errno()",
            "(-1, 1)",
            id="mount",
        ),
        pytest.param(f"{CALL}libc.umount2(b'/tmp', 2), ctypes.get_errno()", "(-1, 1)", id="umount"),
        pytest.param(f"{CALL}libc.setns(0, 0), ctypes.get_errno()", "(-1, 1)", id="setns"),
        pytest.param(f"{CALL}libc.ptrace(16, 1, 0, 0), ctypes.get_errno()", "(-1, 1)", id="ptrace"),
        pytest.param(
            f"{CALL}header, held = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()\n"
            "libc.capget(header, held), [*held]",
            "(0, [0, 0, 0, 0, 0, 0])",
            id="capabilities",
        ),
        pytest.param(
            "import fcntl, socket, struct\n"
            "with socket.socket() as asking: fcntl.ioctl(asking, 0x8914, "
            "struct.pack('16sH22x', b'lo', 0))",
            "[Errno 1] Operation not permitted",
            id="network",
        ),
        pytest.param("open('/etc/passwd', 'w')", "Read-only file system", id="root"),
        pytest.param("import os; os.listdir('/proc')", "No such file or directory", id="proc"),
        pytest.param(
            "import os\nfound = []\n"
            "for number in range(256):\n"
            "    try: os.fstat(number); found.append(number)\n"
            "    except OSError: pass\n"
            "found",
            "[0, 1, 2, 3, 4, 5]",  # /dev/null, and the two of its own line
            id="descriptors",
        ),
    ],
)
def test_what_is_refused(coder: Coder, code: str, told: str) -> None:
    assert told in coder.run(code)


def test_nothing_of_another_is_seen(coder: Coder, other: Coder) -> None:
    assert coder.run("open('/tmp/mine', 'w').write('1')") == "1"
    assert "No such file" in other.run("open('/tmp/mine')")
    bound = "import socket; place = socket.socket(socket.AF_UNIX); place.bind('\\0meet'); 1"
    assert [each.run(bound) for each in (coder, other)] == ["1", "1"]  # the same name twice
    listen = "server = socket.create_server(('127.0.0.1', 7001)); server.fileno() > 0"
    assert coder.run(listen) == "True"
    assert "refused" in other.run("socket.create_connection(('127.0.0.1', 7001))")
    # Whom it sees: itself, and who buries its orphans.
    assert [each.run("import os; os.getpid(), os.getppid()") for each in (coder, other)] == [
        "(2, 1)"
    ] * 2
    assert "No such process" in other.run("os.kill(3, 0)")


def test_what_one_does_ends_nobody_else(coder: Coder, other: Coder, zygote: boxes.Zygote) -> None:
    orphan = "import os, time\nif not os.fork():\n    time.sleep(100)\n    os._exit(0)\n1"
    assert coder.run(orphan) == "1"
    assert coder.run("import os\nfor each in (-1, 1): os.kill(each, 9)\n1") in (
        "1",
        coder.boxed.gone,
    )
    assert other.run("1") == "1"
    coder.boxed.close()
    assert zygote.runs()
    assert other.run("2") == "2"
    coder.boxed = Coder(zygote).boxed


def test_each_has_its_own_chance(coder: Coder, other: Coder) -> None:
    draw = (
        "import random, secrets, tempfile; (random.random(), next(tempfile._get_candidate_names()))"
    )
    assert coder.run(draw) != other.run(draw)


@pytest.mark.parametrize(
    ("limits", "code", "why"),
    [
        (LIMITS._replace(clock=2), "import time; time.sleep(20)", Verdict.CLOCK),
        (LIMITS._replace(cpu=1), "while True: pass", Verdict.CPU),
        # The kernel's word counts, however little it says was used.
        (LIMITS, "import resource\nresource.setrlimit(0, (1, 9))\nwhile True: pass", Verdict.CPU),
    ],
)
def test_time_is_each_ones_own(
    other: Coder, zygote: boxes.Zygote, limits: Limits, code: str, why: Verdict
) -> None:
    coder = Coder(zygote, limits)
    assert coder.run(code).startswith(why.value)
    coder.boxed.close()
    assert other.run("1") == "1"


def test_who_takes_all_memory_is_ended_and_the_next_has_a_box(
    kept: boxes.Boxes, zygote: boxes.Zygote
) -> None:
    coder = Coder(zygote)
    assert coder.run("held = b'1' * (2000 << 20)") == ""  # MemoryError: for one process
    greedy = (
        "import os, time\nfor _ in range(6):\n    if not os.fork():\n"
        "        held = b'1' * (500 << 20)\n        time.sleep(50)\ntime.sleep(50)"
    )
    assert Verdict.MEMORY.value in coder.run(greedy)
    coder.boxed.close()
    after = Coder(kept.begin())
    assert after.run("1") == "1"
    after.boxed.close()


def test_a_child_that_cannot_be_says_why(zygote: boxes.Zygote) -> None:
    begun = time.monotonic()
    boxed = Boxed(zygote, "examiner", 30, LIMITS._replace(disk=-1))
    assert boxed.receive(30) is None
    assert boxed.gone.startswith(Verdict.SETUP.value)
    assert time.monotonic() - begun < 20
    boxed.close()
