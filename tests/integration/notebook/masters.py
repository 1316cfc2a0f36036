"""Master notebooks in otter-grader's form, and what students make of them."""

import textwrap
from typing import Any

from handed import PYTHON


def raw(text: str) -> dict[str, Any]:
    """A raw cell, which says what is around it."""
    return {"cell_type": "raw", "metadata": {}, "source": textwrap.dedent(text).strip()}


def words(text: str) -> dict[str, Any]:
    """A cell of text."""
    return {**raw(text), "cell_type": "markdown"}


def code(text: str, shown: str = "", printed: str = "") -> dict[str, Any]:
    """A cell of code that was run.

    Args:
        text: its source.
        shown: its value, as it is shown.
        printed: what it printed.
    """
    result = {"output_type": "execute_result", "execution_count": 1, "metadata": {}}
    outputs: list[dict[str, Any]] = []
    if printed:
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed})
    if shown:
        outputs.append({**result, "data": {"text/plain": shown}})
    return {**raw(text), "cell_type": "code", "execution_count": 1, "outputs": outputs}


def question(
    about: str, answers: list[dict[str, Any]], tests: list[dict[str, Any]], text: str = "Solve it."
) -> list[dict[str, Any]]:
    """A question with a solution and tests.

    Args:
        about: its keys and values.
        answers: the cells of its solution.
        tests: its tests; none: no block of them.
        text: what is asked.
    """
    found = [raw(f"# BEGIN QUESTION\n{textwrap.dedent(about).strip()}"), words(text)]
    found += [raw("# BEGIN SOLUTION"), *answers, raw("# END SOLUTION")]
    if tests:
        found += [raw("# BEGIN TESTS"), *tests, raw("# END TESTS")]
    return [*found, raw("# END QUESTION")]


def master(config: str, cells: list[dict[str, Any]]) -> dict[str, Any]:
    """A master notebook."""
    whole = [raw(f"# ASSIGNMENT CONFIG\n{textwrap.dedent(config).strip()}"), *cells]
    about = {"kernelspec": {**PYTHON, "language": "python"}}
    return {"cells": whole, "metadata": about, "nbformat": 4, "nbformat_minor": 4}


