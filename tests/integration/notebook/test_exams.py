"""An exam: what was prepared for it, who would help, and what becomes of what is written.

Each way to cheat is tried twice: before, where it must show what the student wants to know, so
that it is one, and in the exam, where it must not.
"""

import base64
import contextlib
import json
import socket
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from guest import Guest
from handed import book, cell, make_places, write
from student import Kernel, RefusedError, Student, await_
from toybook import BASE, lay, take_away

from provision.build.variables import EGRESS_PORT
from provision.config import Config
from provision.machine.ports import free_port
from provision.verify import registry

COURSES = "/home/students/.courses"
COURSE = f"{COURSES}/examined"
CRIB, PAPER = "crib-5309", "paper-7741"  # what is looked up, what is not to be seen before
PORT = free_port()  # of this host, outside, where friends answer: by HTTP, and by datagrams
UNFRIENDLY = """
rm -r /opt/other /usr/local/share/jupyter/kernels/other
nft -f /etc/notebook/firewall.nft
"""
OUTSIDE = 'oifname != "lo" accept'
# The rule but one before the end of what sessions may, which refuses the rest.
LAST = "nft -a list chain inet notebook session | grep -o 'handle [0-9]*' | tail -2 | head -1"
OTHER = {"argv": ["/opt/other/bin/run"], "display_name": "Other", "language": "other"}
# In another student's session, who writes no exam.
FRIEND = f"""
import socket, threading
def answer(kind, name):
    s = socket.socket(socket.AF_UNIX, kind); s.bind(name)
    if kind == socket.SOCK_DGRAM:
        while True: s.sendto(b"{CRIB}", s.recvfrom(99)[1])
    s.listen()
    while True: s.accept()[0].sendall(b"{CRIB}")
for kind in (1, 2, 5):
    threading.Thread(target=answer, args=(kind, f"\\0friend{{kind}}"), daemon=True).start()
"""
SEARCH = "grep -rlsE 'paper-[0-9]+' ~ ~/../courses"
# By the student, before.
PREPARED = f"""
umask 077
echo {CRIB} > ~/crib; echo {CRIB} > ~/.crib; echo {CRIB} > ~/../crib
mkdir -p ~/notes/deep ~/.cache ~/.ssh ~/.jupyter/lab/user-settings ~/.local/share/Trash/files
mkdir -p ~/.ipynb_checkpoints ~/.local/bin ~/.config ~/.local/share/jupyter/kernels/mine
for place in notes/deep/crib .cache/crib .ssh/config .jupyter/lab/user-settings/crib .netrc \\
    .local/share/Trash/files/crib .ipynb_checkpoints/crib .bash_history .config/crib \\
    .local/share/jupyter/kernels/mine/kernel.json "courses/examined/hand-in/crib"
do echo {CRIB} > ~/"$place"; done
echo 'crib() {{ echo {CRIB}; }}' > ~/.bashrc
printf '#!/bin/sh\\necho {CRIB}\\n' > ~/.local/bin/crib; chmod 700 ~/.local/bin/crib
mkdir -p "$(python3 -m site --user-site)" ~/.ipython/profile_default/startup
echo 'print("{CRIB}")' > "$(python3 -m site --user-site)/crib.py"
echo 'crib = "{CRIB}"' > ~/.ipython/profile_default/startup/crib.py
mkdir -p ~/courses/examined/hand-in/test; echo {CRIB} > ~/courses/examined/hand-in/test/crib
ln -s ../courses/examined/hand-in/crib ~/link
for place in /tmp /var/tmp /dev/shm ~/../runtime ~/../config; do
    mkdir -p $place; echo {CRIB} > $place/crib; done
git config --global alias.crib '!echo {CRIB}'; git config --global user.email a@b.c
git config --global user.name me
git init -q ~/repo; git -C ~/repo commit -q --allow-empty -m {CRIB}
cd ~; echo 'no text, {CRIB}' | gzip -c > .crib.gz
setsid sh -c 'while :; do sleep 9; done #{CRIB}' > /dev/null 2>&1 < /dev/null &
setsid python3 -m http.server 9321 --bind 127.0.0.1 --directory . > /dev/null 2>&1 < /dev/null &
sleep 1
"""
ASK_URL = "import urllib.request as u; print(u.urlopen('{}', timeout=9).read())"
ASK_UNIX = "import socket; s = socket.socket(socket.AF_UNIX, {0}); s.connect('\\0friend{0}')"
SHELL = {
    "a file": "cat ~/crib",
    "a hidden file": "cat ~/.crib",
    "a file of a folder": "cat ~/notes/deep/crib",
    "beside the files": "cat ~/../crib",
    "a link": "cat ~/link",
    "a cache": "cat ~/.cache/crib",
    "a configuration": "cat ~/.config/crib",
    "a key's settings": "cat ~/.ssh/config",
    "passwords for servers": "cat ~/.netrc",
    "the page's settings": "cat ~/.jupyter/lab/user-settings/crib",
    "what was thrown away": "cat ~/.local/share/Trash/files/crib",
    "a checkpoint": "cat ~/.ipynb_checkpoints/crib",
    "an own kernel": "cat ~/.local/share/jupyter/kernels/mine/kernel.json",
    "the shell's history": "cat ~/.bash_history",
    "the shell's start": "bash -ic crib",
    "an own program": "~/.local/bin/crib",
    "an own module": "python3 -m crib",
    "what is packed": "gzip -dc ~/.crib.gz",
    "all own files": "grep -rhs crib- ~ | head -c 9999",
    "all that can be read": "grep -rhs crib- /home /tmp /var/tmp /dev/shm /run | head -c 9999",
    "handed in before": "cat ~/courses/examined/hand-in/crib",
    "handed in under the exam's name": "cat ~/courses/examined/hand-in/test/crib",
    "handed in, by the place itself": "cat ~/../courses/examined/hand-in/crib",
    "the exam's course's material": "cat ~/../courses/examined/material/crib",
    "what else is handed out": "cat ~/../courses/examined/hand-out/crib",
    "another course": "cat ~/../courses/algebra/material/crib",
    "another course's hand-out": "cat ~/../courses/algebra/hand-out/crib",
    "/tmp": "cat /tmp/crib",
    "/var/tmp": "cat /var/tmp/crib",
    "shared memory": "cat /dev/shm/crib",
    "where sockets are": "cat ~/../runtime/crib",
    "where settings are": "cat ~/../config/crib",
    "a process that was left": "ps -eo args | grep -o '[c]rib-[0-9]*'",
    "a server that was left": f'python3 -c "{ASK_URL.format("http://127.0.0.1:9321/crib")}"',
    "an alias of git": "git crib",
    "a repository": "git -C ~/repo log",
    "a repository, by git's other program": "cd ~/repo; /usr/lib/git-core/git log",
    "a copy of git": "cp /usr/bin/git /tmp/tig; cd ~/repo; /tmp/tig log",
    "a clone": f"git ls-remote http://friends:{PORT}/course.git",
    "the web": f'python3 -c "{ASK_URL.format(f"http://friends:{PORT}/crib.txt")}"',
    "the web, by the shell": (
        f"exec 3<> /dev/tcp/friends/{PORT}; printf 'GET /crib.txt HTTP/1.0\\n\\n' >&3; cat <&3"
    ),
    "the web, by perl": (
        f'perl -MIO::Socket -e \'$s = IO::Socket::INET->new("friends:{PORT}");'
        ' print $s "GET /crib.txt HTTP/1.0\\n\\n"; print <$s>\''
    ),
    "names that are asked for": (
        'python3 -c "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(9);'
        f" s.sendto(b'?', ('friends', {PORT})); print(s.recv(99))\""
    ),
    "a friend's socket": f'python3 -c "{ASK_UNIX.format(1)}; print(s.recv(99))"',
    "a friend's socket of packets": f'python3 -c "{ASK_UNIX.format(5)}; print(s.recv(99))"',
    "a friend's datagrams": (
        f'python3 -c "{ASK_UNIX.format(2).replace("; s.c", "; s.bind(chr(0) + chr(97)); s.c")};'
        " s.send(b'?'); print(s.recv(99))\""
    ),
    "a friend's datagrams, by a pair": (
        'python3 -c "import socket; s, t = socket.socketpair(type=socket.SOCK_DGRAM);'
        " s.bind(chr(0) + 'b'); s.connect(chr(0) + 'friend2'); s.send(b'?'); print(s.recv(99))\""
    ),
    "another kernel's program": "/opt/other/bin/run",
    "another kernel's files": "cat /opt/other/crib",
    "a copy of what was mounted": "umount ~ 2>&1; unshare -Urm umount ~ 2>&1; cat ~/crib",
}
CELLS = {
    "what the kernel starts with": "crib",
    "its history": "list(get_ipython().history_manager.search('crib = *')) or 1 / 0",
    "a module of the kernel's": (
        "import site, sys; sys.path.append(site.getusersitepackages()); import importlib;"
        " importlib.reload(__import__('crib'))"
    ),
}


