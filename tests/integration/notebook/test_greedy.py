"""One student cannot stop everybody's sign-in by taking what all share."""

from collections.abc import Iterator

import pytest
from guest import Guest
from student import Kernel, RefusedError, Student

# Idle connections to the hub, by as many processes as there may be descriptors for.
HUB = """
import socket, subprocess, sys
code = (
    "import socket, sys\\nheld = []\\n"
    "for _ in range(400):\\n"
    "    try: held.append(socket.create_connection(('127.0.0.1', 8081), 5))\\n"
    "    except OSError: pass\\n"
    "print(len(held), flush=True); sys.stdin.read()"
)
pipe = subprocess.PIPE
takers = [subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) for _ in range(4)]
print(sum(int(taker.stdout.readline()) for taker in takers))
"""
LOOPS = """
import socket, time
door = socket.create_server(("127.0.0.1", 0), backlog=1000)
opened, begun = 0, time.monotonic()
for _ in range(20000):
    try:
        with socket.create_connection(door.getsockname(), 5):
            door.accept()[0].close()
        opened += 1
    except OSError:
        pass
print(opened, time.monotonic() - begun)
"""
TERMINALS = """
import os
terminals = []
try:
    while len(terminals) < 3000:
        terminals.append(os.openpty())
        os.close(terminals[-1][1])
except OSError:
    pass
print(len(terminals))
"""
VISITOR = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (8000, 8000))
held = []
for _ in range(3000):
    try:
        held.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30, ("127.0.8.1", 0)))
    except OSError:
        break
other = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30, ("127.0.8.2", 0))
other.sendall(b"GET /hub/login HTTP/1.0\\r\\n\\r\\n")
print(len(held), other.recv(100).split()[1].decode())
"""


@pytest.fixture(scope="module")
def greedy(guest: Guest) -> Iterator[Kernel]:
    student = Student(guest.url, "greedy").sign_in().start()
    yield student.kernel()
    student.stop()


def others_work(guest: Guest, name: str) -> None:
    """Somebody signs in, computes, and opens a terminal."""
    other = Student(guest.url, name).sign_in().start()
    assert other.kernel().run("1 + 1") == "2"
    terminal = other.server("POST", "terminals")["name"]
    assert "42" in other.terminal(terminal, "echo $((6 * 7)); echo over")
    other.stop()


def test_idle_connections_leave_the_hub_to_others(guest: Guest, greedy: Kernel) -> None:
    greedy.run(f"hub = compile({HUB!r}, 'hub', 'exec')")
    taken = int(greedy.run("exec(hub)"))
    assert 0 < taken <= 40
    others_work(guest, "after-hub")
    greedy.run("[(taker.stdin.close(), taker.wait()) for taker in takers]; None")
    assert greedy.student.ready()


def test_loops_of_connections_do_not_fill_the_kernels_table(guest: Guest, greedy: Kernel) -> None:
    opened, seconds = map(float, greedy.run(LOOPS, patience=300).split())
    assert opened <= 1000 + 50 * seconds + 100
    others_work(guest, "after-loops")


def test_terminals_are_left_to_others(guest: Guest, greedy: Kernel) -> None:
    assert int(greedy.run(TERMINALS)) <= 64
    others_work(guest, "after-terminals")
    guest.run("python3 -c 'import os; os.openpty()'")
    greedy.run("[os.close(each) for each, _ in terminals]; None")


def test_a_student_fills_neither_the_hubs_memory_nor_its_database(
    guest: Guest, greedy: Kernel
) -> None:
    size = "stat -c %s /var/lib/notebook/jupyterhub.sqlite"
    before = int(guest.run(size))
    user, tokens = "/hub/api/users/greedy", "/hub/api/users/greedy/tokens"
    for path in (f"{user}/server", f"{user}/activity"):
        with pytest.raises(RefusedError) as refused:
            greedy.student.json("POST", path, {"profile": "any", "more": "x" * (900 << 10)})
        assert refused.value.status == 413, path
        # It answers, or hangs up while it is still being told.
        with pytest.raises((RefusedError, OSError)) as long:
            greedy.student.json("POST", path, {"profile": "any", "more": "x" * (12 << 20)})
        assert getattr(long.value, "status", 400) in (400, 503), path
    for note in ("x" * (900 << 10), "x" * 201, {"a": 1}, ["a"]):
        with pytest.raises(RefusedError, match="at most 200 characters") as refused:
            greedy.student.json("POST", tokens, {"note": note})
        assert refused.value.status == 400
    assert int(guest.run(size)) < before + (1 << 20)


def test_nobody_has_tokens_without_end(guest: Guest, greedy: Kernel) -> None:
    database = "python3 - << 'END'\nimport sqlite3\n{}\nEND"
    lines = (
        "hub = sqlite3.connect('/var/lib/notebook/jupyterhub.sqlite', timeout=30)",
        "user, = hub.execute(\"select id from users where name = 'greedy'\").fetchone()",
    )
    made = "[('oauth', 'prefix', user, 'jupyterhub', 'greedy', f'made {n}') for n in range(1000)]"
    more = (
        f"rows = {made}",
        "words = 'insert into api_tokens (session_id, prefix, user_id, client_id, note, hashed)'",
        "hub.executemany(words + ' values (?, ?, ?, ?, ?, ?)', rows); hub.commit()",
    )
    guest.run(database.format("\n".join((*lines, *more))))
    try:
        with pytest.raises(RefusedError, match="There are 1000 tokens") as refused:
            greedy.student.json("POST", "/hub/api/users/greedy/tokens", {})
        assert refused.value.status == 400
        others_work(guest, "after-tokens")
    finally:
        end = "hub.execute('delete from api_tokens where hashed like \"made %\"'); hub.commit()"
        guest.run(database.format("\n".join((*lines, end))))
    assert greedy.student.json("POST", "/hub/api/users/greedy/tokens", {"note": "mine"})["note"]


@pytest.mark.parametrize(("port", "answer"), [(8000, "200"), (8443, "302")])
def test_one_visitor_does_not_take_all_of_the_proxy(guest: Guest, port: int, answer: str) -> None:
    program = f"cat > /root/visitor.py << 'END'{VISITOR}END\npython3 /root/visitor.py"
    held, status = guest.run(f"{program} {port}").split()
    assert 500 < int(held) <= 1024
    assert status == answer


def test_hub_and_proxy_have_descriptors_for_all(guest: Guest) -> None:
    for unit in ("notebook", "notebook-proxy"):
        soft = guest.run(
            f"awk '/open files/ {{print $4}}' /proc/$(systemctl show -P MainPID {unit})/limits"
        )
        assert int(soft) >= 16384
