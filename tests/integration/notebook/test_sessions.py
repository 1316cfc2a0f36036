"""Sessions as students and their teacher meet them: real hub, real ssh, real kernels."""

import contextlib
import time
from collections.abc import Iterator

import pytest
from guest import Guest
from student import RefusedError, Student


@pytest.fixture(autouse=True)
def fresh(guest: Guest) -> Iterator[None]:
    """Each test begins with an empty pool."""
    yield
    guest.run("pkill -x ssh || true")
    _until(lambda: not guest.run("ps -u nb1,nb2,nb3 -o pid= || true").strip())
    guest.run("systemctl reset-failed; systemctl start notebook-proxy notebook")
    guest.wait()


def _until(condition, seconds: float = 20) -> None:
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

    _until(back, 60)
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
    for _ in range(5):
        with pytest.raises(RefusedError):
            Student(guest.url, "ivan", "wrong horse").sign_in()
    for _ in range(3):
        with contextlib.suppress(RefusedError):
            Student(guest.url, "ivan", "wrong horse").sign_in()
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


def test_an_idle_session_is_ended_and_its_files_stay(guest: Guest) -> None:
    guest.run("cp /usr/local/bin/start-notebook /root/kept")
    guest.run("sed -i 's/timeout=[0-9]*/timeout=10/' /usr/local/bin/start-notebook")
    guest.run("systemctl restart notebook")
    guest.wait()
    try:
        lazy = Student(guest.url, "lazy").sign_in().start()
        lazy.kernel().shell("echo kept > work.txt")
        _until(lambda: not lazy.ready(), 120)
        assert guest.run("cat /home/students/lazy/work.txt") == "kept\n"
    finally:
        guest.run("mv /root/kept /usr/local/bin/start-notebook; systemctl restart notebook")


def test_the_script_runs_by_hand(guest: Guest) -> None:
    guest.run("systemctl stop notebook notebook-proxy")
    guest.run("systemd-run --unit by-hand --uid sageadm /usr/local/bin/start-notebook")
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
