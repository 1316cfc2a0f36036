"""A new Sage on 1, 5 and 10 appliances, beside plain ansible-playbook with the same work."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "fleet"))

from guests import Base, Fleet, base, fleet
from toy import packed, tree

from provision.fleet import remote

pytestmark = pytest.mark.timeout(1800)
CORES = os.cpu_count() or 1
BALLAST = 24 << 20
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  vars:
    incoming: /var/lib/appliance/sage/incoming
  tasks:
    - ansible.builtin.file: {{path: "{{{{ incoming }}}}", state: directory}}
    - ansible.builtin.copy: {{src: "{package}", dest: "{{{{ incoming }}}}/{version}.tar.gz"}}
    - ansible.builtin.unarchive:
        {{src: "{{{{ incoming }}}}/{version}.tar.gz", dest: /opt, remote_src: true}}
    - ansible.builtin.copy: {{src: "{program}", dest: /usr/local/lib/appliance/plain, mode: "0755"}}
    - ansible.builtin.command:
        cmd: >-
          python3 -c 'import sys; sys.path.insert(0, "/usr/local/lib/appliance/plain");
          from inside import renew_sage as p;
          p.describe("{version}"); p.prove("{version}")'
    - ansible.builtin.file:
        {{src: /opt/sage-{version}, dest: /opt/sage-current, state: link, force: true}}
    - ansible.builtin.command: {{cmd: /usr/local/lib/appliance/plain check}}
    - ansible.builtin.uri: {{url: "http://127.0.0.1:8000/hub/api/"}}
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def ten(shared: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(shared, tmp_path_factory.mktemp("ten"), 10) as running:
        yield running


def busy() -> float:
    """Seconds that all cores have worked."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    return sum(int(word) for at, word in enumerate(words[:8]) if at not in (3, 4)) / 100


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Wall time, and what all cores worked meanwhile."""
    begun, worked = time.monotonic(), busy()
    work()
    return time.monotonic() - begun, busy() - worked


def package(shared: Base, place: Path, version: str, kind: str) -> Path:
    made = tree(place / f"sage-{version}", version, shared.python)
    (made / "ballast").write_bytes(os.urandom(BALLAST))
    target = place / f"sage-{version}.tar.{kind}"
    if kind == "zst":
        return packed(made, target)
    subprocess.run(["tar", "-C", place, "-czf", target, made.name], check=True)
    return target


def test_one_five_and_ten(shared: Base, ten: Fleet, tmp_path: Path) -> None:
    rows: list[tuple[str, float, float]] = []
    longest = 0.0
    for count, version in ((1, "2.1"), (5, "2.5"), (10, "2.10")):
        file = package(shared, tmp_path, version, "zst")
        names = [guest.name for guest in ten.guests[:count]]

        def renew(file: Path = file, version: str = version, names: list[str] = names) -> None:
            nonlocal longest
            words = ("upgrade", "sage", "--to", version, "--package", str(file), "--json")
            done = ten.appliance(*words, "--parallel", "10", *names, timeout=500)
            assert done.code == 0, done
            longest = max(host["seconds"] for host in json.loads(done.out)["hosts"])

        rows.append((f"ours, {count} hosts", *timed(renew)))
        sys.stderr.write(f"{count} hosts: the longest single one {longest:.1f} s\n")
        assert rows[-1][1] <= 2 * longest
    plain = package(shared, tmp_path, "2.99", "gz")
    program = tmp_path / "renew-sage"
    program.write_bytes(remote.pack("renew_sage"))
    playbook = tmp_path / "plain.yml"
    playbook.write_text(PLAYBOOK.format(package=plain, version="2.99", program=program))

    def ansible() -> None:
        argv = [sys.executable, "-m", "ansible", "playbook", "-i", str(ten.inventory)]
        env = {**os.environ, "ANSIBLE_FORKS": "10", "ANSIBLE_PIPELINING": "1"}
        done = subprocess.run(
            [*argv, str(playbook)], capture_output=True, text=True, env=env, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:]

    rows.append(("ansible-playbook, 10 hosts", *timed(ansible)))
    for name, wall, work in rows:
        sys.stderr.write(f"| {name} | {wall:.1f} s | {work:.1f} s |\n")
    alone, many, theirs = rows[0], rows[2], rows[3]
    # What cannot be had: the work of ten hosts in less than all cores' time.
    possible = max(alone[1], 10 * alone[2] / CORES)
    sys.stderr.write(f"possible for ten {possible:.1f} s\n")
    assert many[1] <= 2 * possible
    assert many[1] <= theirs[1]
    assert {guest.sage() for guest in ten.guests} == {"2.99"}
