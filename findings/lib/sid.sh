# For a finding: packages of Debian's sid, unpacked but not installed, and a way to run them.
. "$(dirname "${BASH_SOURCE[0]}")/said.sh"

# sid PACKAGE...: makes $work/sid
sid() {
    local mirror include
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -1)
    include=$(IFS=,; echo "bash,coreutils,grep,sed,base-passwd,$*")
    mmdebstrap --quiet --mode=root --variant=extract --include="$include" \
        --aptopt='Acquire::Check-Valid-Until "false"' --components=main,contrib sid sid "$mirror"
    for name in bin sbin lib lib64; do
        [ -e "sid/$name" ] || ln -s "usr/$name" "sid/$name"
    done
    mkdir -p sid/{proc,dev,tmp,root,run}
    printf 'root:x:0:0::/root:/bin/bash\n' > sid/etc/passwd
}

# inside COMMAND...: runs a command there, in process and mount namespaces that end with it
inside() {
    unshare --mount --pid --fork --kill-child --propagation private bash -c '
        mount -t proc proc sid/proc && mount --bind /dev sid/dev && exec chroot sid "$@"' \
        inside env HOME=/root LC_ALL=C.UTF-8 VBOX_IPC_SOCKETID=finding "$@"
}
