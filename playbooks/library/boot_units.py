"""Let units start at boot, all of a task at once."""

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: boot_units
short_description: let units start at boot
description:
  - Enables systemd units; each call of systemctl takes as long for many as for one.
options:
  names:
    description: the units.
    type: list
    elements: str
    required: true
"""


def _lasts(module, name):
    """Whether a unit is enabled for good: a boot may want it for once, by the kernel's options."""
    status, state, _ = module.run_command(["systemctl", "is-enabled", name])
    return status == 0 and not state.strip().endswith("-runtime")


def main():
    """Enable those that are not enabled yet."""
    module = AnsibleModule(
        {"names": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    names = module.params["names"]
    off = [name for name in names if not _lasts(module, name)]
    if off and not module.check_mode:
        module.run_command(["systemctl", "enable", *off], check_rc=True)
    results = [{"item": name, "changed": name in off} for name in names]
    module.exit_json(changed=bool(off), results=results)


if __name__ == "__main__":
    main()
