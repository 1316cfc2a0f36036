#!/bin/bash
# octave_kernel: an error is printed and the cell has succeeded, so a test that fails gets nbgrader's full points.
#
# octave_kernel 1.1.1 with metakernel 1.0.7, GNU Octave 9.4 of Debian 13, nbgrader 0.9.6. The kernel types a
# cell line by line at a prompt of Octave and looks for no error in what comes back: a failed `assert(false)`,
# an `error("no")` and a syntax error are text on stdout, the reply's status is "ok", no message of the type
# `error` is sent, and the cell's next lines are run. nbgrader counts a test as failed by an output `error` or
# by text on stderr, so a notebook of Octave that tests with `assert` gives all its points to a wrong answer,
# and to none at all: even the stub that nbgrader itself writes for Octave is an `error`. The same notebook in
# Python gets 0 for both. `nbconvert --execute` trusts the kernel as well. Known as octave_kernel's issue 93,
# which is closed.
. "$(dirname "$0")/lib/sid.sh"

export SUITE=trixie
sid octave
venv tool nbgrader==0.9.6 octave_kernel==1.1.1 metakernel==1.0.7 ipykernel==7.4.0 jupyter_client==8.10.0 \
    nbclient==0.11.0 nbconvert==7.17.2 nbformat==5.11.1

# Octave runs in its root and sees this folder by the same name. A package that is unpacked but not
# installed has no links to its BLAS and LAPACK.
mkdir -p home tmp "$SUITE$work"
export HOME=$work/home TMPDIR=$work/tmp PATH=$work/tool/bin:$PATH
export OCTAVE_EXECUTABLE=$work/octave-cli JUPYTER_NO_CONFIG=1
libraries=$(cd "$SUITE" && printf '/%s:' usr/lib/*-linux-gnu/{blas,lapack})
cat > octave-cli <<END
#!/bin/bash
exec unshare --mount --propagation private bash -c '
    mount --bind /dev "$work/$SUITE/dev" && mount --bind "$work" "$work/$SUITE$work" &&
    exec chroot "$work/$SUITE" env LD_LIBRARY_PATH=${libraries%:} octave-cli "\$@"' octave "\$@"
END
chmod +x octave-cli
printf 'GNU Octave %s\n' "$(./octave-cli --eval 'disp(version)')"

cat > ask.py <<'P'
import sys

from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name=sys.argv[1])


def told(message):
    kind, content = message["msg_type"], message["content"]
    if kind in ("stream", "error"):
        heard.append(content.get("name", kind))


try:
    for code in sys.argv[2:]:
        heard = []
        reply = client.execute_interactive(code, timeout=120, output_hook=told, stop_on_error=False)
        print(reply["content"]["status"], *heard, end="; ")
finally:
    client.stop_channels()
    manager.shutdown_kernel()
P
ask() { python ask.py "$@" 2> said || { cat said; exit 1; }; }
expect "Octave: a failed assert, an error, no syntax, nothing wrong" \
    "$(ask octave 'assert(false)' 'error("no")' '1 +* 2' 'assert(true)')" "ok stdout; ok stdout; ok stdout; ok; "
expect "Octave: the lines after a failed assert are run" \
    "$(ask octave $'assert(false)\nx = 1;' 'assert(x == 1)')" "ok stdout; ok; "
expect "Python: a failed assert, an error, no syntax, nothing wrong" \
    "$(ask python3 'assert False' 'raise ValueError("no")' '1 +* 2' 'assert True')" \
    "error error; error error; error error; ok; "
expect "Python: the lines after a failed assert are not" \
    "$(ask python3 $'assert False\nx = 1' 'assert x == 1')" "error error; error error; "

cat > make.py <<'P'
# The teacher's assignment of two notebooks, each with a cell for the answer and a cell that tests it.
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook


def cell(name, source, **more):
    about = {"schema_version": 3, "grade_id": name, "grade": False, "solution": False, "locked": False, "task": False}
    return new_code_cell(source, id=name, metadata={"nbgrader": about | more})


for kernel, language, mark, test in (
    ("octave", "octave", "%", "assert(y == 4)"),
    ("python3", "python", "#", "assert y == 4"),
):
    cells = [
        cell("answer", f"{mark} BEGIN SOLUTION\ny = 4;\n{mark} END SOLUTION", solution=True),
        cell("test", test, grade=True, locked=True, points=1),
    ]
    spec = {"name": kernel, "display_name": language, "language": language}
    book = new_notebook(cells=cells, metadata={"kernelspec": spec, "language_info": {"name": language}})
    Path("course/source/first").mkdir(parents=True, exist_ok=True)
    nbformat.write(book, f"course/source/first/{language}.ipynb")
P
cat > answer.py <<'P'
# What three students hand in: a right answer, a wrong one, and the notebooks as they were given out.
import shutil
from pathlib import Path

import nbformat

for student, answer in ("right", "y = 4;"), ("wrong", "y = 5;"), ("nothing", None):
    folder = shutil.copytree("course/release/first", f"course/submitted/{student}/first")
    for path in Path(folder).glob("*.ipynb"):
        book = nbformat.read(path, 4)
        if answer:
            book.cells[0].source = answer
        nbformat.write(book, path)
P
cat > scores.py <<'P'
from nbgrader.api import Gradebook

with Gradebook("sqlite:///course/gradebook.db") as gradebook:
    for student in "right", "wrong", "nothing":
        books = gradebook.find_submission("first", student).notebooks
        scores = {book.name: f"{book.score:g} of {book.max_score:g}" for book in books}
        print(f"{student}:", scores["octave"], "in Octave,", scores["python"], "in Python", end="; ")
P
graded() { nbgrader "$@" --course-dir="$work/course" > said 2>&1 || { cat said; exit 1; }; }
python make.py
graded generate_assignment first
python answer.py
expect "nbgrader's stub for Octave" \
    "$(python -c 'import nbformat; print(nbformat.read("course/release/first/octave.ipynb", 4).cells[0].source)')" \
    $'% YOUR CODE HERE\nerror(\'No Answer Given!\')'
graded autograde first
wrong() { printf 'course/%s/wrong/first/%s.ipynb' "$1" "$2"; }
expect "what Octave said of the wrong answer" \
    "$(grep -o 'error: assert (y == 4) failed' "$(wrong autograded octave)")" "error: assert (y == 4) failed"
expect "points" "$(python scores.py)" "right: 1 of 1 in Octave, 1 of 1 in Python; \
wrong: 1 of 1 in Octave, 0 of 1 in Python; nothing: 1 of 1 in Octave, 0 of 1 in Python; "
executed() {
    jupyter-nbconvert --execute --to notebook --stdout "$(wrong submitted "$1")" > said 2>&1 && echo 0 || echo $?
}
expect "nbconvert's status for the wrong answer in Octave" "$(executed octave)" 0
expect "and in Python" "$(executed python)" 1
