"""Sessions as students and their teacher meet them: real hub, real ssh, real kernels."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import websocket
from click.testing import CliRunner
from guest import Guest, settings
from student import RefusedError, Student

from provision.cli import appliance


@pytest.fixture(autouse=True)
def fresh(guest: Guest) -> Iterator[None]:
    """Each test begins with an empty pool."""
    yield
    guest.run("pkill -x ssh || true")
    _until(lambda: not guest.run("ps -u nb1,nb2,nb3 -o pid= || true").strip())
    guest.run("systemctl reset-failed; systemctl start notebook-proxy notebook")
    guest.wait()


def _until(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_student_signs_in_and_computes(guest: Guest) -> None:
    alice = Student(guest.url, "alice").sign_in().start()
    assert alice.kernel().run("6 * 7") == "42"


def test_files_stay_and_nothing_else(guest: Guest) -> None:
    bob = Student(guest.url, "bob").sign_in().start()
    bob.kernel().shell("echo mine > kept; touch ~/../gone /tmp/gone /var/tmp/gone /dev/shm/gone")
    bob.stop()
    bob.start()
    kernel = bob.kernel()
    assert kernel.shell("cat kept") == "mine\n"
    assert kernel.shell("ls ~/../gone /tmp/gone /var/tmp/gone /dev/shm/gone 2>/dev/null") == ""


def test_who_comes_next_on_an_account_sees_nothing(guest: Guest) -> None:
    carol = Student(guest.url, "carol").sign_in().start()
    account = (
        carol.kernel()
        .shell("id -un; echo secret > diary; (sleep 1000 > /dev/null 2>&1 &)")
        .split()[0]
    )
    carol.stop()
    dave = Student(guest.url, "dave").sign_in().start()
    kernel = dave.kernel()
    assert kernel.shell("id -un").strip() == account
    assert kernel.shell("cat diary ~/diary /home/students/carol/diary 2>/dev/null") == ""
    assert "sleep 1000" not in kernel.shell("ps -ef")


def test_students_files_belong_to_the_student(guest: Guest) -> None:
    erin = Student(guest.url, "erin").sign_in().start()
    erin.kernel().shell("touch here")
    owner = int(guest.run("stat -c %u /home/students/erin/here"))
    assert 50000 <= owner < 60000


def test_a_full_house_puts_students_in_line(guest: Guest) -> None:
    for name in ("one", "two", "three"):
        Student(guest.url, name).sign_in().start()
    late = Student(guest.url, "late").sign_in()
    with contextlib.suppress(RefusedError):
        late.json("POST", "/hub/api/users/late/server", {})
    told = late.request("GET", "/hub/api/users/late/server/progress")
    assert "All 3 places are taken" in told
    assert "You are number 1 in line" in told
    assert "try again later" in told


def test_a_place_that_becomes_free_goes_to_the_first_in_line(guest: Guest) -> None:
    with settings(guest, patience=120):
        first, *_ = [Student(guest.url, n).sign_in().start() for n in ("one", "two", "three")]
        late = Student(guest.url, "late").sign_in()
        late.json("POST", "/hub/api/users/late/server", {})
        assert not late.ready()
        first.stop()
        _until(late.ready)


def test_a_killed_hub_loses_nothing(guest: Guest) -> None:
    frank = Student(guest.url, "frank").sign_in().start()
    kernel = frank.kernel()
    kernel.run("x = 41")
    guest.run("systemctl kill --kill-whom=main -s KILL notebook")
    assert kernel.run("x + 1") == "42"
    guest.wait()
    _until(frank.ready)
    assert kernel.run("x + 1") == "42"
    frank.stop()
    _until(lambda: not guest.run("ps -u nb1,nb2,nb3 -o pid= || true").strip())


def test_a_killed_proxy_loses_no_session(guest: Guest) -> None:
    grace = Student(guest.url, "grace").sign_in().start()
    kernel = grace.kernel()
    kernel.run("x = 41")
    guest.run("systemctl kill -s KILL notebook-proxy")
    guest.wait()

    def back() -> bool:
        with contextlib.suppress(RefusedError):
            return bool(grace.server("GET", "kernels"))
        return False

    _until(back)
    assert [k["id"] for k in grace.server("GET", "kernels")] == [kernel.id]


def test_a_session_that_dies_frees_its_place(guest: Guest) -> None:
    heidi = Student(guest.url, "heidi").sign_in().start()
    heidi.kernel().shell("(setsid sleep 1000 > /dev/null 2>&1 &)")
    guest.run("pkill -x ssh")
    _until(lambda: not heidi.ready())
    _until(lambda: guest.run("ps -u nb1,nb2,nb3 -o pid= || true").strip() == "")
    heidi.start()


def test_wrong_passwords_lock_a_name_out(guest: Guest) -> None:
    Student(guest.url, "ivan").sign_in()
    checked = 0
    while checked < 8:  # each further one doubles the wait: on a slow machine, too, it has begun
        with pytest.raises(RefusedError) as refused:
            Student(guest.url, "ivan", "wrong horse").sign_in()
        checked += refused.value.status != 429
    with pytest.raises(RefusedError) as refused:
        Student(guest.url, "ivan").sign_in()
    assert refused.value.status == 429
    assert "Too many wrong passwords" in refused.value.body


def test_nobody_becomes_the_admin_by_being_first(guest: Guest) -> None:
    with pytest.raises(RefusedError):
        Student(guest.url, "sageadm").sign_in()
    password = guest.run("cat /var/lib/notebook/first-password").strip()
    admin = Student(guest.url, "sageadm", password).sign_in()
    assert admin.json("GET", "/hub/api/users/sageadm")["admin"]


def test_accounts_are_made_by_the_teacher(guest: Guest) -> None:
    guest.run("printf 'judy,battery staple\\nkim\\n' | notebook-accounts import -")
    with pytest.raises(RefusedError):
        Student(guest.url, "judy").sign_in()
    Student(guest.url, "judy", "battery staple").sign_in()
    Student(guest.url, "kim", "her own choice").sign_in()
    with pytest.raises(RefusedError):
        Student(guest.url, "kim", "another's choice").sign_in()
    guest.run("notebook-accounts lock judy")
    with pytest.raises(RefusedError):
        Student(guest.url, "judy", "battery staple").sign_in()


def test_the_script_runs_by_hand(guest: Guest) -> None:
    guest.run("systemctl stop notebook notebook-proxy")
    guest.run("systemd-run --unit by-hand --uid notebook /usr/local/bin/start-notebook")
    try:
        guest.wait()
        hand = Student(guest.url, "hand").sign_in().start()
        assert hand.kernel().run("1 + 1") == "2"
    finally:
        guest.run("systemctl stop by-hand")


def test_the_script_reads_like_the_old_page(guest: Guest) -> None:
    text = guest.run("cat /usr/local/bin/start-notebook")
    for name in (
        *("server_pool", "directory", "port", "interface", "secure", "timeout", "ulimit"),
        "accounts",
    ):
        assert f"    {name}=" in text
    assert '"nb1@localhost"' in text


def test_further_limits_are_those_of_a_session(guest: Guest) -> None:
    with settings(guest, ulimit="-n 200 -t 3600 -v 999999999"):
        limited = Student(guest.url, "limited").sign_in().start()
        told = limited.kernel().shell("ulimit -Hn; ulimit -Ht; ulimit -t; ulimit -Hv; ulimit -Hf")
        # The file size is not among them: it has the configured limit as before.
        assert told.split() == ["200", "3600", "3600", "999999999", str(100 << 10)]


def test_who_is_in_line_is_told(guest: Guest) -> None:
    for name in ("one", "two", "three"):
        Student(guest.url, name).sign_in().start()
    waiting = [Student(guest.url, name).sign_in() for name in ("early", "late")]

    def ask(student: Student) -> None:
        with contextlib.suppress(RefusedError):
            student.json("POST", f"/hub/api/users/{student.name}/server", {})

    for student in waiting:
        threading.Thread(target=ask, args=[student], daemon=True).start()
        _until(lambda s=student: s.json("GET", f"/hub/api/users/{s.name}")["pending"] == "spawn")
    told = waiting[1].request("GET", "/hub/api/users/late/server/progress")
    assert "You are number 2 in line (early, you)" in told


def test_an_ended_session_leaves_a_notice_and_a_busy_one_goes_on(guest: Guest) -> None:
    with settings(guest, timeout=10):
        busy = Student(guest.url, "busy").sign_in().start()
        busy.kernel().shell("(timeout 300 sh -c 'while :; do :; done' > /dev/null 2>&1 &)")
        lazy = Student(guest.url, "lazy").sign_in().start()
        lazy.kernel().shell("echo kept > work.txt")
        _until(lambda: not lazy.ready())
        assert busy.ready()
        assert guest.run("cat /home/students/lazy/work.txt") == "kept\n"
        page = lazy.request("GET", "/hub/home")
        assert "Your last session ended by itself" in page
        assert "after 10 seconds without use" in page
        lazy.start()
        assert "ended by itself" not in lazy.request("GET", "/hub/home")


def test_no_session_lasts_longer_than_allowed(guest: Guest) -> None:
    with settings(guest, timeout=0, session_expiry=8):
        long = Student(guest.url, "long").sign_in()
        with contextlib.suppress(OSError, RefusedError, websocket.WebSocketException):
            kernel = long.start().kernel()
            for _ in range(60):
                kernel.run("1 + 1", 5)
                time.sleep(0.5)
        _until(lambda: "as every session does" in long.request("GET", "/hub/home"))
        assert not long.ready()


def test_the_notebook_is_stopped_started_and_reloaded(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the verbs of the command line, whose VM is this guest."""
    vm = SimpleNamespace(endpoint=lambda: guest.endpoint)
    monkeypatch.setattr("provision.cli._machine.open_machine", lambda *_: vm)

    def verb(*words: str) -> str:
        done = CliRunner().invoke(appliance, ["notebook", *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    leo = Student(guest.url, "leo").sign_in().start()
    kernel = leo.kernel()
    kernel.run("x = 41")
    before = guest.run("systemctl show -P MainPID notebook")
    verb("reload")
    _until(lambda: guest.run("systemctl show -P MainPID notebook") not in (before, "0\n"))
    guest.wait()
    _until(leo.ready)
    assert kernel.run("x + 1") == "42"
    told = json.loads(verb("status", "--json"))
    assert told["units"]["notebook"] == "active"
    assert [each["student"] for each in told["sessions"]] == ["leo"]
    verb("stop")
    _until(lambda: not guest.run("ps -u nb1,nb2,nb3 -o pid= || true").strip())
    with pytest.raises(OSError):
        Student(guest.url, "leo").sign_in()
    assert "inactive" in verb("status")
    verb("start")
    guest.wait()
    leo = Student(guest.url, "leo").sign_in().start()
    assert leo.kernel().run("6 * 7") == "42"


def test_the_journal_is_read_by_student(guest: Guest) -> None:
    Student(guest.url, "noether").sign_in().start()
    assert "noether" in guest.run("journalctl -q -t notebook-account -o cat")
    _until(
        lambda: (
            "Jupyter" in guest.run("journalctl -q --namespace=sessions -t notebook-noether -o cat")
        )
    )


def test_the_script_runs_under_dtach(guest: Guest) -> None:
    guest.run("apt-get -qq update && apt-get -qq install -y --no-install-recommends dtach", 300)
    start = "runuser -u sageadm -- script -qec attach-notebook /dev/null"
    assert "systemctl stop notebook" in guest.run(f"{start} 2>&1 || true")
    guest.run("systemctl stop notebook notebook-proxy")
    guest.run(f"systemd-run --unit by-dtach {start}")
    try:
        guest.wait()
        hand = Student(guest.url, "hand2").sign_in().start()
        guest.run("test -S /tmp/notebook-sageadm.socket")
        assert hand.kernel().run("1 + 1") == "2"
    finally:
        # Killed: what dtach holds hears no SIGTERM, and the unit's stop waits 90 s for it.
        guest.run("systemctl kill -s KILL by-dtach; pkill -u sageadm; sleep 1; rm -f /tmp/*.socket")


def test_a_classic_sage_gets_its_script_from_the_same_template(guest: Guest) -> None:
    """The names are those of sagenb's notebook(), which has gone with Python 2."""
    called: dict[str, object] = {}
    script = guest.run("cat /home/sageadm/start_notebook.sage")
    exec(script, {"notebook": lambda **given: called.update(given)})  # noqa: S102
    assert called == {
        "server_pool": ["nb1@localhost", "nb2@localhost", "nb3@localhost"],
        "directory": "/home/sageadm/nbfiles",
        "port": 8000,
        "interface": "0.0.0.0",  # noqa: S104 - the guest's
        "secure": False,
        "timeout": 3600,
        "ulimit": "",
        "accounts": True,
        "open_viewer": False,
    }


def test_a_paused_machine_goes_on(guest: Guest) -> None:
    pia = Student(guest.url, "pia").sign_in().start()
    kernel = pia.kernel()
    kernel.run("x = 41")
    guest.run("systemd-run --collect sh -c 'kill -STOP -1; sleep 5; kill -CONT -1'; sleep 1")
    assert kernel.run("x + 1") == "42"
    assert pia.ready()


def test_full_files_stop_nobody(guest: Guest) -> None:
    quinn = Student(guest.url, "quinn").sign_in().start()
    kernel = quinn.kernel()
    kernel.run("x = 41")
    kernel.shell("echo kept > kept")
    guest.run("mount -o remount,size=4m /home/students; cp /dev/zero /home/students/full || true")
    try:
        assert "No space left" in kernel.shell("head -c 100000 /dev/zero > more; true")
        assert kernel.run("x + 1") == "42"
        # Who has files already still gets a session; nobody's is lost.
        quinn.stop()
        quinn.start()
        assert quinn.kernel().shell("cat kept") == "kept\n"
    finally:
        guest.run("rm /home/students/full; mount -o remount,size=50% /home/students")