SQUARE = question(
    "name: square",
    [code("def square(x):\n    return x**2  # SOLUTION")],
    [
        code("square(1) == 1", "True"),
        code("square(0) == 0", "True"),
        code("# HIDDEN\nsquare(2.5) == 6.25", "True"),
    ],
)
SHARED = question(
    "name: shared\npoints: 5",
    [code("a, b = 3, 4  # SOLUTION\nc = a + b  # SOLUTION\nd = {}\nd['k'] = 1  # SOLUTION")],
    [
        code('""" # BEGIN TEST CONFIG\npoints: 2\n""" # END TEST CONFIG\na', "3"),
        code("# HIDDEN\nprint(a, b) or c", "7", "3 4\n"),
        code('""" # BEGIN TEST CONFIG\nhidden: true\n""" # END TEST CONFIG\nassert d["k"] == 1'),
    ],
)
WHOLE = question(
    "name: whole\npoints: [1, 0.5]\nall_or_nothing: true",
    [code("# BEGIN SOLUTION\ndef greet(name):\n    print('Hello', name)\n# END SOLUTION")],
    [
        code("greet('Emmy')", printed="Hello Emmy\n"),
        code("# HIDDEN\nfor name in ('a', 'b'):\n    greet(name)", printed="Hello a\nHello b\n"),
    ],
)
NUMBERS = question(
    "name: numbers\npoints:\n  each: 2",
    [
        code(
            """
            def numbers():
                # BEGIN SOLUTION
                x, y = 0, 1
                while True:
                    yield x
                    x, y = y, x + y
                # END SOLUTION
            """
        )
    ],
    [
        code("f = numbers()\nassert next(f) == 0\nassert next(f) == 1"),
        code(
            """
            # HIDDEN
            def first(n):
                f = numbers()
                return [next(f) for _ in range(n)]

            if first(2):
                told = first(7)
            else:
                told = None
            try:
                told = told[:7]
            except TypeError:
                told = [0]
            told
            """,
            "[0, 1, 1, 2, 3, 5, 8]",
        ),
    ],
)
ESSAY = question("name: essay\nmanual: true\npoints: 3", [words("Because it is so.")], [])
OPEN = question(
    "name: free",
    [code('draw = 1  # SOLUTION NO PROMPT\n""" # BEGIN PROMPT\ndraw = ...\n""" # END PROMPT')],
    [],
)
DOCTESTS = master(
    "files:\n  - data.csv\nsolutions_pdf: false\nexport_cell: false\ngenerate: true",
    [
        code("import math\nimport otter\ngrader = otter.Notebook()"),
        *(SQUARE + SHARED + WHOLE + NUMBERS + ESSAY + OPEN),
        code("# the end"),
    ],
)
RAISING = master(
    "tests:\n  ok_format: false\ngenerate:\n  seed: 42\nexport_cell: false",
    [
        code("import random\nimport numpy as np"),
        *question(
            "name: q1",
            [code("x = 2  # SOLUTION")],
            [
                code(
                    '''
                    """ # BEGIN TEST CONFIG
                    points: 2
                    failure_message: This is no int.
                    """ # END TEST CONFIG
                    def test_type(x):
                        assert isinstance(x, int)

                    test_type(x)  # IGNORE
                    '''
                ),
                code("# HIDDEN\ndef test_value(env, x):\n    assert x == env['x'] == 2"),
                code(
                    '""" # BEGIN TEST CONFIG\nhidden: true\npoints: 0.5\n""" # END TEST CONFIG\n'
                    "def test_none(nothing, x: int) -> None:\n    assert nothing is None"
                ),
            ],
        ),
        *question(
            "name: drawn",
            [
                code(
                    """
                    rolls = random.sample(range(100), 3)  # SOLUTION
                    def square(x):
                        y = x * x  # SOLUTION
                        # BEGIN IGNORE
                        z = np.cos(y)
                        # END IGNORE
                        return y  # SOLUTION
                    drawn = np.random.choice(1000)  # SOLUTION
                    """
                )
            ],
            [
                code("def test_rolls(rolls):\n    assert len(rolls) == 3"),
                code("def test_seeded(drawn):\n    assert drawn == 102"),
                code("# HIDDEN\ndef test_square(square):\n    assert square(16) == 256"),
            ],
        ),
    ],
)
_FLAVORS = ["chocolate", "vanilla", "chocolate", "strawberry", "vanilla", "mint", "chocolate"]
_MEANS = "data.groupby('flavor')[['price']].mean()['price']"
_PRICES = f"""
# BEGIN SOLUTION NO PROMPT
data = pd.DataFrame({{"flavor": {_FLAVORS}, "price": [2, 1.5, 3, 2, 2, 4, 5]}})
price_by_flavor = {_MEANS}
# END SOLUTION
\"\"\" # BEGIN PROMPT
data = ...
price_by_flavor = ...
\"\"\" # END PROMPT
price_by_flavor
"""
TABLES = master(
    "export_cell: false",
    [
        code("import pandas as pd\nimport numpy as np\n%matplotlib inline"),
        *question(
            "name: prices",
            [code(_PRICES, "a table")],
            [
                code("len(data['flavor'].unique()) == 4", "True"),
                code(
                    "for each in ['chocolate', 'mint']:\n    assert each in data['flavor'].unique()"
                ),
                code("assert type(price_by_flavor) == pd.Series"),
                code("assert len(price_by_flavor) == 4"),
                code("# HIDDEN\nnp.isclose(price_by_flavor['chocolate'], 10 / 3)", "np.True_"),
                code("# HIDDEN\nprice_by_flavor['mint'] == 4", "np.True_"),
            ],
        ),
    ],
)
# What students write, by what was in its place; what is not in it stays.
GOOD = {
    "def square(x):\n    ...": "def square(x):\n    return x * x",
    "a, b = ...\nc = ...\nd = {}\nd['k'] = ...": "a, b, c, d = 3, 4, 7, {'k': 1}",
    "...": "def greet(name):\n    print(f'Hello {name}')",
    "def numbers():\n    ...": (
        "def numbers():\n    x, y = 0, 1\n    while True:\n        yield x\n        x, y = y, x + y"
    ),
    "x = ...": "x = 2",
    "rolls = ...\ndef square(x):\n    y = ...\n    ...\ndrawn = ...": (
        "rolls = random.sample(range(100), 3)\ndef square(x): return x * x\n"
        "drawn = np.random.choice(1000)"
    ),
}
GOOD["data = ...\nprice_by_flavor = ...\nprice_by_flavor"] = (
    f"data = pd.DataFrame({{'flavor': {_FLAVORS}, 'price': [2, 1.5, 3, 2, 2, 4, 5]}})\n"
    f"price_by_flavor = {_MEANS}"
)
_SQUARE, _SHARED, _GREET, _NUMBERS, _X, _DRAWN, _PRICED = GOOD
WORKS = {
    "good": GOOD,
    "nothing": {},
    "half": {
        _SQUARE: "def square(x):\n    return 1 if x == 1 else 0",
        _SHARED: "a, b, c = 3, 5, 7",
        _GREET: "def greet(name):\n    print('Hello Emmy')",
        _NUMBERS: "def numbers():\n    yield from (0, 1, 1)",
        _X: "x = 3",
        _DRAWN: "np.random.choice(7)\nrolls, drawn = [1, 2, 3], np.random.choice(1000)",
        _PRICED: f"data = pd.DataFrame({{'flavor': {_FLAVORS}}})\nprice_by_flavor = [1, 2, 3, 4]",
    },
    "wrong": {
        _SQUARE: "def square(x):\n    raise ValueError('no')",
        _SHARED: "a = True\nb = c = 4",
        _GREET: "def greet(name):\n    return f'Hello {name}'",
        _NUMBERS: "numbers = [0, 1]",
        _X: "x = '2'",
        _DRAWN: "square = lambda x: -x",
    },
}


def solved(notebook: dict[str, Any], work: dict[str, str]) -> dict[str, Any]:
    """What a student hands in.

    Args:
        notebook: as it was handed out.
        work: what is written in the place of what.
    """
    cells = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        cells.append({**cell, "source": work.get(source, source)})
    return {**notebook, "cells": cells}
