#!/bin/bash
# passagemath: GAP in a Python process keeps home, variables and directory of the moment when it was first asked.
#
# passagemath-gap 10.8.13, Python 3.11 to 3.13. `libgap` is imported in milliseconds and begins GAP only at its
# first value. From then on GAP has a copy of the environment, of the user's home, of PATH and of the working
# directory, made at that moment: what `os.environ` and `os.chdir` change later reaches GAP's child processes, but
# neither `GAPInfo.SystemEnvironment` nor `DirectoryHome()` (and so not the place of a user's packages) nor
# `DirectoryCurrent()`. Who forks a process in which GAP has begun, so that children share its 90 MiB, gives all of
# them the home of whoever began it; a fork before costs each child these 90 MiB.
. "$(dirname "$0")/lib/said.sh"

venv sage passagemath-gap==10.8.13
mkdir first later
cat > ask.py <<'P'
import os

os.environ["HOME"] = os.path.abspath("first")
import passagemath_gap
from sage.libs.gap.libgap import libgap

os.environ["HOME"] = os.path.abspath("later")
home = str(libgap.eval("DirectoryHome()"))
print("imported only:", "later" in home)
os.environ["HOME"], os.environ["NEW"] = os.path.abspath("first"), "1"
home = str(libgap.eval("GAPInfo.SystemEnvironment.HOME"))
print("begun:", "later" in home, libgap.eval("IsBound(GAPInfo.SystemEnvironment.NEW)"))
begun = os.getcwd()
os.chdir("first")
print("directory:", str(libgap.eval("DirectoryCurrent()")) == f'Directory("{begun}/")')
pid = os.fork()
if pid == 0:
    print("child:", "later" in str(libgap.eval("DirectoryHome()")), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
P
expect "GAP's home, variables and directory, before and after it has begun, and in a child" \
    "$(sage/bin/python ask.py | tr '\n' ' ')" \
    "imported only: True begun: True false directory: True child: True "
