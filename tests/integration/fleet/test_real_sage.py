"""A real Sage on an appliance in use, renewed by one that this host packs from wheels."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from guests import Fleet, Guest, finished, fleet
from student import Student

from provision import resources
from provision.build.build import HOST_CA, build_disks, build_packages, request, root_layers
from provision.config import read

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

OLD, OTHER = "10.8.9", "10.8.11"
SAGE = (
    *("--set", "name=renewed", "--set", "sage.source=passagemath", "--set", "pool.count=2"),
    *("--set", "pool.limits.memory=3G", "--set", "memory=8G"),
    *("--set", "kernels.forked=true"),
)
CODE = "from sage.all import *; print(factor(2**101 - 1), integrate(sin(x), x))"
# Names, links and content of all but what an appliance writes about its own kernels, and which
# names are one file.
FOUND = "find . ! -type d ! -name kernel.json ! -name .archive"
CONTENT = (
    f"cd /opt/sage-10.8 && {FOUND} -printf '%y %m %l %P\\n' | LC_ALL=C sort"
    f" && {FOUND} -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"
    f" && {FOUND} -type f -printf '%P %i\\n' | LC_ALL=C sort"
    " | awk '!($NF in first) { first[$NF] = $1 } { print $1, first[$NF] }'"
)
NUMPY = "lib/python3.1*/site-packages/numpy/__init__.py"
SAID = "7432339208719 * 341117531003194129 -cos(x)\n"


def lock(version: str, place: Path) -> Path:
    """The wheels of another Sage, as docs/fleet.md says to list them."""
    wanted = (resources.playbooks() / "roles/sage/files/passagemath-10.8.in").read_text()
    source = place / f"sage-{version}.in"
    source.write_text(wanted.replace("==10.8.*", f"=={version}"))
    target = source.with_suffix(".lock")
    argv = [sys.executable, "-m", "uv", "pip", "compile", "-q", "--generate-hashes", "--universal"]
    subprocess.run([*argv, "--python-version", "3.11", source, "-o", target], check=True)
    return target


def built() -> list[str]:
    """What a build has as Sage, which is in the cache by now."""
    _, layer = build_packages(request(read(assignments=SAGE[1::2]).config))
    argv = ["sh", "-c", CONTENT.replace("/opt", f"{layer}/opt")]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()


def nursery(guest: Guest, version: str) -> str:
    """The process that forks a version's kernels, once it is ready."""
    unit = f"nursery@sage-{version}"
    return guest.run(f"systemctl start {unit} && systemctl show -P MainPID {unit}", 400).strip()


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """An appliance that was built with an older Sage."""
    wheels = lock(OLD, tmp_path_factory.mktemp("lock"))
    older = (*SAGE, "--set", f"sage.version={OLD}", "--set", f"sage.lock={wheels}")
    wanted = request(read(assignments=older[1::2]).config)
    build_disks(wanted)
    base = finished(root_layers(wanted), tmp_path_factory.mktemp("finished"))
    with fleet(base, tmp_path_factory.mktemp("renewed"), 1) as running:
        guest = running.guests[0]
        assert guest.root is not None
        if HOST_CA.exists():  # for the wheels, as pip asks for them
            guest.root.open_sftp().put(str(HOST_CA), "/tmp/room.crt")
            guest.run("mv /tmp/room.crt /etc/ssl/room.crt")
            guest.run("printf '[global]\\ncert = /etc/ssl/room.crt\\n' > /etc/pip.conf")
        yield running


