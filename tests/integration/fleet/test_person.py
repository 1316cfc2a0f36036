"""One person's data, given out and erased; the others keep theirs."""

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from guests import Fleet
from student import RefusedError, Student

FILES = "/home/students"
NEIGHBOURS = ("gauss.1", "gaussian")  # whose names begin likewise
# Every file in which the name is a word of its own, and whatever is called so.
LEFT = r"""
grep -rlaP '(?<![\w.-])gauss(?![\w.-])' /etc /home /root /srv /var/lib /var/mail /var/spool
find /etc /home /root /srv /var -name gauss -o -name '.*-gauss' -o -name 'gauss.[0-9][0-9]*.2*'
"""


def call(fleet: Fleet, *words: str, code: int = 0) -> Any:
    done = fleet.appliance(*words, "--json")
    assert done.code == code, done
    row = json.loads(done.out)["hosts"][0]
    return row["facts"] if code == 0 else row["detail"]


def verified(fleet: Fleet, record: Path, folder: Path) -> bool:
    """Whether ssh-keygen says that the record is the appliance's, by the key that is pinned."""
    pinned = (fleet.inventory.parent / "known_hosts").read_text().split()
    signers = folder / "signers"
    signers.write_text(f"sage-01 {pinned[1]} {pinned[2]}\n")
    words = ("-f", signers, "-I", "sage-01", "-n", "erasure", "-s", f"{record}.sig")
    with record.open() as text:
        done = subprocess.run(
            ["ssh-keygen", "-Y", "verify", *words], stdin=text, capture_output=True, check=False
        )
    return done.returncode == 0


def three(one: Fleet) -> dict[str, str]:
    """Students of whom there is something in every place; their passwords."""
    guest = one.guests[0]
    guest.run(f"mount -t tmpfs -o mode=0711 tmpfs {FILES}")
    words = {
        name: call(one, "users", "add", name)["passwords"][name] for name in ("gauss", *NEIGHBOURS)
    }
    gauss = Student(guest.host.url, "gauss", words["gauss"]).sign_in().start()
    gauss.kernel().shell("ln -s /etc/shadow shadow")
    gauss.stop()
    make = "from provision.guest.pool.files import *; student_directory(Path(argv[1]), argv[2])"
    for name in words:
        guest.run(f"/opt/notebook/bin/python -I -c 'from sys import argv; {make}' {FILES} {name}")
        owner = guest.run(f"stat -c %u {FILES}/{name}").strip()
        hand_in = f"{FILES}/.courses/algebra/hand-in/{name}"
        guest.run(f"mkdir -p {hand_in} {FILES}/.archive && echo mine > {hand_in}/sheet")
        guest.run(f"echo 'of {name}' > {FILES}/{name}/disquisitiones && chmod 700 {FILES}/.archive")
        guest.run(f"chown -R {owner} {hand_in} {FILES}/{name}/disquisitiones")
        for place in (f"grades/sheet/{name}.{owner}", f"results/sheet/{name}"):
            guest.run(f"cd {FILES}/.courses/algebra && mkdir -p {place}/1")
            guest.run(f"echo 9 > {FILES}/.courses/algebra/{place}/1/points")
        guest.run(f"echo sheet,{name},9 >> {FILES}/.courses/algebra/results/gradebook.csv")
        guest.run(f"echo old > {FILES}/.archive/{name}.{owner}.20250101T000000.tar.gz")
    hub = guest.run("stat -c %U /var/lib/notebook").strip()
    wishes = json.dumps({name: {"memory": 1 << 30} for name in words})
    guest.run(f"echo '{wishes}' | runuser -u {hub} -- tee /var/lib/notebook/limits.json")
    call(one, "backup", "setup", "--to", "/var/backups/{host}")
    call(one, "backup", "run")
    return words


