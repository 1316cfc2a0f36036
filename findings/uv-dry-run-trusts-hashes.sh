#!/bin/bash
# uv: `--dry-run --require-hashes` is content with a list that has no hash of the wheel to install.
#
# uv 0.13.9. MarkupSafe 3.0.3 with one hash, that of its wheel for Windows, asked for Linux: the dry run
# ends with 0 and says that it would install 1 package, although the index tells the hash of each file and
# none is in the list. The real run fails over the hash, after the download. So a dry run for another
# platform (`--python-platform aarch64-manylinux_2_28`), by which one would see whether a list made on this
# computer serves the other kind, sees nothing: only an installation, or the index's own hashes, tell.
. "$(dirname "$0")/lib/said.sh"

venv venv uv==0.13.9
venv/bin/pip download -qq --disable-pip-version-check --no-deps --only-binary :all: \
    --platform win_amd64 --python-version 3.13 markupsafe==3.0.3
hash=$(sha256sum markupsafe-3.0.3-*-win_amd64.whl | cut -d ' ' -f 1)
echo "markupsafe==3.0.3 --hash=sha256:$hash" > list

uv() {
    venv/bin/uv pip install --no-config --no-cache --require-hashes --no-deps --only-binary :all: \
        --python-version 3.13 --python-platform "$1-manylinux_2_28" --target there -r list "${@:2}" 2>&1
}
venv/bin/uv --version
for machine in x86_64 aarch64; do
    dry=$(uv "$machine" --dry-run) && status=0 || status=$?
    echo "$dry"
    expect "status of the dry run for $machine" "$status" 0
    expect "what it would install" "$(grep -c '^ + markupsafe==3.0.3' <<< "$dry")" 1
    real=$(uv "$machine") && status=0 || status=$?
    echo "$real"
    expect "status of the real run" "$status" 1
    expect "that it names the hash" "$(grep -ci 'hash mismatch' <<< "$real")" 1
done