# In a kernel: what commands show, several at once.
TRY = """
import json, subprocess as s
from concurrent.futures import ThreadPoolExecutor
def shown(command):
    words = ["timeout", "20", "bash", "-c", "cd ~; " + command]
    done = s.run(words, stdout=s.PIPE, stderr=s.STDOUT, stdin=s.DEVNULL)
    return done.stdout.decode(errors="replace")[:9999]
with ThreadPoolExecutor(4) as pool:
    print(json.dumps([*pool.map(shown, json.loads(COMMANDS))]))
"""


def attempts(kernel: Kernel) -> dict[str, str]:
    """What each way shows."""
    kernel.run(f"COMMANDS = {json.dumps([*SHELL.values()])!r}")
    shown = json.loads(kernel.run(TRY, patience=600))
    found = dict(zip(SHELL, shown, strict=True))
    return found | {name: kernel.run(code) for name, code in CELLS.items()}


def quote(command: str) -> str:
    packed = base64.b64encode(command.encode()).decode()
    return f'"$(echo {packed} | base64 -d)"'


def paper() -> dict[str, Any]:
    solution = "def double(n):\n    ### BEGIN SOLUTION\n    return 2 * n\n    ### END SOLUTION"
    return book(
        [
            cell(f"# {PAPER}"),
            cell(solution, grade_id="double", solution=True, locked=False),
            cell("assert double(4) == 8", grade_id="test", grade=True, points=3, locked=True),
        ]
    )


