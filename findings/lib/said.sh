# For a finding: a folder that goes when it ends, and a comparison that says what has changed.
set -euo pipefail
export LC_ALL=C.UTF-8
work=$(mktemp -d)
clean() { rm -rf --one-file-system "$work"; }
trap clean EXIT
cd "$work"

# expect WHAT SEEN EXPECTED
expect() {
    printf '%s: %s\n' "$1" "$2"
    if [ "$2" != "$3" ]; then
        printf 'CHANGED, it was: %s\n' "$3"
        exit 1
    fi
}

# venv NAME PACKAGE...: a fresh Python environment with pinned packages
venv() {
    local name=$1
    shift
    python3 -m venv "$name"
    "$name/bin/pip" install -qq --disable-pip-version-check "$@"
}
