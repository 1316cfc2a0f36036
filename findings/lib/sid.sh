# For a finding: packages of Debian's sid, unpacked but not installed, and a way to run them; or of the
# suite that SUITE names.
. "$(dirname "${BASH_SOURCE[0]}")/said.sh"

# sid PACKAGE...: makes $work/sid, or $work/$SUITE
sid() {
    local mirror include suite=${SUITE:-sid}
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -1)
    include=$(IFS=,; echo "bash,coreutils,grep,sed,base-passwd,$*")
    mmdebstrap --quiet --mode=root --variant=extract --include="$include" \
        --aptopt='Acquire::Check-Valid-Until "false"' --components=main,contrib "$suite" "$suite" "$mirror"
    for name in bin sbin lib lib64; do
        [ -e "$suite/$name" ] || ln -s "usr/$name" "$suite/$name"
    done
    mkdir -p "$suite"/{proc,dev,tmp,root,run}
    printf 'root:x:0:0::/root:/bin/bash\n' > "$suite/etc/passwd"
}

# inside COMMAND...: runs a command there, in process and mount namespaces that end with it
inside() {
    unshare --mount --pid --fork --kill-child --propagation private bash -c '
        suite=$1; shift
        mount -t proc proc "$suite/proc" && mount --bind /dev "$suite/dev" && exec chroot "$suite" "$@"' \
        inside "${SUITE:-sid}" env HOME=/root LC_ALL=C.UTF-8 VBOX_IPC_SOCKETID=finding "$@"
}
