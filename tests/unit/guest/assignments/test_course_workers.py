"""Workers of courses; none is begun."""

import os
import socket
from typing import Any

import pytest

from provision.guest.assignments import workers


def test_a_worker_that_cannot_be_forked_leaves_no_cgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    removed = []

    class Group:
        def remove(self) -> None:
            removed.append(self)

    def fork() -> int:
        raise BlockingIOError("no further process")

    monkeypatch.setattr(os, "fork", fork)
    group: Any = Group()
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(BlockingIOError):
        workers._fork(1000, ours, [], group)
    assert removed == [group]
