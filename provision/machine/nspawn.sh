#!/bin/bash
# The guest of layers.sh, booted by its own systemd.
# usage: nspawn.sh ID NSPAWN_ARGS...
set -euo pipefail
id=$1
shift

mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$id/supervisor"
echo $$ > "/sys/fs/cgroup/$id/supervisor/cgroup.procs"

export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec systemd-nspawn --quiet --directory=/run/guest --machine=guest --boot --console=pipe \
    --register=no --keep-unit --link-journal=no --resolv-conf=off --timezone=off --capability=CAP_NET_ADMIN \
    --network-namespace-path=/run/netns/guest --bind-ro=/dev/null:/etc/fstab "$@"