def test_a_person_is_given_out_and_erased(one: Fleet, tmp_path: Path) -> None:
    guest, words = one.guests[0], three(one)
    _is_given_out(one, tmp_path)

    # Without its backup nothing of the person is said to be erased; the next run goes on.
    guest.run("mv /var/backups/sage-01 /var/backups/away")
    assert "restic" in call(one, "users", "erase", "gauss", "--yes", "-o", str(tmp_path), code=1)
    assert not list(tmp_path.glob("*.json*"))
    guest.run("mv /var/backups/away /var/backups/sage-01")
    told = call(one, "users", "erase", "gauss", "--yes", "-o", str(tmp_path))
    record = json.loads(Path(told["record"]).read_text())
    assert (record["name"], record["host"] != "") == ("gauss", True)
    assert {each["what"] for each in record["erased"]} >= {
        *("backups", "archive", "hand-in", "grades", "the hub's files"),
    }
    assert {each["what"] for each in record["kept"]} >= {"the system's journal"}
    assert verified(one, Path(told["record"]), tmp_path)
    assert guest.run(f"({LEFT}) 2>/dev/null; true").split() == []
    assert record["pseudonym"] in guest.run("cat /var/lib/notebook/audit.jsonl")

    listing = guest.run(
        "export RESTIC_PASSWORD=$(python3 -c 'import json;"
        'print(json.load(open("/etc/appliance/backup.json"))["password"])\');'
        " restic -q -r /var/backups/sage-01 ls latest"
    )
    assert f"{FILES}/gauss.1/disquisitiones" in listing
    assert f"{FILES}/.courses/algebra/hand-in/gaussian/sheet" in listing
    assert f"{FILES}/.courses/algebra/results/sheet/gauss.1/1/points" in listing
    assert "/sheet/gauss\n" not in listing and "gradebook" not in listing
    assert f"{FILES}/gauss/" not in listing and "hand-in/gauss/" not in listing
    assert sum(".archive/gauss" in line for line in listing.splitlines()) == 2
    student = Student(guest.host.url, "gaussian", words["gaussian"]).sign_in().start()
    assert student.kernel().shell("cat disquisitiones").strip() == "of gaussian"
    student.stop()
    try:
        Student(guest.host.url, "gauss", words["gauss"]).sign_in()
    except RefusedError:
        pass
    else:
        raise AssertionError("gauss signed in")
    # Once more: there is nothing left to erase.
    assert "is there already" in call(
        one, "users", "erase", "gauss", "--yes", "-o", str(tmp_path), code=1
    )
    again = call(one, "users", "erase", "gauss", "--yes", "-o", str(tmp_path / "again"))
    assert json.loads(Path(again["record"]).read_text())["erased"] == [
        {"what": "the hub's files", "path": "/var/lib/notebook", "lines": 0}
    ]


def _is_given_out(one: Fleet, tmp_path: Path) -> None:
    """All that there is, and nothing of anybody else's."""
    told = call(one, "users", "export", "gauss", "-o", str(tmp_path))
    with tarfile.open(told["archive"]) as archive:
        names = archive.getnames()
        about = archive.extractfile("about.json")
        assert about is not None
        known = json.loads(about.read())
        assert archive.getmember("home/students/gauss/shadow").issym()
    assert "home/students/gauss/disquisitiones" in names
    assert "home/students/.courses/algebra/hand-in/gauss/sheet" in names
    assert [name for name in names if "/grades/sheet/gauss." in name and "points" in name]
    assert sum(".archive/gauss." in name for name in names) == 1
    assert not [name for name in names if any(f"/{each}" in name for each in NEIGHBOURS)]
    assert known["hub"]["account"] is True
    assert known["hub"]["wishes"] == {"limits.json": {"memory": 1 << 30}}
    assert (known["backups"], known["hub"]["user"]["created"] is not None) == (1, True)
    assert Path(told["archive"]).stat().st_mode & 0o077 == 0
    assert "nothing is known" in call(one, "users", "export", "euler", "-o", str(tmp_path), code=1)
    assert "is there already" in call(one, "users", "export", "gauss", "-o", str(tmp_path), code=1)
    assert [path.name for path in tmp_path.iterdir()] == ["gauss-sage-01.tar.gz"]


def test_who_administers_or_may_still_come_is_not_erased(one: Fleet, tmp_path: Path) -> None:
    admin = json.loads(one.guests[0].run("cat /etc/notebook/guest.json"))["admin"]
    for verb in ("export", "erase"):
        yes = ["--yes"] * (verb == "erase")
        said = call(one, "users", verb, admin, *yes, "-o", str(tmp_path), code=1)
        assert "administers this notebook" in said
    assert list(tmp_path.iterdir()) == []
    done = one.appliance("users", "erase", "gaussian")
    assert done.code == 2
    assert "add --yes" in done.err
