"""Write many files and directories in one go; the controller's half is action_plugins/files.py."""

import os
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: files
short_description: write many files and directories in one go
description:
  - Directories that are missing on the way to a file are made, for all to read.
options:
  templates:
    description: directory of the templates that O(files) names.
    type: path
  files:
    description: what to write, in order.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: the file or directory.
        type: path
        required: true
      template:
        description: name of its template; the entry itself is C(item) there.
        type: str
      source:
        description: a file of the controller; or with C(only) a directory.
        type: path
      only:
        description: patterns of the files to take from the directory C(source).
        type: list
        elements: str
      content:
        description: its text.
        type: str
      state:
        description: whether it is a directory.
        type: str
        choices: [file, directory]
        default: file
      mode:
        description: 0644, for directories 0755, unless told.
        type: str
      owner:
        description: its user.
        type: str
        default: root
      group:
        description: its group.
        type: str
        default: root
"""

ENTRY = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "state": {"type": "str", "choices": ["file", "directory"], "default": "file"},
    "mode": {"type": "str"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
}


def main():
    """Write each entry and tell what of each was changed, as the items of a loop do."""
    module = AnsibleModule(
        {"files": {"type": "list", "elements": "dict", "required": True, "options": ENTRY}},
        supports_check_mode=True,
    )
    results = []
    for entry in module.params["files"]:
        try:
            results.append(_ensure(module, entry))
        except OSError as error:
            module.fail_json(msg=f"{entry['path']}: {error.strerror}", results=results)
    module.exit_json(changed=any(result["changed"] for result in results), results=results)


def _ensure(module, entry):
    path, directory = Path(entry["path"]), entry["state"] == "directory"
    result = {"item": entry["path"], "changed": False}
    if directory:
        result["changed"] = not path.is_dir()
        if result["changed"] and not module.check_mode:
            path.mkdir(parents=True)
    else:
        before = _content(path)
        if before != entry["content"]:
            result["changed"] = True
            if module._diff:
                header = {"before_header": str(path), "after_header": str(path)}
                result["diff"] = {**header, "before": before or "", "after": entry["content"]}
            if not module.check_mode:
                _write(path, entry["content"])
    if result["changed"] and module.check_mode:
        return result
    told = {key: entry[key] for key in ("owner", "group")}
    told["mode"] = entry["mode"] or ("0755" if directory else "0644")
    wanted = module.load_file_common_arguments(told, path=str(path))
    result["changed"] = module.set_fs_attributes_if_different(wanted, result["changed"])
    return result


def _content(path):
    """The text of a file; None of a missing one, or where something else is in its place."""
    if path.is_symlink() or not path.is_file():
        return None
    return path.read_bytes().decode(errors="surrogateescape")


def _write(path, content):
    """Replace a file as a whole; nobody but root reads it before its owner and mode are set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=".ansible-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode())
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink()
        raise


if __name__ == "__main__":
    main()