def times(guest: Guest, begin: int, end: int) -> str:
    """Options of ``release``, in minutes from now."""
    moments = (guest.run(f"date -d '{m} minutes' +%FT%T").strip() for m in (begin, end))
    return "--from {} --due {}".format(*moments)


def save(student: Student, path: str, content: dict[str, Any]) -> None:
    """Save a notebook as the page does."""
    student.server("PUT", f"contents/{path}", {"type": "notebook", "content": content})


def has_ended(student: Student) -> bool:
    return not student.ready()


@dataclass
class Hall:
    """An exam that goes on.

    Args:
        student: whose session it is now.
        kernel: in it.
        before, during: what each way to cheat has shown.
        early: what was seen of the exam when it was released and had not begun.
        seen: answers of the session's server.
    """

    student: Student
    kernel: Kernel
    before: dict[str, str]
    during: dict[str, str]
    early: str
    seen: dict[str, Any] = field(default_factory=dict)


class Answer(BaseHTTPRequestHandler):
    """A friend's answer, git's list of branches where that is asked for."""

    def do_GET(self) -> None:
        refs = f"{'1' * 40}\trefs/heads/{CRIB}\n"
        body = (refs if "/info/refs" in self.path else CRIB).encode()
        self.send_response(404 if "HEAD" in self.path else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def friends() -> Iterator[None]:
    """Outside, on this host's loopback, which is the guest's gateway."""
    with (
        ThreadingHTTPServer(("127.0.0.1", PORT), Answer) as web,
        socket.socket(type=socket.SOCK_DGRAM) as names,
    ):
        names.bind(("127.0.0.1", PORT))

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    names.sendto(CRIB.encode(), names.recvfrom(99)[1])

        for work in (web.serve_forever, answer):
            threading.Thread(target=work, daemon=True).start()
        yield
        web.shutdown()


@pytest.fixture(scope="module")
def hall(guest: Guest, friends: None) -> Iterator[Hall]:
    make_places(guest, "examined")
    make_places(guest, "algebra")
    guest.run("systemctl start notebook-assignments.socket notebook-exams")
    guest.run(f"echo {guest.gateway()} friends >> /etc/hosts")
    guest.run(f"mkdir -p /opt/other/bin; echo {CRIB} > /opt/other/crib")
    write(guest, "/opt/other/bin/run", f"#!/bin/sh\necho {CRIB}\n")
    guest.run("chmod 755 /opt/other/bin/run; mkdir -p /usr/local/share/jupyter/kernels/other")
    write(guest, "/usr/local/share/jupyter/kernels/other/kernel.json", json.dumps(OTHER))
    # As where sessions reach the web: an exam's must not.
    handle = guest.run(LAST).split()[-1]
    guest.run(f"nft insert rule inet notebook session position {handle} '{OUTSIDE}'")
    for course in (COURSE, f"{COURSES}/algebra"):
        for part in ("material", "hand-out"):
            owner = guest.run(f"stat -c %u {course}/{part}").strip()
            guest.run(f"umask 077; cd {course}/{part}; echo {CRIB} > crib; chown {owner} crib")
    guest.run(f"mkdir -p {COURSE}/source/test; echo 1,2 > {COURSE}/source/test/data.csv")
    write(guest, f"{COURSE}/source/test/work.ipynb", json.dumps(paper()))

    lay(guest, "cheat")

    friend = Student(guest.url, "friend").sign_in().start()
    friend.kernel().run(FRIEND)
    student = Student(guest.url, "cheat").sign_in().start()
    kernel = student.kernel()
    kernel.run(f"crib = '{CRIB}'")
    kernel.shell(PREPARED)
    kernel = student.kernel()  # which has the start that was prepared
    before = attempts(kernel)

    guest.run(f"notebook-assignments release examined test {times(guest, 60, 120)}")
    early = kernel.shell(
        "grep -rlsE 'paper-[0-9]+' ~ ~/../courses; find ~/../courses -name work.ipynb"
    )
    guest.run(f"notebook-assignments release examined test {times(guest, -1, 60)}")
    await_(lambda: has_ended(student))
    student.start()
    kernel = student.kernel()
    yield Hall(student, kernel, before, attempts(kernel), early)
    guest.run(f"notebook-assignments release examined test {times(guest, -9, -8)}")
    guest.run(UNFRIENDLY)
    take_away(guest)
    for each in (student, friend):
        each.stop()


@pytest.mark.parametrize("way", [*SHELL, *CELLS])
def test_what_helped_before_does_not_in_the_exam(hall: Hall, way: str) -> None:
    assert CRIB in hall.before[way], "this is no way to cheat"
    assert CRIB not in hall.during[way]


def test_nobody_sees_the_paper_before_it_begins(hall: Hall) -> None:
    assert hall.early == ""
    assert PAPER in hall.kernel.shell("cat ~/work.ipynb")
    assert "BEGIN SOLUTION" not in hall.kernel.shell("cat ~/work.ipynb")
    assert hall.kernel.shell("ls ~") == "data.csv\nwork.ipynb\n"


def test_the_server_offers_the_exams_kernels_and_no_terminal(hall: Hall) -> None:
    assert [*hall.student.server("GET", "kernelspecs")["kernelspecs"]] == ["python3"]
    for what, path, body in (
        ("other", "kernels", {"name": "other"}),
        ("mine", "kernels", {"name": "mine"}),
        ("terminal", "terminals", {}),
    ):
        with pytest.raises(RefusedError) as refused:
            hall.student.server("POST", path, body)
        assert refused.value.status in (400, 403, 404, 500), what


def test_the_exam_has_documentation(hall: Hall) -> None:
    base = f"/user/cheat/{BASE}"
    assert f'"{base}toy/index.html#index-quad"' in hall.student.request("GET", f"{base}?q=quad")
    assert "index-quad" in hall.student.request("GET", f"{base}toy/index.html")


def test_an_address_is_not_brought_into_the_exam(hall: Hall) -> None:
    page = hall.student.request("GET", "/user/cheat/appliance/download")
    assert 'name="url"' in page
    ask = (
        "from pathlib import Path; from provision.guest.hub.download import download;"
        f" print(download('http://friends:{PORT}/crib.txt', Path.home()))"
    )
    said = hall.kernel.shell(f'/opt/notebook/bin/python -c "{ask}" 2>&1')
    assert "DownloadError" in said
    assert CRIB not in hall.kernel.shell("cat ~/crib.txt")


@pytest.mark.parametrize(
    "options", [{}, {"profile": ""}, {"exam": ""}, {"course": "examined", "exam": False}]
)
def test_a_session_that_begins_again_is_the_exams(hall: Hall, options: dict[str, Any]) -> None:
    hall.student.stop()
    hall.student.json("POST", "/hub/api/users/cheat/server", options)
    hall.student.start()
    hall.kernel = hall.student.kernel()
    assert CRIB not in hall.kernel.shell("cat ~/crib ~/.crib")
    assert PAPER in hall.kernel.shell("cat ~/work.ipynb")


def test_there_is_no_second_session(hall: Hall) -> None:
    with pytest.raises(RefusedError) as refused:
        hall.student.json("POST", "/hub/api/users/cheat/servers/second", {})
    assert refused.value.status == 400


def test_what_is_put_beside_stays_there(guest: Guest, hall: Hall) -> None:
    """Neither the page of assignments nor a teacher's feedback reaches the exam's session."""
    assert "is an exam" in refusal(guest, "begin")
    guest.run(f"echo {CRIB} > {COURSE}/hand-in/cheat/late")
    assert CRIB not in hall.kernel.shell(f"grep -rhs {CRIB[:5]} ~ /home /tmp /run")


def refusal(guest: Guest, verb: str) -> str:
    """What root's service answers the hub."""
    ask = (
        "from provision.guest.assignments.desk import answer\n"
        f"try: print(answer({verb!r}, 'cheat', 'examined', 'test'))\n"
        "except Exception as error: print(error)\n"
    )
    write(guest, "/root/ask.py", ask)
    return guest.run("umask 077; /opt/notebook/bin/python -I /root/ask.py")


def test_a_firewall_that_starts_again_stays_closed(guest: Guest, hall: Hall) -> None:
    guest.run("systemctl reload notebook-firewall")
    uid = guest.run(f"id -u {hall.kernel.shell('id -un').strip()}").strip()
    assert uid in guest.run("nft list set inet notebook closed")
    handle = guest.run(LAST).split()[-1]
    guest.run(f"nft insert rule inet notebook session position {handle} '{OUTSIDE}'")
    assert CRIB not in hall.kernel.shell(f"timeout 20 bash -c {quote(SHELL['the web'])} 2>&1")


def test_what_is_saved_survives_and_goes_on_elsewhere(guest: Guest, hall: Hall) -> None:
    """The hub is killed, the session's processes are, and the laptop is another one."""
    settings = hall.student.request("GET", "/user/cheat/lab/api/settings")
    saved = next(
        each
        for each in json.loads(settings)["settings"]
        if each["id"] == "@jupyterlab/docmanager-extension:plugin"
    )
    assert saved["settings"].get("autosaveInterval", saved["schema"]) == 10 or (
        saved["schema"]["properties"]["autosaveInterval"]["default"] == 10
    )
    mine = json.loads(hall.kernel.shell("cat ~/work.ipynb"))
    mine["cells"][1]["source"] = "def double(n):\n    return n + n"
    save(hall.student, "work.ipynb", mine)
    account = hall.kernel.shell("id -un").strip()
    guest.run("systemctl kill --kill-whom=main -s KILL notebook")
    guest.wait()
    assert "n + n" in hall.kernel.shell("cat ~/work.ipynb")
    guest.run(f"pkill -KILL -u {account}")
    hall.student = Student(guest.url, "cheat").sign_in()
    await_(lambda: has_ended(hall.student))
    hall.student.start()
    hall.kernel = hall.student.kernel()
    assert "n + n" in hall.kernel.shell("cat ~/work.ipynb")
    assert CRIB not in hall.kernel.shell("cat ~/crib")


def test_a_pause_lets_nobody_work_and_is_added(guest: Guest, hall: Hall) -> None:
    guest.run("notebook-assignments pause examined test --student cheat")
    await_(lambda: has_ended(hall.student))
    with pytest.raises(RefusedError) as refused:
        hall.student.start(20)
    said = "The exam test has been paused for you since "
    assert said in refused.value.body
    browser = Student(guest.url, "cheat")
    browser.sign_in()
    browser.token = ""
    assert said in browser.request("GET", "/hub/home")
    assert "the break is added to your time" in browser.request("GET", "/hub/home")
    told = guest.run("stat -c '%a %U %G' /run/notebook-invigilator/exams.json").split()
    assert told == ["640", "root", "notebook"]
    guest.run("notebook-assignments resume examined test --student cheat")
    await_(lambda: said not in browser.request("GET", "/hub/home"))
    assert "The exam test goes on, for you until " in browser.request("GET", "/hub/home")
    record = json.loads(guest.run(f"cat {COURSE}/grades/test/assignment.json"))
    assert record["exam"]["extra"]["cheat"] > 0
    assert record["exam"]["paused"] == {}
    hall.student.start()
    hall.kernel = hall.student.kernel()
    assert "n + n" in hall.kernel.shell("cat ~/work.ipynb")


def test_it_is_handed_in_by_itself_at_each_ones_end(guest: Guest, hall: Hall) -> None:
    """One has more time; what is kept is listed, and a changed file is found."""
    slow = Student(guest.url, "slow").sign_in().start()
    theirs = slow.kernel()
    guest.run("notebook-assignments extra examined test slow 30")
    guest.run(f"notebook-assignments release examined test {times(guest, -9, -1)}")
    guest.run("notebook-assignments extra examined test cheat -1")
    await_(lambda: has_ended(hall.student))
    await_(lambda: "handed in" in guest.run("notebook-assignments show examined test"))
    assert PAPER in theirs.shell("cat ~/work.ipynb"), "who has more time goes on"
    shown = guest.run("notebook-assignments show examined test")
    assert "slow: nothing handed in" in shown
    guest.run("notebook-assignments extra examined test slow -30")
    await_(lambda: has_ended(slow))
    await_(lambda: "nothing" not in guest.run("notebook-assignments show examined test"))
    graded = guest.run("notebook-assignments grade examined test", timeout=300)
    assert "cheat: 3 of 3" in graded
    assert "slow: 0 of 3" in graded
    assert "late" not in graded

    guest.run("notebook-assignments check examined test")
    guest.run(f"cd {COURSE}/grades/test && sha256sum -c SHA256SUMS")
    told = guest.run(
        "rm -f /root/test.tar; notebook-assignments archive examined test /root/test.tar"
    )
    inside = guest.run("cd /root && tar xf test.tar && cd test && sha256sum SHA256SUMS && ls")
    assert told.split()[0] in inside
    kept = guest.run(f"ls {COURSE}/grades/test/cheat.*/0001/handed/work.ipynb").strip()
    with guest.keeping(kept):
        guest.run(f"echo >> {kept}")
        said = guest.run("! notebook-assignments check examined test 2>&1")
        assert "not as it was handed in: cheat." in said
    guest.run("notebook-assignments check examined test")

    # The exam is over: the own files are back, the paper is not among them.
    hall.student.start()
    hall.kernel = hall.student.kernel()
    assert CRIB in hall.kernel.shell("cat ~/crib")
    assert hall.kernel.shell(SEARCH) == ""
    assert CRIB in hall.kernel.shell(f"timeout 20 bash -c {quote(SHELL['the web'])} 2>&1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--from 2026-12-01T10:00", "an exam ends after it begins"),
        ("--from 2026-12-01T10:00 --due 2026-12-01T10:00", "an exam ends after it begins"),
        ("--from noon --due 2026-12-01T10:00", "'noon' is no time"),
    ],
)
def test_times_that_make_no_exam_are_refused(guest: Guest, options: str, said: str) -> None:
    make_places(guest, "examined")
    command = f"! notebook-assignments release examined test {options} 2>&1"
    assert said in guest.run(textwrap.dedent(command))


