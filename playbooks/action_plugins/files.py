"""The controller's half of the task ``files``: renders and reads what library/files.py writes."""

# ruff: noqa: D102 (Ansible names the method)

from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template


class ActionModule(ActionBase):
    """Sends all files of a task to the guest at once: a round trip for each would take longer."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {
                "templates": {"type": "path"},
                "files": {"type": "list", "elements": "dict", "required": True},
            }
        )
        entries = [
            whole
            for entry in arguments["files"]
            for whole in self._entries(entry, arguments["templates"], task_vars)
        ]
        result.update(
            self._execute_module("ansible.legacy.files", {"files": entries}, task_vars=task_vars)
        )
        return result

    def _entries(self, entry, templates, task_vars):
        """Complete one entry by its content; one for a tree becomes one for each of its files."""
        known = ("path", "content", "state", "mode", "owner", "group")
        rest = {key: entry[key] for key in known if key in entry}
        if "template" in entry:
            content = self._render(Path(templates, entry["template"]), entry, task_vars)
            return [{**rest, "content": content}]
        if "only" in entry:
            root = Path(entry["source"])
            found = sorted({path for pattern in entry["only"] for path in root.glob(pattern)})
            return [
                {
                    **rest,
                    "path": f"{entry['path']}/{path.relative_to(root)}",
                    "content": _read(path),
                }
                for path in found
            ]
        if "source" in entry:
            return [{**rest, "content": _read(Path(entry["source"]))}]
        return [rest]

    def _render(self, template, entry, task_vars):
        """Render as the module ``template`` does; the entry is ``item``, as in a loop."""
        variables = {**task_vars, "item": entry, "ansible_managed": "Ansible managed"}
        templar = self._templar.copy_with_new_env(
            searchpath=[str(template.parent)], available_variables=variables
        )
        text = trust_as_template(_read(template))
        rendered = templar.template(
            text, escape_backslashes=False, overrides={"trim_blocks": True, "lstrip_blocks": False}
        )
        return "" if rendered is None else rendered


def _read(path):
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise AnsibleActionFail(f"cannot read {path}: {error.strerror}") from error
