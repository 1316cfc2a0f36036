"""Our playbooks over SSH by the newest ansible-core, which Debian 12's Python cannot run.

The tests' guests have the next Debian's Python: a host is made of their layers, with what our lock
has for that Python.
"""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from guests import Base, Fleet, variables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PROJECT = Path(__file__).parents[3]
PLAY = """\
- hosts: all
  gather_facts: false
  environment: "{{ build_environment }}"
  roles: [users, keys, notebook, seat]
"""
INSIDE = """
root=$PLACE/root
mount -t overlay -o "lowerdir=$LOWER,upperdir=$PLACE/upper,workdir=$PLACE/work" overlay "$root"
mount -t proc proc "$root/proc"
for each in /dev $SHOWN; do
    mkdir -p "$root$each"
    mount --rbind "$each" "$root$each"
done
export HOME=/root LANG=C.UTF-8 PYTHONPATH="$SITE:$PROJECT"
exec chroot "$root" "/usr/bin/$PYTHON" -c "$CODE"
"""
CODE = """
import json, sys
from pathlib import Path
import ansible.release
from provision.build.playbook import run_playbook
from provision.machine import SshEndpoint
told = json.load(sys.stdin)
names = ("host", "port", "user")
paths = {name: Path(told["endpoint"][name]) for name in ("key", "known_hosts")}
endpoint = SshEndpoint(**{name: told["endpoint"][name] for name in names}, **paths)
done = run_playbook(Path(told["play"]), endpoint, told["variables"], log=Path(told["log"]))
print(ansible.release.__version__, sys.version_info >= (3, 12), done)
"""


def test_our_playbooks_by_the_newest_ansible(one: Fleet, shared: Base, tmp_path: Path) -> None:
    (guest,) = one.guests
    assert guest.endpoint is not None
    site, play, log = tmp_path / "site", tmp_path / "play.yml", tmp_path / "log"
    version = shared.python.removeprefix("python")
    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", site,
         "--python-version", version, "--python-platform", "x86_64-manylinux_2_28",
         "--only-binary", ":all:", "--require-hashes", "-r", PROJECT / "requirements.lock"],
        check=True,
    )  # fmt: skip
    play.write_text(PLAY)
    told = variables(guest.run("cat /etc/ssh/authorized_keys.d/sageadm").strip())
    told["notebook_limits"]["tasks"] = 311
    request = {"play": str(play), "log": str(log), "variables": told}
    request["endpoint"] = {
        name: each if isinstance(each, int) else str(each)
        for name, each in dataclasses.asdict(guest.endpoint).items()
    }
    shown = {
        PROJECT,
        tmp_path,
        *(p.parent for p in (guest.endpoint.key, guest.endpoint.known_hosts)),
    }
    for name in ("upper", "work", "root"):
        (tmp_path / "host" / name).mkdir(parents=True)
    env = {
        **{"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PLACE": str(tmp_path / "host")},
        **{"LOWER": ":".join(str(layer) for layer in reversed(shared.layers))},
        **{"SHOWN": " ".join(map(str, shown)), "SITE": str(site), "PROJECT": str(PROJECT)},
        **{"PYTHON": shared.python, "CODE": CODE},
    }
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-euc", INSIDE],
        input=json.dumps(request), env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    core, recent, *_ = done.stdout.split()
    assert (recent, core.startswith("2.19")) == ("True", False), done.stdout
    assert json.loads(guest.run("cat /etc/notebook/guest.json"))["limits"]["tasks"] == 311
    guest.wait()