SCRIPT = (registry.INSIDE / "exam.py").read_text()
ASKED = {"directory": "/home/students", "egress": EGRESS_PORT}
LEFT = (
    "findmnt -n /etc/notebook/guest.json; ls -d /home/students/verify-* "
    "/home/students/.courses/verify-*; grep -ls verify- /run/notebook-exams/*; "
    "notebook-sessions | grep verify-; true"
)


def held(guest: Guest) -> dict[str, str]:
    """What `verify` finds wrong with an exam that it holds in the guest, by promise."""
    write(guest, "/root/exam.py", SCRIPT)
    facts = json.loads(guest.run(f"python3 - '{json.dumps(ASKED)}' < /root/exam.py", timeout=300))
    rows = registry.judge(Config(), {"exam": facts})
    assert len([row for row in rows if row.name.startswith("exam-")]) == 3
    return {row.name: row.detail for row in rows if row.result == "failed"}


def test_verify_holds_an_exam_and_leaves_nothing_of_it(guest: Guest) -> None:
    make_places(guest, "examined")
    guest.run("systemctl start notebook-exams")
    before = guest.run("cat /etc/notebook/guest.json")
    assert held(guest) == {}
    assert guest.run(LEFT) == ""
    assert guest.run("cat /etc/notebook/guest.json") == before
    assert guest.run("find /home/students -name '*verify-*'") == ""