def test_a_real_sage_is_packed_and_renews_another(used: Fleet) -> None:
    guest = used.guests[0]
    # An overlay cannot be mounted with other owners; the appliance's /home is ext4.
    guest.run("mount -t tmpfs -o mode=0711 tmpfs /home/students")
    made = json.loads(used.appliance("users", "add", "emmy", "--json").out)["hosts"][0]
    emmy = Student(guest.host.url, "emmy", made["facts"]["passwords"]["emmy"]).sign_in().start()
    parents = {OLD: nursery(guest, OLD)}
    old = emmy.kernel("sagemath")
    old.run("import os, sys; ideal = 'noether'", patience=180)
    assert old.run("os.getppid()") == parents[OLD]
    assert f"/opt/sage-{OLD}" in old.run("print(sys.prefix)")

    wrong = used.appliance("upgrade", "sage", *SAGE, "--to", "99.1")
    assert (wrong.code, "sage.lock" in wrong.err) == (2, True), wrong.err
    done = used.appliance("upgrade", "sage", *SAGE, "--json", timeout=3000)
    assert done.code == 0, done
    facts = json.loads(done.out)["hosts"][0]["facts"]
    assert (facts["before"], facts["after"]) == (OLD, "10.8")
    assert old.run("print(ideal, sys.prefix)") == f"noether /opt/sage-{OLD}\n"
    parents["10.8"] = nursery(guest, "10.8")
    new = emmy.kernel("sagemath")
    assert new.run("import os, sys; print(sys.prefix)", patience=180) == "/opt/sage-10.8\n"
    assert new.run("os.getppid()") == parents["10.8"] != parents[OLD]
    assert new.run(CODE, patience=180) == SAID

    # Who forked the old one goes with it.
    assert guest.run(f"systemctl show -P MainPID nursery@sage-{OLD}").strip() == parents[OLD]
    emmy.server("DELETE", f"kernels/{old.id}")
    gone = f"until [ $(systemctl show -P MainPID nursery@sage-{OLD}) = 0 ]; do sleep 1; done"
    guest.run(f"timeout 100 sh -c '{gone}'")
    assert new.run("1 + 1") == "2"

    again = used.appliance("upgrade", "sage", *SAGE, "--json", timeout=600)
    assert json.loads(again.out)["hosts"][0]["facts"]["changed"] is False
    assert guest.run(CONTENT, 300).splitlines() == built()
    places = f"/opt/sage-10.8/{NUMPY} /opt/python/{NUMPY}"
    assert len(set(guest.run(f"stat -c %i {places}").split())) == 1


def test_an_appliance_takes_the_wheels_from_its_own_index(used: Fleet, tmp_path: Path) -> None:
    guest = used.guests[0]
    before = guest.sage_kernel()
    other = (*SAGE, "--set", f"sage.version={OTHER}")
    wheels = lock(OTHER, tmp_path)
    changed = tmp_path / "changed.lock"
    changed.write_text(re.sub("sha256:[0-9a-f]{4}", "sha256:0000", wheels.read_text()))
    refused = used.appliance(
        *("upgrade", "sage", "--wheels", *other, "--set", f"sage.lock={changed}", "--json"),
        timeout=1500,
    )
    row = json.loads(refused.out)["hosts"][0]
    assert (refused.code, row["step"]) == (1, "unpack"), row
    assert "wheels cannot be installed" in row["detail"]
    assert guest.sage_kernel() == before

    done = used.appliance(
        *("upgrade", "sage", "--wheels", *other, "--set", f"sage.lock={wheels}", "--json"),
        timeout=1500,
    )
    assert done.code == 0, done
    facts = json.loads(done.out)["hosts"][0]["facts"]
    assert (facts["after"], facts["sent"]) == (OTHER, wheels.stat().st_size)
    assert f"/opt/sage-{OTHER}/" in guest.sage_kernel()
    assert guest.run("ls -A /opt | grep part || true") == ""


def test_what_an_appliance_makes_of_the_wheels_is_what_a_build_makes(used: Fleet) -> None:
    guest = used.guests[0]
    # Another Sage is the current one, whether or not the tests before were run.
    guest.run("rm -rf /opt/sage-10.8 /usr/local/share/jupyter/kernels/sagemath-10.8")
    done = used.appliance("upgrade", "sage", "--wheels", *SAGE, "--json", timeout=1500)
    assert done.code == 0, done
    assert guest.run(CONTENT, 300).splitlines() == built()
    # What it had in common with the Sage that is gone, Python's notebooks have still.
    assert guest.run("/opt/python/bin/python -c 'import numpy, scipy, pandas; print(numpy.pi)'")
