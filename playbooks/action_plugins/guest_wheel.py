"""The controller's half of ``guest_wheel``: builds what library/guest_wheel.py installs."""

# ruff: noqa: D102 (Ansible names the method)

import base64
import tempfile
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from provision.build import guest_wheel
from provision.errors import ApplianceError


class ActionModule(ActionBase):
    """Sends the wheel within the task, as the task ``files`` sends files."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        with tempfile.TemporaryDirectory() as scratch:
            try:
                wheel = guest_wheel.build(Path(scratch))
            except ApplianceError as error:
                raise AnsibleActionFail(str(error)) from error
            content = base64.b64encode(wheel.read_bytes()).decode()
        arguments = {**self._task.args, "name": wheel.name, "content": content}
        result.update(
            self._execute_module("ansible.legacy.guest_wheel", arguments, task_vars=task_vars)
        )
        return result
