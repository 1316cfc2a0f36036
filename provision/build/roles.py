"""What our playbooks are made of: their roles, and every file that these read."""

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from provision import resources
from provision.build import closure, guest_wheel

INSTALLING = "guest_wheel"  # the task of ours that brings our package
_YAML = YAML(typ="safe", pure=True)
_TEMPLATES = re.compile(r"\{\{ templates_dir \}\}/([\w-]+)")
_BROUGHT = re.compile(r"\{\{ \w+_package \}\}/([\w./-]+)")
_IMPORTED = re.compile(r"(?:import|include)_tasks:\s*(?:file:\s*)?(\S+\.yml)")


def roles_of(playbook: str) -> tuple[str, ...]:
    """The roles of one of our playbooks, in order, those included that are off by default."""
    return tuple(role["role"] for role in _roles(playbook))


def files_of(playbook: str, variables: Mapping[str, Any]) -> tuple[Path, ...]:
    """Every file of ours that a playbook reads: what changes in one may change its result.

    They are found in the playbook's own text: its roles and, of a role of which it takes one
    file of tasks, what that file leads to; the templates that these name, the files of ours that
    they bring, and our own tasks' code, of which one installs the guest's wheel.

    Args:
        playbook: its name, without ``.yml``.
        variables: of the build; a role whose condition they do not meet is not read.
    """
    books = resources.playbooks()
    read = {books / f"{playbook}.yml"}
    for entry in _roles(playbook):
        condition = str(entry.get("when", "")).partition(" ")[0]
        if not condition or _value(variables, condition):
            read |= _of_role(books / "roles" / entry["role"], None)
    for play in _plays(playbook):
        for task in play.get("tasks", ()):
            if part := task.get("ansible.builtin.import_role"):
                read |= _of_role(books / "roles" / part["name"], part["tasks_from"])
    texts = [path.read_text() for path in read if path.suffix == ".yml"]
    for module in (books / "library").glob("*.py"):
        if any(re.search(rf"^\s*(?:- )?{module.stem}:", text, re.MULTILINE) for text in texts):
            action = books / "action_plugins" / module.name
            read |= {path for path in (module, action) if path.exists()}
            if module.stem == INSTALLING:
                read |= {*guest_wheel.files(), *closure.files_of(guest_wheel.__name__)}
    return tuple(sorted(read))


def _value(variables: Mapping[str, Any], name: str) -> Any:
    """Of a variable, or of what is in one: ``record.courses``."""
    first, *further = name.split(".")
    found = variables.get(first)
    for key in further:
        found = (found or {}).get(key)
    return found


def _of_role(role: Path, tasks: str | None) -> set[Path]:
    """A role's own files, all of them or those that one file of its tasks leads to."""
    if tasks is None:
        own = set(closure.files_below(role))
        texts = [path.read_text() for path in own if path.suffix == ".yml"]
    else:
        own = set(_tasks(role / "tasks" / f"{tasks}.yml"))
        texts = [path.read_text() for path in own]
        files = closure.files_below(role / "files")
        own |= {path for path in files if any(_names(text, path.name) for text in texts)}
        for book in (role / "defaults/main.yml", role / "vars/main.yml"):
            values = (_YAML.load(book) or {}) if book.exists() else {}
            if any(_names(text, name) for name in values for text in texts):
                own.add(book)
                texts.append(book.read_text())
    return own | _templates(texts) | _brought_files(texts)


def _tasks(book: Path) -> Iterator[Path]:
    yield book
    for name in _IMPORTED.findall(book.read_text()):
        yield from _tasks(book.with_name(name))


def _templates(texts: list[str]) -> set[Path]:
    """The templates that are named, in the directories that are; all of one where none is."""
    found: set[Path] = set()
    for name in {name for text in texts for name in _TEMPLATES.findall(text)}:
        directory = resources.templates() / "guest" / name
        there = set(closure.files_below(directory))
        named = {p for p in there if any(_names(text, p.name) for text in texts)}
        found |= named or there
    return found


def _brought_files(texts: list[str]) -> set[Path]:
    """Files of our own package that a role names."""
    found = {resources.PACKAGE / name for text in texts for name in _BROUGHT.findall(text)}
    return {path for path in found if path.is_file()}


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.@-]){re.escape(name)}(?![\w.-])", text) is not None


def _roles(playbook: str) -> list[dict[str, Any]]:
    return [role for play in _plays(playbook) for role in play["roles"]]


@functools.cache
def _plays(playbook: str) -> list[dict[str, Any]]:
    plays: list[dict[str, Any]] = _YAML.load(resources.playbooks() / f"{playbook}.yml")
    return plays
