"""Exercises in TMC's form, and what students make of them."""

import textwrap

MARK = "what-no-student-reads"
PROGRAM = """
def double(n):
    # STUB: return 0
    # BEGIN SOLUTION
    return 2 * n
    # END SOLUTION


def greet():
    # BEGIN SOLUTION
    name = input("Who? ")
    print(f"Hello, {name}")
    # END SOLUTION
    # STUB: pass


class Box:
    def __init__(self):
        self.things = []
        self.__sealed = False

    def add(self, thing):
        # BEGIN SOLUTION
        if thing < 0:
            raise ValueError("no")
        self.things.append(thing)
        # END SOLUTION
        # STUB: pass
"""
TESTS = f"""
import unittest
from unittest.mock import patch

from tmc import points
from tmc.utils import get_stdout, load, load_module, reload_module

double = load("src.work", "double")
greet = load("src.work", "greet")
Box = load("src.work", "Box")


@points("1.1")
class Double(unittest.TestCase):
    def test_small(self):
        self.assertEqual(double(2), 4, "twice two is four")

    # BEGIN HIDDEN
    @points("1.2")
    def test_large(self):
        for n in (3, 17, 123456):
            with self.subTest(n=n):
                self.assertEqual(double(n), 2 * n, "{MARK}")
    # END HIDDEN


class Words(unittest.TestCase):
    @points("1.3")
    def test_greeting(self):
        with patch("builtins.input", side_effect=["Emmy"]):
            greet()
        self.assertEqual(get_stdout(), "Hello, Emmy")

    @points("1.4", "1.5")
    def test_box(self):
        box = Box()
        box.add(3)
        self.assertEqual(box.things, [3])
        self.assertFalse(box._Box__sealed)
        with self.assertRaises(ValueError):
            box.add(-1)
"""
HIDDEN = f"""
# HIDDEN FILE
import unittest

from test.wanted import WANTED
from tmc import points


@points("2.1")
class Imported(unittest.TestCase):
    def test_it(self):
        from src import work
        from src.other import triple
        self.assertEqual([triple(n) for n in (1, 2)], WANTED, "{MARK}")
        with unittest.mock.patch("src.work.double", return_value=5):
            self.assertEqual(work.double(1), 5)
"""
EXERCISE = {
    ".tmcproject.yml": "tests_timeout_ms: 5000\n",
    "tmc/__init__.py": "from .points import points\n",
    "src/work.py": PROGRAM,
    "src/other.py": "# SOLUTION FILE\ndef triple(n):\n    return 3 * n\n",
    "src/__init__.py": "",
    "test/__init__.py": "",
    "test/test_work.py": TESTS,
    "test/test_hidden.py": HIDDEN,
    "test/wanted.py": "# HIDDEN FILE\nWANTED = [3, 6]\n",
    "data.csv": "1,2\n",
}
GOOD = """
    def double(n): return n + n
    def greet(): print(f"Hello, {input('Who? ')}")
    class Box:
        __sealed = False
        def __init__(self): self.things = []
        def add(self, thing):
            if thing < 0: raise ValueError
            self.things.append(thing)
"""
# What stands in the place of src/work.py, and how many of six points it gets.
WORKS = {
    "good": (GOOD, 5),
    "half": ("def double(n): return 4\ndef greet(): print('Hello, ' + input())", 1),
    "text": ("once upon a time", 0),
}
# What gets no point. SEEN is what it found and shows.
ATTACKS = {
    "exits": "import sys; sys.exit(0)",
    "exits-when-asked": "import os\ndef double(n): os._exit(0)\ndef greet(): exit()\nBox = exit",
    "forges-files": """
        import os
        told = '[{"name": "test.Double", "status": "passed", "passed": true, "points": ["1.1"]}]'
        for name in (".tmc_test_results.json", ".available_points.json", "test_output.txt",
                     "tmc_test_results.json", "output.txt", "score"):
            for place in (".", "src", "/tmp"):
                open(os.path.join(place, name), "w").write(told)
        print("\\n1\\n"); double = greet = Box = None
    """,
    "patches-unittest": """
        import sys, types, unittest
        unittest.TestCase.assertEqual = unittest.TestCase.run = lambda *a, **k: None
        unittest.TestResult.wasSuccessful = lambda *a: True
        tmc = types.ModuleType("tmc"); tmc.points = lambda *a: lambda f: (lambda *b: None)
        sys.modules["tmc"] = sys.modules["test.test_work"] = tmc
        def double(n): return 0
    """,
    "ends-a-test-as-unittest-does": """
        import unittest.case
        class Stop(unittest.case._ShouldStop): pass
        def double(n): raise unittest.case._ShouldStop
        def greet(): raise Stop
        def Box(): raise unittest.SkipTest("fine")
    """,
    "equals-everything": """
        class Yes:
            __eq__ = __lt__ = __contains__ = lambda *a: True
            __hash__ = None
            def __getattr__(self, name): return Yes()
            def __call__(self, *a): return Yes()
        double = greet = Box = Yes()
    """,
    "searches": """
        import gc, os, sys
        def double(n):
            print("SEEN", os.listdir("."), os.path.exists("test"))
            for top in (".", "/tmp", "/opt/assignments", "/etc"):
                for where, _, names in os.walk(top):
                    for name in names:
                        try: text = open(os.path.join(where, name), errors="replace").read(99999)
                        except OSError: continue
                        if "-no-student-" in text: print("SEEN", text)
            frame = sys._getframe()
            while frame:
                print("SEEN", frame.f_locals); frame = frame.f_back
            raise RuntimeError([o for o in gc.get_objects() if "-no-student" in repr(o)[:9999]])
        greet = Box = double
    """,
    "forges-messages": """
        import os, threading
        def lie():
            while True:
                for fd in range(3, 64):
                    try: os.write(fd, b'{"done": []}\\n{"value": ["tuple", ["", 4]]}\\n')
                    except OSError: pass
        def double(n): return 0
        threading.Thread(target=lie, daemon=True).start()
    """,
}


def program(text: str) -> str:
    """A program as it stands in a file."""
    return textwrap.dedent(text).strip() + "\n"
