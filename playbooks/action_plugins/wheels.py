"""The controller's half of the task ``wheels``: reads the files that library/wheels.py runs."""

# ruff: noqa: D102 (Ansible names the method)

from pathlib import Path

from ansible.plugins.action import ActionBase

from provision.build.request import KEPT_WHEELS


class ActionModule(ActionBase):
    """Sends the list and the programs within the task; tells a build where others kept theirs."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {
                "prefix": {"type": "path", "required": True},
                "lock": {"type": "list", "elements": "str", "required": True},
                "install": {"type": "str", "required": True},
                "steps": {"type": "list", "elements": "dict", "default": []},
            }
        )
        steps = [
            {**step, "name": Path(step["program"]).name, "program": self._read(step["program"])}
            for step in arguments["steps"]
        ]
        told = {
            "prefix": arguments["prefix"],
            "lock": "".join(self._read(each) for each in arguments["lock"]),
            "install": self._read(arguments["install"]),
            "steps": steps,
            "kept": KEPT_WHEELS if task_vars["building"] else None,
        }
        result.update(self._execute_module("ansible.legacy.wheels", told, task_vars=task_vars))
        return result

    def _read(self, name):
        return Path(self._find_needle("files", name)).read_text()
