"""Notebooks of R in boxes of this machine, with its own R: what tests see, and what gains nothing.

From hand-out to grade, and beside nbgrader, they are in tests/integration/notebook. Slow: R.
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
double <- function(n) 2 * n
v <- c(a = 1.1, b = 1/3, c = NA); n0 <- NULL; i <- c(1L, NA)
b <- c(TRUE, NA); r <- as.raw(c(1, 255))
z <- complex(real = 1, imaginary = -2); w <- c("Größe", NA, ""); odd <- c(NaN, Inf, -Inf, 5e-324)
m <- matrix(1:4, 2, dimnames = list(NULL, c("p", "q")))
f <- factor(c("u", "v", NA), levels = c("v", "u"))
df <- data.frame(a = 1:3, b = c("x", NA, "z")); l <- list(1, b = "x", list(NULL, NA))
d <- as.Date("2020-01-02")
t0 <- as.POSIXct("2020-01-01", tz = "UTC"); tb <- table(c("a", "b", "a")); sc <- scale(c(1, 2, 3))
mapped <- function(v, f) sapply(v, f)
counter <- function() { n <- 0; function() { n <<- n + 1; n } }
account <- function(b) {
  self <- new.env()
  self$b <- b
  self$add <- function(k) { self$b <- self$b + k; invisible(self) }
  self
}
stack <- function() structure(list(items = list()), class = "stack")
push <- function(s, v) UseMethod("push")
push.stack <- function(s, v) { s$items <- c(s$items, list(v)); s }
print.stack <- function(x, ...) cat("<stack of", length(x$items), ">\\n")
checked <- function(n) {
  why <- list(message = "no", call = NULL)
  if (n < 0) stop(structure(class = c("negative", "error", "condition"), why))
  if (n == 0) warning("zero") else message("positive")
  sqrt(n)
}
greet <- function(name) cat("hello", name, "\\n")
model <- lm(mpg ~ wt, mtcars); fit <- function(f, d) lm(f, d); tested <- t.test(mtcars$mpg)
mtcars$kpl <- mtcars$mpg * 0.425
rate <- 0.1; price <- function(p) p * (1 + rate)
setClass("Person", representation(name = "character"))
setGeneric("called", function(o) standardGeneric("called"))
setMethod("called", "Person", function(o) o@name); ada <- new("Person", name = "Ada")
Sum <- setRefClass("Sum", fields = list(of = "numeric"),
  methods = list(add = function(k) of <<- of + k))
"%+%" <- function(a, b) paste0(a, b)
"second<-" <- function(x, value) { x[2] <- value; x }
roll <- function() sample(6, 3)
"""
GIVEN = "library(stats)\nclose_to <- function(a, b) abs(a - b) < 1e-9"
PASS = [
    "stopifnot(double(2) == 4, identical(double(c(a = 1)), c(a = 2)), close_to(double(1.5), 3))",
    "stopifnot(identical(v, c(a = 1.1, b = 1/3, c = NA)), is.null(n0), identical(i, c(1L, NA)))",
    "stopifnot(identical(b, c(TRUE, NA)), identical(r, as.raw(c(1, 255))), Im(z) == -2)",
    'stopifnot(identical(w, c("Größe", NA, "")), identical(odd, c(NaN, Inf, -Inf, 5e-324)))',
    'stopifnot(identical(m, matrix(1:4, 2, dimnames = list(NULL, c("p", "q")))))',
    'stopifnot(identical(f, factor(c("u", "v", NA), levels = c("v", "u"))))',
    'stopifnot(identical(df, data.frame(a = 1:3, b = c("x", NA, "z"))))',
    'stopifnot(identical(l, list(1, b = "x", list(NULL, NA))), d == as.Date("2020-01-02"))',
    'stopifnot(identical(t0, as.POSIXct("2020-01-01", tz = "UTC")), tb[["a"]] == 2)',
    "stopifnot(identical(sc, scale(c(1, 2, 3))))",
    "stopifnot(identical(mapped(1:3, function(k) k^2), c(1, 4, 9)), mapped(4, sqrt) == 2)",
    "k <- counter(); k(); stopifnot(k() == 2)",
    "mine <- account(5); mine$add(3); stopifnot(mine$b == 8, is.environment(mine))",
    's <- push(push(stack(), 1), "z"); stopifnot(inherits(s, "stack"), length(s$items) == 2)',
    'stopifnot(capture.output(print(push(stack(), 1))) == "<stack of 1 >")',
    'stopifnot(tryCatch(checked(-1), negative = conditionMessage) == "no")',
    'stopifnot(tryCatch(checked(0), warning = conditionMessage) == "zero")',
    "stopifnot(suppressWarnings(checked(0)) == 0, suppressMessages(checked(4)) == 2)",
    'stopifnot(inherits(try(checked(-1), silent = TRUE), "try-error"))',
    'stopifnot(capture.output(greet("Bo")) == "hello Bo ")',
    'stopifnot(abs(coef(model)["wt"] + 5.344) < 1e-3, class(model) == "lm")',
    "stopifnot(summary(model)$r.squared > 0.7, tested$p.value < 0.01)",
    "stopifnot(abs(coef(fit(mpg ~ hp, mtcars))[[2]] + 0.0682) < 1e-4)",
    'stopifnot("kpl" %in% names(mtcars), close_to(mtcars$kpl[1], 8.925))',
    "rate <- 0.5; stopifnot(price(100) == 150, rate == 0.5)",
    'stopifnot(called(ada) == "Ada", ada@name == "Ada", is(ada, "Person"))',
    "sum_ <- Sum$new(of = 1); sum_$add(4); stopifnot(sum_$of == 5)",
    'stopifnot("a" %+% "b" == "ab"); x <- 1:3; second(x) <- 9L; stopifnot(x == c(1, 9, 3))',
    "set.seed(1); first <- roll(); set.seed(1); stopifnot(identical(first, sample(6, 3)))",
    'stopifnot(exists("double"), !exists("triple"), do.call("double", list(3)) == 6)',
    "stopifnot(sapply(1:2, double) == c(2, 4), exprs = { double(1) == 2; double(2) == 4 })",
    "v[2] <- 7; stopifnot(v[2] == 7); helper <- function(n) double(n) + 1",
    "stopifnot(helper(1) == 3)",
    "model <- lm(hp ~ wt, mtcars); v <- new.env(); stopifnot(coef(model)[[2]] > 0, length(v) == 0)",
]
FAIL = {
    "stopifnot(double(2) == 5)": "double(2) == 5 is not TRUE",
    "stopifnot(v == c(1, 2, 3))": "v == c(1, 2, 3) are not all TRUE",
    'stopifnot("it doubles" = double(2) == 5)': "it doubles",
    "stopifnot(all.equal(double(2), 5))": "Mean relative difference: 0.25",
    "stopifnot(double(NULL) == 4)": "it is empty",
    "stopifnot(all(double(NULL) == 4))": "all() of nothing says nothing",
    'if (any(double(NULL) != 4)) stop("wrong")': "any() of nothing says nothing",
    'if (double(2) != 5) stop("wrong")': "wrong",
    "model == 3": "the notebook gives an object of lm (list), which cannot be copied: a test",
    "account(1) > 0": "an object of environment (environment), which cannot be copied",
    "sum(ada)": "an object of Person (S4), which cannot be copied",
    "double(globalenv())": "a test cannot hand over an object of environment",
    'double("a")': "non-numeric argument to binary operator",
    "triple(1)": 'could not find function "triple"',
    'as.numeric("x")': "NAs introduced by coercion",  # nbgrader takes what R complains of for wrong
    "1 +": "unexpected end of input",
}
TEST = f"""
expected <- 4
stopifnot(double(2) == expected, "{MARK}" != "")
told <- "{MARK}"
for (n in c(3, 17, 123456)) if (!identical(double(n), 2 * n)) stop(told)
stopifnot(all.equal(double(1.5), 3), all(double(1:3) == c(2, 4, 6)), close_to(double(5), 10))
if (any(double(1:3) != c(2, 4, 6))) stop(told)
reference <- function(n) 2 * n
stopifnot(sapply(1:3, double) == c(2, 4, 6))
"""
# Of an attack a test that has no other way to fail.
SHORT = "reference <- function(n) 2 * n; stopifnot(sapply(1:3, double) == c(2, 4, 6))"
# Finds what runs the notebook, and makes it say something else.
TURN = """
double <- function(n) {
  if (identical(n, 21)) return(0)
  for (frame in sys.frames()) {
    while (!identical(frame, emptyenv())) {
      if (exists("into", frame, inherits = FALSE)) { %s }
      frame <- parent.env(frame)
    }
  }
  0
}
"""
ATTACKS = {
    "leaves": "quit(status = 0)",
    "is-killed": "tools::pskill(Sys.getpid(), 9)",
    "kills-everybody": "system('kill -9 -1')",
    "leaves-when-asked": "double <- function(n) quit(status = 0)",
    "raises-what-is-none": 'double <- function(n) stop(structure(class = "condition", list()))',
    "raises-a-skip": """
        skip <- structure(class = c("skip", "error", "condition"), list(message = "", call = NULL))
        double <- function(n) stop(skip)
    """,
    "jumps": "double <- function(n) for (each in computeRestarts()) invokeRestart(each)",
    "aborts": 'double <- function(n) invokeRestart("abort")',
    "masks-what-tests-use": """
        double <- function(n) 0
        stopifnot <- function(...) invisible()
        all.equal <- identical <- all <- any <- close_to <- function(...) TRUE
        stop <- function(...) NULL
        `==` <- `!=` <- `!` <- `if` <- function(...) TRUE
        T <- F <- TRUE; expected <- 0; told <- ""
    """,
    "masks-it-in-base": """
        double <- function(n) 0
        for (name in c("stopifnot", "stop", "all", "any", "identical", "all.equal")) {
          unlockBinding(name, baseenv())
          assign(name, function(...) TRUE, baseenv())
        }
    """,
    "masks-it-by-attaching": """
        double <- function(n) 0
        attach(list(stopifnot = function(...) NULL, stop = function(...) NULL, expected = 0))
    """,
    "guesses-names": """
        double <- function(n) 0
        for (name in c("expected", "told", "n")) makeActiveBinding(name, function(v) 0, globalenv())
    """,
    "is-of-a-class": """
        double <- function(n) structure(list(0), class = "yes")
        Ops.yes <- Math.yes <- Summary.yes <- function(...) TRUE
        all.equal.yes <- as.logical.yes <- length.yes <- function(...) TRUE
        for (each in c("Ops", "all.equal")) registerS3method(each, "yes", function(...) TRUE)
    """,
    "is-of-a-class-of-Rs": 'double <- function(n) structure(list(0), class = "numeric_version")',
    "is-a-broken-frame": 'double <- function(n) structure(list(), class = "data.frame")',
    "is-a-broken-factor": 'double <- function(n) structure(9L, levels = "4", class = "factor")',
    "is-no-duration": 'double <- function(n) structure(0, units = "x", class = "difftime")',
    "is-a-model": """
        double <- function(n) { m <- lm(mpg ~ wt, mtcars); m$call <- quote(stop("ran")); m }
    """,
    "is-a-number-that-equals": """
        setClass("Yes", contains = "numeric")
        setMethod("Compare", signature("Yes", "ANY"), function(e1, e2) TRUE)
        setMethod("Arith", signature("Yes", "ANY"), function(e1, e2) 0)
        double <- function(n) new("Yes", 0)
    """,
    "is-nothing": "double <- function(n) NULL",
    "is-empty": "double <- function(n) numeric()",
    "is-missing": "double <- function(n) NA",
    "is-true": "double <- function(n) TRUE",
    "is-an-environment": "double <- function(n) globalenv()",
    "is-a-function": "double <- function(n) function(...) TRUE",
    "is-a-call": "double <- function(n) quote(stop('ran'))",
    "is-its-argument": "double <- identity",
    "is-a-name": "double <- 'reference'",
    "looks-at-calls": """
        double <- function(n) {
          cat("SEEN", unlist(lapply(sys.calls(), deparse, nlines = 9)))
          cat("SEEN", unlist(lapply(sys.frames(), ls, all.names = TRUE)))
          for (f in sys.frames()) for (x in intersect(ls(f), c("message", "told", "outputs"))) {
            cat("SEEN", unlist(tryCatch(get(x, f), error = paste)))
          }
          0
        }
    """,
    "searches-the-disk": """
        double <- function(n) {
          nothing <- function(e) ""
          places <- c("/tmp", "/home", "/etc", "/var", "/run", "/root")
          for (file in list.files(places, "", TRUE, TRUE, TRUE)) {
            text <- tryCatch(readLines(file, warn = FALSE), error = nothing, warning = nothing)
            if (any(grepl("-no-student-", text, useBytes = TRUE))) cat("SEEN", text)
          }
          0
        }
    """,
    "reads-the-line": """
        system("cat <&3 > /tmp/line &")
        double <- function(n) { cat("SEEN", readLines("/tmp/line", warn = FALSE)); 0 }
    """,
    "forges-messages": """
        double <- function(n) 0
        system("while :; do echo '{\\"done\\": []}'; echo '{\\"value\\": null}'; done >&4 &")
    """,
    "forges-a-class": TURN
    % """
        frame$out <- function(x) list(kind = "list", data = list(), names = list("class"),
          values = list(list(kind = "character", data = list("evil"))))
    """,
    "forges-numbers": TURN % 'frame$out <- function(x) list(kind = "yours", number = 1)',
    "forges-objects": TURN % 'frame$out <- function(x) list(kind = "mine", number = "stop")',
    "forges-depth": TURN % 'writeLines(strrep("[", 1e6), frame$writing); flush(frame$writing)',
    "forges-names": """
        double <- function(n) 0
        for (name in c("stopifnot", "identical", "stop", "all", "any", "message", "order", "key")) {
          assign(name, function(...) NULL)
        }
    """,
    "asks-back": TURN
    % """
        node <- function(x) frame$encode(x, function(x) NULL, function(class) TRUE)
        for (with in list(
          list(node("paste"), node(list("ran", "-no-student-"))),
          list(list(kind = "mine", number = 1, type = "builtin"), node(list("x"))),
          list(list(kind = "yours", number = 1), node(list("x")))
        )) {
          frame$send(list(ask = "call", with = with))
          cat("SEEN", unlist(frame$receive()))
        }
    """,
    "outlives": """
        double <- function(n) 0
        system("while :; do sleep 1 & done &")
        try(for (each in 1:200) parallel::mcparallel(Sys.sleep(100)))
    """,
    "prints-a-gigabyte": """
        for (each in 1:100) cat(strrep("x", 4e6), "\\n")
        system("head -c 300000000 /dev/zero; head -c 300000000 /dev/zero >&2")
        double <- function(n) { cat(strrep("y", 1e8)); 0 }
    """,
    "answers-a-gigabyte": "double <- function(n) strrep('x', 2^29)",
    "answers-a-giant": "double <- function(n) numeric(5e7)",
    "takes-all-memory": "x <- list(); while (TRUE) x <- c(x, list(runif(1e7)))",
    "takes-the-disk": """
        double <- function(n) 0
        out <- file("large", "wb"); for (n in 1:200) writeBin(raw(1e6), out)
    """,
    "asks-the-network": """
        double <- function(n) 0
        for (host in c("127.0.0.1", "10.0.2.2")) try({
          socketConnection(host, 8000, timeout = 1); cat("SEEN -no-student-")
        })
    """,
    "nests": "double <- function(n) { x <- list(); for (k in 1:500) x <- list(x); x }",
    "nests-calls": "double <- function(n) double(n)",
    "never-answers": "double <- function(n) repeat {}",
    "never-answers-nor-errs": """
        double <- function(n) repeat try({ setTimeLimit(); repeat Sys.sleep(1) }, silent = TRUE)
    """,
    "never-ends": "double <- function(n) 0\nrepeat {}",
    "closes-all": "double <- function(n) 0\nsink('x'); sink(); sink(); closeAllConnections()",
}
LATE = [name for name in ATTACKS if name.startswith("never")] + ["closes-all", "reads-the-line"]
# What is clumsy, and no harm.
HONEST = {
    "removes-all": "x <- 1\nrm(list = ls(all.names = TRUE))\ndouble <- function(n) n + n",
    "uses-our-names": """
        c <- 3; T <- FALSE; data <- function(n) n; out <- into <- encode <- send <- data
        double <- function(n) n * 2
    """,
    "changes-the-directory": "dir.create('d'); setwd('d')\ndouble <- function(n) n * 2",
    "prints": "double <- function(n) { print(n); cat('doubling', n, '\\n'); 2 * n }",
    "runs-programs": """
        system("ls; cat"); readline(); scan(quiet = TRUE)
        double <- function(n) 2 * n
    """,
    "has-options": "options(digits = 2, scipen = -5, OutDec = ',')\ndouble <- function(n) 2 * n",
    "has-names-of-the-tests": """
        n <- 5; expected <- 1; told <- 2; reference <- 3
        double <- function(n) 2 * n
    """,
    "sinks": "sink('log.txt'); double <- function(n) { sink(); 2 * n }",
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[boxes.Boxes]:
    root = tmp_path_factory.mktemp("root")
    with boxes_of("R", "R", "r-base-core and r-cran-irkernel", root) as found:
        yield found


def run(kept: boxes.Boxes, solution: str, tests: Sequence[str]) -> Outputs:
    """The outputs of a notebook's cells, whose teacher has ``SOLUTION`` in the student's place."""
    cells = [Cell(textwrap.dedent(solution), test=False), Cell(GIVEN, test=False)]
    cells += [Cell("double(21)", test=False), *(Cell(each, test=True) for each in tests)]
    files = {"data.csv": b"a,b\n1,2\n"}
    return kept.run(cells, files, {"cells": [SOLUTION], "locked": [GIVEN]})


def test_what_a_notebook_has_crosses_and_tests_pass(kept: boxes.Boxes) -> None:
    found = run(kept, SOLUTION, PASS)
    assert found[2][0]["data"]["text/plain"] == "[1] 42"
    wrong = {test: shown for test, shown in zip(PASS, found[3:], strict=True) if fails(shown)}
    assert wrong == {}


def test_what_is_wrong_and_what_cannot_be_copied_is_said(kept: boxes.Boxes) -> None:
    found = run(kept, SOLUTION, list(FAIL))[3:]
    for (test, words), shown in zip(FAIL.items(), found, strict=True):
        assert fails(shown), test
        assert words in "".join(each.get("evalue", each.get("text", "")) for each in shown), test


def test_cells_show_what_rs_own_kernel_shows(kept: boxes.Boxes) -> None:
    """Pictures, tables, warnings and errors, after which the next cell runs."""
    cells = [
        "plot(1:3); lines(3:1); plot(2)",
        "read.csv('data.csv')",
        "warning('careful')\nstop('no')",
    ]
    found = run(kept, "\n".join(["x <- 1", *cells[:1]]), [])
    shown = kept.run([Cell(each, test=False) for each in cells], {"data.csv": b"a,b\n1,2\n"}, {})
    kinds = [[each["output_type"] for each in outputs] for outputs in shown]
    assert kinds == [["display_data"] * 2, ["display_data"], ["stream", "error"]]
    assert all(each["data"]["image/png"].startswith("iVBOR") for each in shown[0])
    assert "<table" in shown[1][0]["data"]["text/html"]
    assert shown[2][0]["text"].endswith("careful\n")
    assert len(found[0]) == 2


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_gains_no_point_and_reads_no_test(
    kept: boxes.Boxes, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if attack in LATE:
        monkeypatch.setattr(boxes, "SECONDS", 3)
        monkeypatch.setattr(boxes, "GRACE", 2)
    found = run(kept, ATTACKS[attack], [TEST, SHORT, "stopifnot(double(4) == 8)"])
    assert_nothing_gained(found)
    monkeypatch.undo()
    assert not fails(run(kept, SOLUTION, [TEST])[3])  # and the next is graded


@pytest.mark.parametrize("way", HONEST)
def test_what_is_clumsy_is_graded_as_well(kept: boxes.Boxes, way: str) -> None:
    found = run(kept, HONEST[way], [TEST])
    assert not fails(found[3]), found


def test_a_test_that_expects_an_error_is_not_pleased_by_an_end(kept: boxes.Boxes) -> None:
    test = "stopifnot(inherits(try(double('a'), silent = TRUE), 'try-error'))"
    assert not fails(run(kept, SOLUTION, [test])[3])
    ended = run(kept, "double <- function(n) quit(status = 0)", [test, test])
    assert all(map(fails, ended[3:]))
    assert "has ended" in ended[4][0]["evalue"]
