# Sage, or the packages of another Python, from a list of wheels with their hashes:
# sh install-wheels.sh PREFIX LOCK, as root. A build runs it, and an appliance in use that takes
# the wheels from its own index. A wheel leaves the same files wherever it is installed.
set -eu
prefix=$1 lock=$2

rm -rf "$prefix"
python3 -m venv "$prefix"
work="$prefix/installing" # on the disk: /tmp may be memory
mkdir "$work"
# uv installs them, in a third of pip's time, and does not stay. Its wheel for amd64, and for arm64.
cat > "$work/uv.lock" <<'END'
uv==0.13.9 \
    --hash=sha256:d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19 \
    --hash=sha256:ecb6028d79dc96fbeafffe5c8af62a7099487ebc05a701e76714eebcffd06375
END
# Where a build emulates a guest's programs, it is that of the machine itself (provision/jeos/native.py).
machine=$(cat /proc/sys/kernel/arch 2> /dev/null || uname -m)
[ -e "/usr/lib/$machine-linux-gnu" ] || machine=$(uname -m)
"$prefix/bin/pip" install --quiet --no-cache-dir --no-compile --no-deps --require-hashes --only-binary :all: \
    --platform "manylinux_2_17_$machine" --platform "manylinux_2_28_$machine" --target "$work" -r "$work/uv.lock"
# It reads no pip.conf: what that says of indexes is told it in its own words.
"$prefix/bin/python" - > "$work/settings" <<'END'
import ast, shlex, subprocess, sys
words = {
    "index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX", "trusted-host": "UV_INSECURE_HOST", "cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY",
}
pip = [sys.executable, "-m", "pip", "config", "list"]
told = subprocess.run(pip, capture_output=True, text=True, check=True).stdout.splitlines()
for line in sorted(told, key=lambda line: line.startswith(":env:")):  # the environment's last: it counts
    place, _, value = line.partition("=")
    section, _, key = place.rpartition(".")
    if key in words and section in ("global", "install", ":env:"):
        between = "," if key == "find-links" else " "
        print(f"export {words[key]}={shlex.quote(between.join(ast.literal_eval(value).split()))}")
END
. "$work/settings"
export UV_NO_CONFIG=1 UV_SYSTEM_CERTS=1 UV_INDEX_STRATEGY=unsafe-best-match # the hashes say which is the right one
export CFLAGS=-g0 # else the name of a temporary directory is in what is built
uv() {
    "$work/bin/uv" pip install --quiet --cache-dir "$work/cache" --python "$prefix/bin/python" \
        --no-deps --require-hashes --only-binary :all: "$@"
}
# One of them, memory-allocator, has no wheel: it is built here, with the Cython of the list.
awk '/^[a-z]/ { wanted = 0 } /^cython==/ { wanted = 1 } /^setuptools==/ { wanted = 1 } wanted' \
    "$lock" > "$work/tools.lock"
[ ! -s "$work/tools.lock" ] || uv -r "$work/tools.lock"
uv --no-build-isolation --no-binary memory-allocator -r "$lock"
rm -r "$work"

# FLINT in these wheels asks no processor whether it has BMI2 and ADX (Intel since 2014, AMD since
# 2017). The wheel of python-flint has the same version without them, which is as fast.
cd "$prefix"/lib/python3*/site-packages
any=$(echo python_flint.libs/libflint-*.so.24.*)
if [ -e "$any" ]; then
    for flint in passagemath_*.libs/libflint-*.so.24.*; do
        [ -f "$flint" ] || continue # another FLINT, in another version's wheels
        libs=$(dirname "$flint")
        for name in gmp mpfr; do
            ln -s "$(basename "$libs"/lib$name-*)" "$libs/$(basename python_flint.libs/lib$name-*)"
        done
        ln -sf "../$any" "$flint"
    done
fi

# %%cython asks for all of these, whatever the code uses. Code that does needs their headers too.
if [ -e "$prefix/bin/sage" ]; then
    mkdir -p "$prefix/lib/pkgconfig"
    for name in Singular cblas fflas-ffpack flint gdlib givaro libpng linbox m4ri; do
        libs=
        [ "$name" != cblas ] || libs=-lgslcblas
        printf 'Name: %s\nDescription: %s\nVersion: 0\nLibs: %s\n' "$name" \
            "nothing to compile with; the wheels bring their own" "$libs" > "$prefix/lib/pkgconfig/$name.pc"
    done
fi

# Byte code names the time of its source: one time for all, so that each installation is the same.
# Where it is, the import tells it: without the prefix another Python's is the same file. Of tests,
# a fifth of all, there is none.
equal() { find "$prefix" -exec touch --no-dereference --date=@315532800 {} +; }
equal
python=$prefix/bin/python native=/usr/lib/$machine-linux-gnu/appliance/python3 # of the machine itself, as uv
[ ! -e "$native" ] || { python=$native; export PYTHONHOME=/usr; }
PYTHONHASHSEED=0 "$python" -W ignore - "$prefix/lib" <<'END'
import compileall, os, sys
from py_compile import PycInvalidationMode
# Each directory by a process of its own: what is written of a file follows from names that its process
# has met before, and compileall's workers take whichever file is next.
def wait():
    _, status = os.wait()
    if status:
        sys.exit("byte code cannot be written")
running = 0
for place, _, names in os.walk(sys.argv[1]):
    sources = [os.path.join(place, name) for name in sorted(names) if name.endswith(".py")]
    if not sources or "/tests/" in f"{place}/":
        continue
    if running == os.cpu_count():
        wait()
        running -= 1
    if not os.fork():
        for source in sources: # some are templates
            compileall.compile_file(
                source, stripdir=os.path.dirname(sys.argv[1]), quiet=2, invalidation_mode=PycInvalidationMode.TIMESTAMP
            )
        os._exit(0)
    running += 1
for _ in range(running):
    wait()
END
equal
cp "$lock" "$prefix/installed.lock"
