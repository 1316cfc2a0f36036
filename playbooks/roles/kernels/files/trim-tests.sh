# Leave out the packages' own tests: sh trim-tests.sh PREFIX.
set -eu
find "$1"/lib/python3*/site-packages -type d -name tests -prune -exec rm -r "{}" +
