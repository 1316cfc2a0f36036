"""Renewing Sage on one real appliance."""

import json
from collections.abc import Callable
from pathlib import Path

from guests import Fleet


def test_a_new_version_serves(one: Fleet, package: Callable[..., Path]) -> None:
    guest = one.guests[0]
    assert guest.sage() == "1.0"
    file = package("1.1")
    done = one.appliance("upgrade", "sage", "--to", "1.1", "--package", str(file), "--json")
    assert done.code == 0, done
    row = json.loads(done.out)["hosts"][0]
    assert (row["result"], row["facts"]["before"], row["facts"]["after"]) == ("ok", "1.0", "1.1")
    assert guest.sage() == "1.1"
    again = one.appliance("upgrade", "sage", "--to", "1.1", "--package", str(file), "--json")
    assert json.loads(again.out)["hosts"][0]["facts"]["changed"] is False
