"""Which worker takes which file of the tests."""

import itertools

from provision import resources
from tests.conftest import LONG, SHARED, folder_of, next_file

INTEGRATION = "tests/integration"
UNITS = ["tests/unit/vbox/test_a.py", "tests/unit/test_b.py"]
NOTEBOOK = [f"{INTEGRATION}/notebook/test_{n}.py" for n in "abc"]
STORES = [f"{INTEGRATION}/stores/test_{n}.py" for n in "ab"]


def test_the_folders_of_which_it_speaks_are_there() -> None:
    there = {path.name for path in (resources.PACKAGE.parent / INTEGRATION).iterdir()}
    assert {*LONG, *SHARED} <= there


def test_a_file_belongs_to_its_folder() -> None:
    assert [*map(folder_of, [*UNITS, NOTEBOOK[0]])] == ["", "", "notebook"]
    assert folder_of(f"{INTEGRATION}/notebook/hosted/test_a.py") == "notebook/hosted"


def test_a_worker_stays_in_its_folder_in_order() -> None:
    assert next_file([*UNITS, *STORES, *NOTEBOOK], "stores", {"stores"}) == STORES[0]


def test_the_longest_folder_begins_first() -> None:
    assert next_file([*UNITS, *STORES, *NOTEBOOK], "", set()) == NOTEBOOK[0]
    assert next_file([*UNITS, *STORES, *NOTEBOOK], "", {"notebook"}) == STORES[0]


def test_who_has_no_folder_left_takes_the_last_of_one_that_is_shared() -> None:
    begun = {"notebook", "stores"}
    assert next_file([*UNITS, *STORES, *NOTEBOOK], "qemu", begun) == NOTEBOOK[-1]
    assert next_file([*UNITS, *STORES, NOTEBOOK[0]], "qemu", begun) == UNITS[0]
    assert next_file([*STORES, NOTEBOOK[0]], "qemu", begun) == STORES[0]


def test_each_file_is_taken_once_whoever_asks() -> None:
    for owns in itertools.product(["", "notebook", "stores"], repeat=2):
        left, begun, taken = [*UNITS, *STORES, *NOTEBOOK], set(owns) - {""}, []
        for own in itertools.cycle(owns):
            if not left:
                break
            taken.append(next_file(left, own, begun))
            left.remove(taken[-1])
            begun |= {folder_of(taken[-1])} - {""}
        assert sorted(taken) == sorted([*UNITS, *STORES, *NOTEBOOK])
