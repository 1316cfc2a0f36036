"""Tell the program that runs Ansible what happens, one JSON text per line of stderr.

Each line begins with the record separator of RFC 7464, which nothing else prints.
"""

# ruff: noqa: D102 (Ansible names the methods and says what they are for)

import difflib
import json
import sys
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: events
type: stdout
short_description: task events as JSON lines on stderr
description:
  - Prints one JSON text for each play, task and result, for provision.build.playbook.
"""

RECORD_SEPARATOR = "\x1e"


def _count(block):
    """Count the tasks of a block and of the blocks in it."""
    inner = [*block.block, *block.rescue, *block.always]
    return sum(_count(entry) if hasattr(entry, "block") else 1 for entry in inner)


def _message(result):
    """Say why a task failed, in the module's own words; the parts that it has, once each."""
    failed = [
        item
        for item in result.get("results", ())
        if isinstance(item, dict) and (item.get("failed") or item.get("unreachable"))
    ]
    if failed:
        label = "_ansible_item_label"
        return "\n".join(
            f"({item.get(label, item.get('item'))}) {_message(item)}" for item in failed
        )
    parts = [result.get("msg"), result.get("module_stderr"), result.get("stderr")]
    if not result.get("stderr"):
        parts.append(result.get("stdout"))
    return "\n".join(dict.fromkeys(str(part).strip() for part in parts if part))


def _items(result, every):
    """What of a loop, or which file, was changed."""
    if "results" not in result:
        return [str(result.get("dest") or result.get("path") or result.get("name") or "")]
    return [
        str(item.get("_ansible_item_label", item.get("item")))
        for item in result["results"]
        if isinstance(item, dict) and (every or item.get("changed"))
    ]


def _diff(result):
    """How the text of files changes, line by line; empty unless it was asked for."""
    found = []
    for item in (result, *result.get("results", ())):
        diffs = item.get("diff", ()) if isinstance(item, dict) else ()
        for diff in diffs if isinstance(diffs, (list, tuple)) else [diffs]:
            before, after = (diff.get(side) for side in ("before", "after"))
            if isinstance(before, str) and isinstance(after, str):
                lines = (text.splitlines() for text in (before, after))
                name = str(diff.get("before_header") or diff.get("after_header", ""))
                found += list(difflib.unified_diff(*lines, name, name, lineterm="", n=0))
    return found


class CallbackModule(CallbackBase):
    """Writes the events; Ansible calls its methods by name."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "events"

    def _emit(self, **event):
        sys.stderr.write(RECORD_SEPARATOR + json.dumps(event, default=str) + "\n")
        sys.stderr.flush()

    def v2_playbook_on_play_start(self, play):
        tasks = [block for block in play.compile() if block]
        self._emit(event="play", name=play.get_name(), tasks=sum(map(_count, tasks)))

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._begun, self._handler = time.monotonic(), False
        if task.action not in ("meta", "ansible.builtin.meta"):
            self._emit(event="task", name=task.get_name())

    def v2_playbook_on_handler_task_start(self, task):
        self._begun, self._handler = time.monotonic(), True
        self._emit(event="handler", name=task.get_name())

    def _result(self, status, result):
        shown = {} if status in ("ok", "skipped") else {"message": _message(result.result)}
        if status == "changed" or self._handler:
            shown |= {"handler": self._handler, "items": _items(result.result, self._handler)}
            shown |= {"diff": _diff(result.result)}
        self._emit(
            event="result",
            status=status,
            task=result.task.get_name(),
            seconds=round(time.monotonic() - self._begun, 3),
            **shown,
        )

    def v2_runner_on_ok(self, result):
        self._result("changed" if result.result.get("changed") else "ok", result)

    def v2_runner_on_skipped(self, result):
        self._result("skipped", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._result("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_unreachable(self, result):
        self._result("unreachable", result)
