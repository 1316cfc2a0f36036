"""Whose wheels an appliance takes, and what it follows."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.fleet import following
from provision.fleet.following import UpdateSource, follow
from provision.fleet.inside.answers import NotebookFacts, State
from provision.fleet.inventory import Host, Inventory
from provision.fleet.notebook import architecture_of
from provision.fleet.upgrade import NotReadyError

FACTS = NotebookFacts(
    free=1, memory=1, state=State(), current="build", python="3.13", machine="x86_64",
    installed={}, lists={},
)  # fmt: skip


def test_the_processor_decides() -> None:
    assert architecture_of(FACTS) == "amd64"
    assert architecture_of(dataclasses.replace(FACTS, machine="aarch64")) == "arm64"
    with pytest.raises(NotReadyError, match="riscv64"):
        architecture_of(dataclasses.replace(FACTS, machine="riscv64"))


@pytest.mark.parametrize(
    ("machine", "channel"), [("x86_64", "stable"), ("aarch64", "stable-arm64")]
)
def test_it_follows_the_channel_of_its_kind(
    monkeypatch: pytest.MonkeyPatch, machine: str, channel: str
) -> None:
    ordered: list[tuple[str, ...]] = []

    class Remote:
        def ask(self, *_: Any) -> NotebookFacts:
            return dataclasses.replace(FACTS, machine=machine)

        def program(self, _name: str, *words: str, timeout: float) -> dict[str, Any]:
            ordered.append(words)
            return {"changed": True}

    @contextlib.contextmanager
    def reach(*_: Any) -> Iterator[Remote]:
        yield Remote()

    @contextlib.contextmanager
    def holding(host: Host, *_: Any, take_over: bool) -> Iterator[Host]:
        yield host

    monkeypatch.setattr(following, "reach", reach)
    monkeypatch.setattr(following.lease, "holding", holding)
    host = Host("here", "localhost", 2222, "sageadm", Path("key"), "https://localhost:8000/")
    inventory = Inventory(Path("fleet.yml"), {host.name: host})
    source = UpdateSource("http://teacher.school.example/sage", "key", "stable")
    follow(host, inventory, source, lambda *_: None)
    assert ordered == [("follow", host.user, source.url, source.key, channel)]
