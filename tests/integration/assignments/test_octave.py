"""Notebooks of Octave in boxes of this machine, with its own Octave: what tests see, and attacks.

From hand-out to grade, and beside nbgrader, they are in tests/integration/notebook. Slow: Octave.
"""

import textwrap
from collections.abc import Iterator, Sequence

import pytest

from provision.guest.assignments import boxes
from provision.guest.assignments.boxes import Cell
from tests.integration.assignments.graded import (
    MARK,
    Outputs,
    assert_nothing_gained,
    boxes_of,
    fails,
)

pytestmark = pytest.mark.slow

# What a teacher's notebook defines, each line of which is tried by the tests below.
SOLUTION = """
function y = twice (n)
  y = 2 * n;
end
v = [1.1, 1/3, NA, NaN, Inf, -Inf, 5e-324]; e0 = []; w = "Größe"; many = ["ab"; "cd"];
i8 = int8 ([1 -2; 3 4]); u64 = uint64 (18446744073709551615); sg = single (0.1);
b = [true false]; z = [1-2i, 3]; r = 1:4; id = eye (2); sp = sparse ([0 5; 0 0]);
c = {1, "x", {[], true}}; s.name = "Ada"; s.at = struct ("x", {1, 2}); deep = zeros (2, 0, 3);
m = containers.Map (); m("one") = 1; m("two") = {2};
inc = @(k) k + 1; times = @(k) @(x) k * x;
function r = mapped (f, v)
  r = arrayfun (f, v);
end
function [least, most] = bounds_of (x)
  least = min (x); most = max (x);
end
function r = checked (n)
  if (n < 0)
    error ("our:negative", "no %d", n);
  elseif (n == 0)
    warning ("zero");
  end
  r = sqrt (n);
end
function greet (name)
  printf ("hello %s\\n", name);
end
function r = none_above (x, limit)
  r = x(x > limit);
end
function r = root_of (f, a, b)
  while (b - a > 1e-9)
    c = (a + b) / 2;
    if (f (a) * f (c) <= 0), b = c; else, a = c; end
  end
  r = a;
end
function r = median (x)
  x = sort (x); k = numel (x);
  r = (x(ceil (k / 2)) + x(floor (k / 2) + 1)) / 2;
end
function varargout = spread (varargin)
  varargout = varargin;
end
function r = roll ()
  r = rand ();
end
"""
GIVEN = """
function is = close_to (a, b)
  is = abs (a - b) < 1e-9;
end
near = @(a, b) abs (a - b) < 1e-9;
"""
PASS = [
    "assert (twice (2) == 4); assert (close_to (twice (1.5), 3)); assert (near (twice (2), 4))",
    "assert (v(1:2), [1.1, 1/3]); assert (isna (v(3)) && ! isna (v(4))); assert (isnan (v(4)))",
    "assert (v(5:7), [Inf, -Inf, 5e-324]); assert (isempty (e0)); assert (strcmp (w, 'Größe'))",
    "assert (many, ['ab'; 'cd']); assert (size (deep), [2 0 3])",
    "assert (i8, int8 ([1 -2; 3 4])); assert (u64, intmax ('uint64'))",
    "assert (sg, single (0.1)); assert (islogical (b)); assert (b, [true false])",
    "assert (z, [1-2i, 3]); assert (r, 1:4); assert (id, [1 0; 0 1]); assert (issparse (sp))",
    "assert (sp(1, 2) == 5); assert (isequal (c, {1, 'x', {[], true}}))",
    "assert (s.name, 'Ada'); assert (size (s.at), [1 2]); assert (s.at(2).x == 2)",
    "assert (m('one') == 1); assert (m.isKey ('two')); assert (iscell (m('two')))",
    "assert (inc (2) == 3); double_ = times (2); assert (double_ (4) == 8)",
    "assert (mapped (@(k) k^2, [1 2 3]), [1 4 9]); assert (mapped (@sin, 0) == 0)",
    "assert (mapped (inc, [1 2]), [2 3]); assert (mapped (@twice, [1 2]), [2 4])",
    "[a, o] = bounds_of ([3 1 2]); assert ([a o], [1 3])",
    "try, checked (-1); assert (false); catch e, assert (e.identifier, 'our:negative'); end",
    "fail ('checked (-1)', 'no -1')",
    "assert (checked (4) == 2); assert (checked (0) == 0)",
    'said = evalc (\'greet ("Bo")\'); assert (said, "hello Bo\\n")',
    "assert (isempty (none_above ([1 2], 3))); assert (none_above ([1 2], 1), 2)",
    "e = zeros (1, 0); assert (isequal (none_above (1, 3), []))\nassert (none_above (e, 1), e)",
    "assert (root_of (@(x) x^2 - 2, 0, 2), sqrt (2), 1e-6)",
    "assert (median ([1 9 2]) == 2); assert (mean ([1 2 3]) == 2)",
    "x = spread (1); [p, q] = spread ('a', {2}); assert (p, 'a'); assert (q{1} == 2)",
    "twice (21)\nassert (ans == 42)",
    "rand ('seed', 1); x = roll (); rand ('seed', 1); assert (x == rand ())",
    "rand ('state', 7); x = [roll, roll]; rand ('state', 7); assert (x, [rand, rand])",
    "assert (exist ('twice') != 0); assert (exist ('thrice') == 0); assert (isempty (rand (0, 3)))",
    "assert (cellfun (@twice, {1, 2}), [2 4]); assert (feval ('twice', 3) == 6)",
    "function y = reference (n)\n  y = 2 * n;\nend\nassert (twice (3), reference (3))",
    "v(2) = 7; assert (v(2) == 7)",
    "assert (v(2) == 7); assert (reference (2) == 4)",
    "% a comment\n# another\n%{\n  assert (false)\n%}\nassert (true)",
    "warning ('what Octave complains of costs nothing, as with its kernel')",
    "if (twice (2) != 4)\n  error ('wrong');\nend\nx = twice (3)",
]
FAIL = {
    "assert (twice (2) == 5)": "assert (twice (2) == 5) failed",
    "assert (v(1:2), [1 2])": "ASSERT errors for:  assert (v (1:2),[1, 2])",
    "assert (twice (2) == 5, 'it doubles: %d', 7)": "it doubles: 7",
    "assert (twice (2), 5)": "Abs err 1 exceeds tol 0",
    "assert (twice ([]) == 4)": "failed",
    "assert (norm (none_above ([1 2], 3) - 4) < 1)": "what is empty",
    "assert (all (none_above ([1 2], 3) == 4))": "what is empty",
    "if (none_above ([1 2], 3) != 4), error ('no'); end": "what is empty",
    "assert (isempty (none_above (1, 3))); assert (all (none_above (2, 3) == 4))": "what is empty",
    "if (twice (2) != 5), error ('wrong'); end": "wrong",
    "inc == 3": "binary operator '=='",
    "assert (inc)": "assert (inc) failed",
    "twice ('a', 2)": "called with too many inputs",
    "twice (inputParser ())": "an object of inputParser cannot be copied",
    "undefined_ (1)": "'undefined_' undefined",
    "error ('')\nerror ('our:id', 'last')": "last",
    "x = [1 2": "parse error",
    "checked (-1)": "no -1",
    "while true, end": "this test takes more than",
}
TEST = f"""
expected = 4;
assert (twice (2) == expected, "{MARK}");
told = "{MARK}";
for n = [3, 17, 123456]
  if (! isequal (twice (n), 2 * n)), error (told); end
end
assert (twice (1.5), 3)
assert (all (twice (1:3) == [2 4 6]) && close_to (twice (5), 10))
if (any (twice (1:3) != [2 4 6])), error (told); end
assert (norm (twice ([1; 2]) - [2; 4]) < 1e-9)
assert (near (twice (4), 8))
function y = reference (n)
  y = 2 * n;
end
assert (arrayfun (@twice, 1:3), reference (1:3))
"""
# Of an attack a test that has no other way to fail.
SHORT = "assert (twice (2) == 4)\nassert (max (abs (twice (1:3) - [2 4 6])) < 1e-9)"
ATTACKS = {
    "is-not-there": "x = 1;",
    "leaves": "exit (0)",
    "leaves-when-asked": "function y = twice (n)\n  exit (0);\nend",
    "is-killed": "kill (getpid (), 9)",
    "kills-everybody": "system ('kill -9 -1')",
    "aborts": "function y = twice (n)\n  __abort__ ();\n  kill (getpid (), 6);\nend",
    "interrupts": "function y = twice (n)\n  kill (getpid (), 2);\n  y = 0;\nend",
    "raises-nothing": 'function y = twice (n)\n  error (struct ("message", ""));\nend',
    "raises-what-it-likes": 'function y = twice (n)\n  error ("Octave:some-id", "passed");\nend',
    "gives-nothing": "function twice (n)\nend",
    "masks-what-tests-use": """
        function y = twice (n), y = 0; end
        function varargout = assert (varargin), end
        function varargout = error (varargin), end
        function y = isequal (varargin), y = true; end
        function y = all (varargin), y = true; end
        function y = any (varargin), y = false; end
        function y = norm (varargin), y = 0; end
        function y = abs (varargin), y = 0; end
        function y = max (varargin), y = 0; end
        function y = close_to (varargin), y = true; end
        function y = near (varargin), y = true; end
        function y = eq (varargin), y = true; end
    """,
    "masks-it-with-values": """
        function y = twice (n), y = 0; end
        assert = error = isequal = all = norm = abs = max = close_to = 1;
        near = reference = @(varargin) true; expected = 0; told = ""; n = 0; arrayfun = {};
    """,
    "masks-it-by-files": """
        function y = twice (n), y = 0; end
        for name = {"assert", "error", "isequal", "all", "norm", "abs", "max", "close_to", "near"}
          file = fopen ([name{1} ".m"], "w");
          fprintf (file, "function varargout = %s (varargin)\\n", name{1});
          fprintf (file, "  varargout = {1};\\nend\\n");
          fclose (file);
        end
        rehash ();
    """,
    "masks-its-class": """
        function y = twice (n), y = 0; end
        mkdir ("@double");
        for name = {"eq", "ne", "minus", "isequal", "all", "norm"}
          file = fopen (["@double/" name{1} ".m"], "w");
          fprintf (file, "function r = %s (varargin)\\n  r = 1;\\nend\\n", name{1}); fclose (file);
        end
        addpath (pwd ()); rehash ();
    """,
    "is-of-a-class": """
        mkdir ("@yes");
        for name = {"eq", "ne", "minus", "isequal", "all", "norm", "double", "isempty", "abs"}
          file = fopen (["@yes/" name{1} ".m"], "w");
          fprintf (file, "function r = %s (varargin)\\n  r = true;\\nend\\n", name{1});
          fclose (file);
        end
        file = fopen ("@yes/yes.m", "w");
        fprintf (file, "function o = yes ()\\n  o = class (struct (), 'yes');\\nend\\n");
        fclose (file);
        rehash ();
        function y = twice (n), y = yes (); end
    """,
    "guesses-names": """
        function y = twice (n), y = 0; end
        global expected told n
        expected = 0; told = ""; n = 0;
        assignin ("base", "expected", 0);
    """,
    "changes-the-callers": """
        function y = twice (n)
          for name = {"expected", "told", "n", "k", "y"}, try
            assignin ("caller", name{1}, 0); assignin ("base", name{1}, 0);
          catch, end, end
          evalin ("caller", "return;", ""); evalin ("base", "expected = 0;");
          y = 0;
        end
    """,
    "is-nothing": "function y = twice (n), y = []; end",
    "is-no-rows": "function y = twice (n), y = zeros (0, columns (n)); end",
    "is-no-columns": "function y = twice (n), y = zeros (rows (n), 0); end",
    "is-an-empty-text": 'function y = twice (n), y = ""; end',
    "is-missing": "function y = twice (n), y = NA (size (n)); end",
    "is-true": "function y = twice (n), y = true (size (n)); end",
    "is-a-cell": "function y = twice (n), y = {2 * n}; end",
    "is-a-struct": 'function y = twice (n), y = struct ("y", 2 * n); end',
    "is-a-function": "function y = twice (n), y = @(varargin) true; end",
    "is-a-map": "function y = twice (n), y = containers.Map (); end",
    "is-its-argument": "function y = twice (n), y = n; end",
    "is-a-text": 'function y = twice (n), y = "assert"; end',
    "is-a-value": "twice = [2 4 6 8 10 12]; twice(17) = 34; twice(123456) = 246912;",
    "is-a-list": "c = {1, 2, 3};\nfunction varargout = twice (n), varargout = {0, 4, 4}; end",
    "has-the-tests-function": "reference = @(n) 0;\nfunction y = twice (n), y = 0 * n; end",
    "looks-at-calls": """
        function y = twice (n)
          stack = dbstack ();
          printf ("SEEN %s\\n", disp (stack));
          for place = {"base", "caller"}
            for name = evalin (place{1}, "who ()")'
              printf ("SEEN %s\\n", disp (evalin (place{1}, name{1})));
            end
          end
          y = 0;
        end
    """,
    "searches-the-disk": """
        function y = twice (n)
          [~, text] = system ("cat /proc/*/environ /proc/*/cmdline 2>/dev/null | head -c 99999");
          [~, more] = system ("grep -r no-student- /tmp /home /etc /var /run /root 2>/dev/null");
          printf ("SEEN %s %s\\n", text, more);
          y = 0;
        end
    """,
    "reads-the-line": """
        system ("cat <&3 > /tmp/line &");
        function y = twice (n)
          printf ("SEEN %s\\n", fileread ("/tmp/line"));
          y = 0;
        end
    """,
    "forges-messages": """
        function y = twice (n), y = 0; end
        value = "{\\"value\\": \\"cell 1x1x double 1x1x AAAAAAAAEEA=\\"}";
        system (["while :; do echo '{\\"done\\": []}'; echo '" value "'; done >&4 &"]);
    """,
    "forges-values": """
        function y = twice (n)
          said = {"", "x", "cell 9x9x", "double 1x1x !", "double 1x1x AAAA", "mine 1", "yours 1"};
          said = [said, {"struct 1x1x", "map 0x1x cell 0x0x", "cell 99999999x9999x", "cell 1x1x"}];
          for each = said
            system (sprintf ("echo '{\\"value\\": \\"cell 1x1x %s\\"}' >&4", each{1}));
          end
          y = 0;
        end
    """,
    "forges-depth": """
        function y = twice (n)
          system ("head -c 1000000 /dev/zero | tr '\\\\0' '[' >&4; echo >&4");
          y = 0;
        end
    """,
    "forges-what-runs": """
        function y = twice (n), y = 0; end
        function varargout = jsonencode (varargin)
          varargout = {'{"value": "cell 1x1x logical 1x1x AQ==", "done": []}'};
        end
        function varargout = send (varargin), end
        function varargout = encode (varargin), varargout = {"yours 1"}; end
        function varargout = kept (varargin), varargout = {true}; end
        function varargout = names (varargin), varargout = {{"function"}}; end
    """,
    "asks-back": """
        function y = twice (n)
          for with = {"cell 1x1x double 1x1x AAAAAAAA8D8=", "cell 1x1x yours 1", "cell 1x1x mine 1"}
            system (sprintf ("echo '{\\"ask\\": \\"call\\", \\"with\\": \\"%s\\"}' >&4", with{1}));
            [~, said] = system ("head -n 1 <&3");
            printf ("SEEN %s\\n", said);
          end
          y = 0;
        end
    """,
    "prints-results": """
        function y = twice (n)
          printf ('{"done": []}\\n'); fprintf (stderr, '{"done": []}\\n'); y = 0;
        end
    """,
    "outlives": """
        function y = twice (n), y = 0; end
        system ("while :; do sleep 1 & done &");
        for k = 1:200, fork (); end
    """,
    "prints-a-gigabyte": """
        for k = 1:100, puts (repmat ("x", 1, 4e6)); end
        system ("head -c 300000000 /dev/zero; head -c 300000000 /dev/zero >&2");
        function y = twice (n)
          puts (repmat ("y", 1, 1e8)); y = 0;
        end
    """,
    "answers-a-gigabyte": 'function y = twice (n), y = repmat ("x", 1, 2^29); end',
    "answers-a-giant": "function y = twice (n), y = zeros (1, 5e7); end",
    "takes-all-memory": "x = {}; while (true), x{end+1} = rand (1e4, 1e3); end",
    "takes-the-disk": """
        function y = twice (n), y = 0; end
        file = fopen ("large", "w"); for k = 1:200, fwrite (file, zeros (1, 1e6, "uint8")); end
    """,
    "asks-the-network": """
        function y = twice (n), y = 0; end
        try, urlread ("http://127.0.0.1:8000/"), puts ("SEEN -no-student-"); end
        [~, said] = system ("bash -c 'echo > /dev/tcp/10.0.2.2/8000 && echo SEEN -no-student-'");
    """,
    "nests": """
        function y = twice (n)
          y = 0; for k = 1:500, y = {y}; end
        end
    """,
    "nests-calls": "function y = twice (n), y = twice (n); end",
    "never-answers": "function y = twice (n), while true, end, end",
    "never-answers-nor-ends": """
        function y = twice (n)
          unwind_protect
            while true, end
          unwind_protect_cleanup
            while true, try, pause (1); end, end
          end_unwind_protect
        end
    """,
    "never-ends": "function y = twice (n), y = 0; end\nwhile true, end",
    "never-ends-in-a-program": 'function y = twice (n), system ("sleep 100"); y = 0; end',
    "closes-all": """
        function y = twice (n), y = 0; end
        for each = fopen ("all")', builtin ("fclose", each); end
    """,
}
LATE = [name for name in ATTACKS if name.startswith("never")] + ["closes-all", "reads-the-line"]
TWICE = "function y = twice (n)\n  y = 2 * n;\nend\n"
# Functions of Octave's own that a task may want to be written, and somebody writes badly.
OWN = (
    *("max", "min", "sum", "prod", "sort", "find", "any", "all", "mean", "fliplr", "strsplit"),
    *(
        "strjoin",
        "strrep",
        "cumsum",
        "abs",
        "mod",
        "floor",
        "factorial",
        "unique",
        "ismember",
        "fix",
    ),
)
# What is clumsy, and no harm.
HONEST = {
    "is-an-error-before": "undefined_ (3)\n" + TWICE + "x = undefined_ + 1;",
    "is-a-handle": "twice = @(n) 2 * n;",
    "clears-all": "x = 1\nclear all; close all; clc; fclose all;\n" + TWICE,
    "clears-all-after": TWICE + "fclose ('all')\nclear -x none",
    "uses-our-names": "line = 3; kept = 4; send = receive = @(x) x;\nfunction encode (), end\n"
    + TWICE,
    "changes-the-directory": "mkdir ('d'); cd ('d')\n" + TWICE,
    "prints": "function y = twice (n)\n  n, disp (n); printf ('%d\\n', n);\n  y = 2 * n\nend",
    "runs-programs": "system ('ls; cat');\ntry, x = input ('');\nend\n" + TWICE,
    "has-formats": "format long\nmore on\noutput_precision (3)\n" + TWICE,
    "has-names-of-the-tests": "n = 5; expected = 1; told = 2; reference = 3; k = [];\n" + TWICE,
    "takes-too-long-before": "while true, end\n",
    "warns": "function y = twice (n)\n  warning ('so'); y = n + n;\nend",
    "writes-octaves-own": TWICE
    + "".join(f"function r = {name} (varargin)\n  r = 0;\nend\n" for name in OWN),
    "is-a-file": """
        file = fopen ("twice.m", "w");
        fprintf (file, "function y = twice (n)\\n  y = 2 * n;\\nend\\n"); fclose (file);
    """,
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[boxes.Boxes]:
    root = tmp_path_factory.mktemp("root")
    with boxes_of(
        "octave", "octave-cli", "octave, gnuplot-nox, ghostscript and fonts-freefont-otf", root
    ) as found:
        yield found


def run(kept: boxes.Boxes, solution: str, tests: Sequence[str], further: str = "") -> Outputs:
    """The outputs of a notebook's cells, whose teacher has ``SOLUTION`` in the student's place."""
    cells = [Cell(textwrap.dedent(solution), test=False), Cell(GIVEN, test=False)]
    cells += [Cell(further or "twice (21)", test=False), *(Cell(each, test=True) for each in tests)]
    return kept.run(cells, {}, {"cells": [SOLUTION], "locked": [GIVEN]})


def test_what_a_notebook_has_crosses_and_tests_pass(kept: boxes.Boxes) -> None:
    found = run(kept, SOLUTION, PASS)
    assert found[2][0]["text"] == "ans = 42\n"
    wrong = {test: shown for test, shown in zip(PASS, found[3:], strict=True) if fails(shown)}
    assert wrong == {}


def test_what_is_wrong_and_what_cannot_be_copied_is_said(
    kept: boxes.Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boxes, "SECONDS", 3)
    found = run(kept, SOLUTION, [*FAIL, "assert (twice (2) == 4)"])[3:]
    for (test, words), shown in zip(FAIL.items(), found[:-1], strict=True):
        assert fails(shown), test
        assert words in "".join(each.get("evalue", each.get("text", "")) for each in shown), test
    assert not fails(found[-1])


def test_cells_show_what_octaves_own_kernel_shows(kept: boxes.Boxes) -> None:
    """Pictures, values, warnings and errors, after which the next line runs."""
    cells = [
        "plot (1:3); hold on; plot (3:-1:1);\nfigure; bar (1:2);",
        "x = fileread ('data.csv')\n% a comment\nif x\n  y = 4\nend",
        "warning ('careful')\nerror ('no')\nz = 5",
    ]
    shown = kept.run([Cell(each, test=False) for each in cells], {"data.csv": b"1,2"}, {})
    kinds = [[each["output_type"] for each in outputs] for outputs in shown]
    assert kinds == [["display_data"] * 2, ["stream"], ["stream", "error", "stream"]]
    assert all(each["data"]["image/png"].startswith("iVBOR") for each in shown[0])
    assert shown[1][0]["text"] == "x = 1,2\ny = 4\n"
    assert shown[2][0]["text"].startswith("warning: careful")
    assert [shown[2][1]["evalue"], shown[2][2]["text"]] == ["no", "z = 5\n"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_gains_no_point_and_reads_no_test(
    kept: boxes.Boxes, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if attack in LATE:
        monkeypatch.setattr(boxes, "SECONDS", 3)
        monkeypatch.setattr(boxes, "GRACE", 2)
    found = run(kept, ATTACKS[attack], [TEST, SHORT, "assert (twice (4) == 8)"])
    assert_nothing_gained(found)
    monkeypatch.undo()
    assert not fails(run(kept, SOLUTION, [TEST])[3])  # and the next is graded


@pytest.mark.parametrize("way", HONEST)
def test_what_is_clumsy_is_graded_as_well(
    kept: boxes.Boxes, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boxes, "SECONDS", 5)
    later = TWICE if way == "takes-too-long-before" else ""
    found = run(kept, HONEST[way], [TEST], later)
    assert not fails(found[3]), found


def test_a_test_that_expects_an_error_is_not_pleased_by_an_end(kept: boxes.Boxes) -> None:
    test = "try, twice ({}); ended = false; catch, ended = true; end\nassert (ended)"
    assert not fails(run(kept, SOLUTION, [test])[3])
    ended = run(kept, "function y = twice (n), exit (0); end", [test, test])
    assert all(map(fails, ended[3:]))
    assert "has ended" in ended[4][0]["evalue"]


def test_a_task_to_write_what_octave_has_leaves_octaves_own_to_the_tests(
    kept: boxes.Boxes,
) -> None:
    """What the examiner, assert and the other functions call is no student's."""
    names = [*OWN, "isempty", "numel", "strcmp", "isfield", "fileparts", "jsonencode"]
    names += ["regexp", "setdiff", "size", "feval", "cellfun", "isequal", "norm", "error"]
    written = "".join(
        f"function varargout = {name} (varargin)\n  varargout = cell (1, nargout);\n"
        f'  [varargout{{:}}] = builtin ("{name}", varargin{{:}});\nend\n'
        for name in names
    )
    source = {"cells": [SOLUTION, written], "locked": [GIVEN]}
    tests = [
        "assert (twice (2) == 4)",
        "assert (twice (1:2), [2 4])",
        "assert (near (twice (2), 4))",
    ]
    tests += ["assert (max (abs ([1 -3])) == 3)"]
    for solution, right in ((SOLUTION, True), ("function y = twice (n), y = 0; end\n", False)):
        masks = "".join(f"function r = {name} (varargin)\n  r = 1;\nend\n" for name in OWN)
        masks += "function is = isequal (varargin)\n  is = true;\nend\n"
        cells = [Cell(solution + ("" if right else masks), test=False)]
        found = kept.run([*cells, *(Cell(each, test=True) for each in tests)], {}, source)[1:]
        assert [fails(each) for each in found[:3]] == [not right] * 3, found
    assert fails(found[3])  # the test asks for theirs


def test_a_type_whose_numbers_stop_at_nothing_is_near_to_no_answer(kept: boxes.Boxes) -> None:
    """Where the teacher's notebook has such types, they come across as they are."""
    near = "assert (max (abs (twice (1:3) - [2 4 6])) < 1e-9)"
    inside = "x = twice ({3}); assert (abs (x{1} - 6) < 1e-9)"
    teachers = ["function y = twice (n)\n  y = 2 * n;\nend", 'x = imread ("a.png");']
    students = [
        "function y = twice (n), if (iscell (n)), y = {uint8(0)}; else, y = uint8 (0); end, end",
        "function y = twice (n)\n  y = {int32(6)};\n  if (! iscell (n))"
        ", y = int32 (2 * n); end\nend",
    ]
    for student, right in zip(students, (False, True), strict=True):
        cells = [Cell(student, test=False), Cell(near, test=True), Cell(inside, test=True)]
        found = kept.run(cells, {}, {"cells": teachers[:1], "locked": []})
        assert [fails(each) for each in found] == [False, not right, not right], found
    kind = Cell("assert (class (twice (1)), 'int32')", test=True)
    cells = [Cell(students[1], test=False), kind, Cell("x = twice (7) / 4", test=True)]
    for known, value in ((teachers[:1], "3.5000"), (teachers, "4")):
        found = kept.run(cells, {}, {"cells": known, "locked": []})
        assert not fails(found[1]), found
        assert found[2][0]["text"] == f"x = {value}\n"
