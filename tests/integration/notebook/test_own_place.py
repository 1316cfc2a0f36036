"""What a student does to the own session, and what of it others would feel: tried from inside."""

import json
import urllib.request

import pytest
from guest import Guest
from student import Kernel, RefusedError, Student

FORGE = """
import os, socket, tempfile
def datagram(path, text):
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.connect(path)
            s.send(text)
        return "sent"
    except OSError as error:
        return type(error).__name__
def stream(path, tag, text):
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(f"{tag}\\n\\n6\\n0\\n0\\n0\\n0\\n{text}\\n".encode())
        return "sent"
    except OSError as error:
        return type(error).__name__
"""


@pytest.fixture
def student(guest: Guest) -> Student:
    return Student(guest.url, "homely").sign_in()


def fresh(student: Student) -> Kernel:
    return student.start().kernel()


def in_browser(student: Student, profile: str) -> str:
    """What the page says to whoever chooses a profile there."""
    browser = Student(student.url, student.name).sign_in()
    browser.token = ""  # it has cookies alone
    browser.request("GET", "/hub/home")
    xsrf = next(cookie.value for cookie in browser.cookies if cookie.name == "_xsrf")
    form = {"profile": profile, "_xsrf": xsrf}
    return browser.request("POST", "/hub/spawn", form, form=True)


def test_who_closes_the_own_files_gets_in_again(student: Student) -> None:
    fresh(student).shell("chmod 000 ~")
    student.stop()
    assert fresh(student).shell("cd ~ && stat -c %a . && touch x && echo kept").split() == [
        *("700", "kept")
    ]
    student.stop()


def test_a_profile_that_is_gone_is_refused_once(student: Student) -> None:
    with pytest.raises(RefusedError, match="There is no profile 'gone'") as refused:
        student.json("POST", f"/hub/api/users/{student.name}/server", {"profile": "gone"})
    assert refused.value.status == 400
    with pytest.raises(RefusedError, match="HTTP 400") as refused:
        in_browser(student, "gone")
    assert "Error: There is no profile &#39;gone&#39;" in refused.value.body
    assert fresh(student).run("6 * 7") == "42"
    student.stop()


def test_a_session_forges_no_line_of_the_system(guest: Guest, student: Student) -> None:
    kernel = fresh(student)
    kernel.run(FORGE)
    forged = "nb9 is open for forged-line"
    places = ["/run/systemd/journal/socket", "/run/systemd/journal/dev-log", "/dev/log"]
    for place in places:
        said = kernel.run(f"datagram({place!r}, b'<86>notebook-account[1]: {forged}')")
        assert "sent" not in said, place
    said = kernel.run(f"stream('/run/systemd/journal/stdout', 'notebook-account', {forged!r})")
    assert "sent" not in said
    assert "sent" in kernel.run(f"stream('/run/journal', 'notebook-account', {forged!r})")
    assert "sent" in kernel.run("stream('/run/journal', 'sudo', 'x' * (25 << 20))")
    kernel.shell(f"logger -t sudo '{forged}'")
    found = "journalctl -q --no-pager -o cat"
    until = f"until {found} --namespace=sessions -g forged-line; do sleep 0.2; done"
    guest.run(f"timeout 60 sh -c '{until}'")  # it is theirs, and labelled so
    assert guest.run(f"{found} -g forged-line || true") == ""
    guest.run("journalctl --sync")
    assert guest.run("journalctl -q -t notebook-account -o cat | tail -1").strip() != forged
    student.stop()


def test_what_the_hub_logs_of_a_student_is_a_line_of_the_hubs(
    guest: Guest, student: Student
) -> None:
    """A browser's report is written into the system's journal."""
    browser = Student(student.url, student.name).sign_in()
    browser.request("GET", "/hub/home")
    xsrf = next(cookie.value for cookie in browser.cookies if cookie.name == "_xsrf")
    forged = "forged-by-report\n[W 2026-01-01 Hub base:1] forged-too\n"
    for told in (forged + "xxxx" * 3000, "\r\x1b[2K" + forged):
        place = f"{student.url}/hub/security/csp-report"
        report = urllib.request.Request(place, told.encode(), {"X-XSRFToken": xsrf or ""})
        browser.opener.open(report, timeout=30).close()
    found = "journalctl -q --no-pager -o cat -u notebook -g"
    guest.run(f"timeout 60 sh -c 'until {found} forged-too; do sleep 0.2; done'")
    lines = guest.run(f"journalctl --sync; {found} forged; {found} xxxx").splitlines()
    assert all("Content security violation: " in line for line in lines), lines
    assert max(map(len, lines)) < 2200


def test_places_in_memory_are_smaller_than_the_memory(guest: Guest, student: Student) -> None:
    own = "/etc/notebook/students.json"
    guest.run(f"echo '{json.dumps({student.name: {'memory': 128 << 20}})}' > {own}")
    try:
        kernel = fresh(student)
        account = kernel.shell("id -un").strip()
        sizes = kernel.shell(f"stat -fc '%b %S' /home/{account} /tmp /var/tmp /dev/shm")
        pairs = [line.split() for line in sizes.splitlines()]
        assert sum(int(blocks) * int(size) for blocks, size in pairs) <= 64 << 20
        assert "nosuid,nodev" in kernel.shell("grep ' /dev/shm ' /proc/mounts")
        said = kernel.shell("head -c 20M /dev/zero > /dev/shm/full; rm /dev/shm/full")
        assert "No space left on device" in said
        student.stop()
    finally:
        guest.run(f"rm -f {own}")


@pytest.mark.parametrize("name", ["guest.json", "students.json"])
def test_who_is_in_which_course_is_not_read(guest: Guest, student: Student, name: str) -> None:
    guest.run(f"test -e /etc/notebook/{name} || (umask 077; echo '{{}}' > /etc/notebook/{name})")
    assert "denied" in fresh(student).shell(f"cat /etc/notebook/{name}")
    student.stop()