def test_verify_finds_out_what_an_exam_lacks(guest: Guest) -> None:
    place = "/opt/notebook/lib/python3*/site-packages/provision/guest"
    pool, versions = f"{place}/pool/exams.py", f"{place}/assignments/versions.py"
    with guest.keeping(pool, versions, then="systemctl restart notebook-exams"):
        guest.run(f"sed -i 's/for path in PROGRAMS if/for path in () if/' {pool}")
        guest.run(f"sed -i 's/add {{element}}/list ruleset/' {pool}")
        guest.run(f"sed -i 's/return gone + new + .*/return []/' {versions}")
        found = held(guest)
    assert found.keys() == {"exam-alone", "exam-handed-in"}
    assert found["exam-alone"].startswith("the firewall lets its session out")
    assert "the program ssh" in found["exam-alone"]
    assert found["exam-handed-in"] == "a changed hand-in is not noticed"


def test_a_verify_that_is_cut_off_is_cleared_away(guest: Guest) -> None:
    write(guest, "/root/exam.py", SCRIPT)
    write(guest, "/root/cut.sh", f"exec python3 - '{json.dumps(ASKED)}' < /root/exam.py")
    seen = "ls /home/students/.courses/verify-course/exam/exam/*/during.json"
    for how in ("KILL", "TERM"):  # the second comes as far after the first
        guest.run("systemd-run -q --collect --unit verify-exam sh /root/cut.sh")
        guest.run(f"timeout 100 sh -c 'until {seen}; do sleep 0.2; done' 2>&1")
        guest.run(f"systemctl kill --kill-whom=main --signal={how} verify-exam")
        await_(lambda: guest.run(LEFT) == "")  # nobody comes for that
        await_(lambda: "verify-exam" not in guest.run("systemctl list-units --plain verify-exam*"))
    assert held(guest) == {}
