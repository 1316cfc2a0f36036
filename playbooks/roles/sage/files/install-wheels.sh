# Sage from a list of wheels with their hashes: sh install-wheels.sh PREFIX LOCK, as root.
# A build runs it, and an appliance in use that takes the wheels from its own index.
set -eu
prefix=$1 lock=$2
pip="$prefix/bin/pip install --quiet --no-cache-dir --no-deps --require-hashes"

rm -rf "$prefix"
python3 -m venv "$prefix"
# One of them, memory-allocator, has no wheel: it is built here, with the Cython of the list.
awk '/^[a-z]/ { wanted = 0 } /^cython==/ { wanted = 1 } /^setuptools==/ { wanted = 1 } wanted' \
    "$lock" > "$prefix/tools.lock"
$pip --only-binary :all: -r "$prefix/tools.lock"
$pip --no-build-isolation --only-binary :all: --no-binary memory-allocator -r "$lock"

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
mkdir -p "$prefix/lib/pkgconfig"
for name in Singular cblas fflas-ffpack flint gdlib givaro libpng linbox m4ri; do
    libs=
    [ "$name" != cblas ] || libs=-lgslcblas
    printf 'Name: %s\nDescription: %s\nVersion: 0\nLibs: %s\n' "$name" \
        "nothing to compile with; the wheels bring their own" "$libs" > "$prefix/lib/pkgconfig/$name.pc"
done
cp "$lock" "$prefix/installed.lock"
