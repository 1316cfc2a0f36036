"""Install our wheel; the controller's half is action_plugins/guest_wheel.py."""

import base64
import hashlib
import json
import os
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: guest_wheel
short_description: install the guest's half of our package
description:
  - What is installed already is known by the hash that pip notes (PEP 610, C(direct_url.json)).
options:
  target:
    description: a directory apart, for Pythons without our packages; else it goes into
      the environment of the notebook.
    type: path
"""

PYTHON = "/opt/notebook/bin/python"
PLACE = Path("/run/appliance-wheel")  # pip notes where a wheel was: the same place each time


def main():
    """Install it where another is, or none; tell where our package is then."""
    module = AnsibleModule(
        {
            "target": {"type": "path"},
            "name": {"type": "str", "required": True},
            "content": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    target, wheel = module.params["target"], base64.b64decode(module.params["content"])
    site = Path(target or _site(module))
    digest = hashlib.sha256(wheel).hexdigest()
    changed = _present_hash(site) != digest
    if changed and not module.check_mode:
        try:
            PLACE.mkdir(mode=0o700, exist_ok=True)
            file = PLACE / module.params["name"]
            file.write_bytes(wheel)
            _install_apart(module, file, site) if target else _install(module, file, site)
        except OSError as error:
            module.fail_json(msg=f"{error.filename}: {error.strerror}")
        finally:
            shutil.rmtree(PLACE, ignore_errors=True)
    module.exit_json(changed=changed, site=str(site))


def _site(module):
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return module.run_command([PYTHON, "-I", "-c", code], check_rc=True)[1].strip()


def _present_hash(site):
    """The hash of the wheel that is there; None of none, and of what no wheel has brought."""
    for note in site.glob("classroom_appliance_guest-*.dist-info/direct_url.json"):
        return json.loads(note.read_text()).get("archive_info", {}).get("hashes", {}).get("sha256")
    return None


def _install(module, wheel, site):
    # Of before it was a wheel: pip would not know what to remove.
    earlier = [*site.glob("provision-0.dist-info"), *site.glob("classroom_appliance_guest-*")]
    for info in earlier:
        if not (info / "RECORD").exists():
            shutil.rmtree(site / "provision", ignore_errors=True)
            shutil.rmtree(info)
    _pip(module, "--force-reinstall", str(wheel))


def _install_apart(module, wheel, site):
    """Beside what is there, and in its place when it is whole."""
    fresh = site.with_name(f".{site.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    _pip(module, "--no-compile", "--target", str(fresh), str(wheel))
    # Byte code names where it is.
    module.run_command(
        [PYTHON, "-m", "compileall", "-q", "-s", str(fresh), "-p", str(site), str(fresh)],
        check_rc=True,
    )
    shutil.rmtree(site, ignore_errors=True)
    fresh.rename(site)


def _pip(module, *words):
    module.run_command(
        [
            *(PYTHON, "-I", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
            *("--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore"),
            *words,
        ],
        environ_update={"PIP_CONFIG_FILE": os.devnull},
        check_rc=True,
    )


if __name__ == "__main__":
    main()
