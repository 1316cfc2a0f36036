"""Install a Python of wheels; the controller's half is action_plugins/wheels.py."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: wheels
short_description: install a Python of its own from a list of wheels with hashes
description:
  - What is there with the same list stays. A step whose file is missing there is taken up again.
options:
  prefix:
    description: the directory of the Python; the list stands beside it, as C(PREFIX.lock).
    type: path
  lock:
    description: files of the controller whose texts make up the list.
    type: list
  install:
    description: the program that installs, a file of the controller; its arguments are the prefix
      and the list.
    type: path
  steps:
    description: what is run then, with the prefix as its argument, each with C(program), a file of
      the controller, and C(creates), a file below the prefix that says that it was done before;
      a step without is done whenever it was installed anew. C(removes) is a file of the guest
      without which it is left out.
    type: list
"""

INSTALLED = "installed.lock"
# What the result follows from, besides the list: who compiles, strips, and brings pip.
TOOLS = ("binutils", "cpp", "g++", "gcc", "libc6", "libgcc", "libpython3", "make", "python3")


def main():
    """Install it where another is, or none."""
    module = AnsibleModule(
        {
            "prefix": {"type": "path", "required": True},
            "lock": {"type": "str", "required": True},
            "install": {"type": "str", "required": True},
            "steps": {"type": "list", "elements": "dict", "default": []},
            "kept": {"type": "path"},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    prefix, lock = Path(module.params["prefix"]), module.params["lock"]
    steps = module.params["steps"]
    there = prefix / INSTALLED
    fresh = not there.exists() or there.read_text() != lock
    missing = [step for step in steps if _can(step) and (fresh or _lacks(prefix, step))]
    if (fresh or missing) and not module.check_mode:
        try:
            _install(module.params, prefix, missing, fresh=fresh)
        except (OSError, Failed) as error:
            module.fail_json(msg=str(error))
    module.exit_json(changed=bool(fresh or missing))


class Failed(Exception):
    """A program did not do its work; the message is its last words."""


def _can(step):
    return "removes" not in step or Path(step["removes"]).exists()


def _lacks(prefix, step):
    return "creates" in step and not (prefix / step["creates"]).exists()


def _install(params, prefix, missing, *, fresh):
    listed = prefix.with_name(f"{prefix.name}.lock")
    listed.write_text(params["lock"])
    kept = None
    if fresh and params["kept"] and Path(params["kept"]).is_dir():
        kept = Path(params["kept"], f"{_key(params)}.tar.zst")
        if kept.exists() and _take(kept, prefix):
            return
    if fresh:
        _run(["sh", "-s", str(prefix), str(listed)], params["install"])
    for step in missing:
        interpreter = ["sh", "-s"] if step["name"].endswith(".sh") else ["python3", "-"]
        _run([*interpreter, str(prefix)], step["program"])
    if kept:
        _keep(kept, prefix)


def _key(params):
    """Names all that the result follows from."""
    told = _run(["dpkg-query", "--show", "--showformat=${Package} ${Version} ${Architecture}\n"])
    tools = [line for line in told.splitlines() if line.startswith(TOOLS)]
    decides = [params["prefix"], params["lock"], params["install"], params["steps"], tools]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:32]


def _take(kept, prefix):
    """Unpack what is kept, whole or not at all; whether it could be."""
    os.utime(kept)  # who clears the directory sees that it is used
    part = prefix.with_name(f".{prefix.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        _run(["tar", "-C", str(part), "--zstd", "--preserve-permissions", "-xf", str(kept)])
        shutil.rmtree(prefix, ignore_errors=True)
        (part / prefix.name).rename(prefix)
    except Failed:  # damaged since: all is installed anew, and kept
        kept.unlink()
        return False
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return True


def _keep(kept, prefix):
    """Pack it for the next build; one that runs beside this one may do so too."""
    part = kept.with_suffix(".part")
    pack = ["tar", "-C", str(prefix.parent), "--use-compress-program=zstd -1 -T0 -q"]
    _run([*pack, "-cf", str(part), prefix.name])
    part.rename(kept)


def _run(argv, program=None):
    done = subprocess.run(
        argv, input=program, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        raise Failed(f"{argv[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
