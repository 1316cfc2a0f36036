#!/bin/bash
# uv and strip: a stripped environment changes what the next environment gets, hashes or not.
#
# uv 0.13.9, binutils' strip 2.40 (Debian 12) to 2.44 (13). On Linux uv links files of its cache into an
# environment (`--link-mode hardlink` by default, when both are on one file system). strip gives a file
# that has several names its new content in place, so that all of them keep it. Whoever makes one
# environment smaller makes the cache so, too; `uv pip install --require-hashes` checks the wheel's hash
# once, when it is unpacked, and links the changed file into the next environment without a word, where
# it is another one than its RECORD says. With `--link-mode copy` only the stripped one changes.
. "$(dirname "$0")/lib/said.sh"

venv tool uv==0.13.9
export UV_CACHE_DIR=$work/cache
tool/bin/pip download -qq --disable-pip-version-check --no-deps -d wheels markupsafe==3.0.3
echo "markupsafe==3.0.3 --hash=sha256:$(sha256sum wheels/*.whl | cut -c1-64)" > lock

# into NAME [OPTION...]: a new environment from the lock
into() {
    tool/bin/uv venv -q "$1"
    tool/bin/uv pip install -q --python "$1/bin/python" --no-index --find-links wheels \
        --require-hashes -r lock "${@:2}"
}
# as_recorded NAME: is its library what RECORD says?
as_recorded() {
    "$1/bin/python" - <<'P'
import base64, hashlib, importlib.metadata as m
file = next(f for f in m.files("markupsafe") if f.suffix == ".so")
digest = base64.urlsafe_b64encode(hashlib.sha256(file.locate().read_bytes()).digest())
print("yes" if digest.decode().rstrip("=") == file.hash.value else "no")
P
}

tool/bin/uv --version
strip --version | head -1
into first
expect "the first one's library is as recorded" "$(as_recorded first)" yes
strip --strip-unneeded first/lib/python3*/site-packages/markupsafe/*.so
into second
expect "after the first one is stripped, a second's" "$(as_recorded second)" no

export UV_CACHE_DIR=$work/cache-2
into third --link-mode copy
strip --strip-unneeded third/lib/python3*/site-packages/markupsafe/*.so
into fourth --link-mode copy
expect "by copies, of a fourth after the third" "$(as_recorded fourth)" yes
