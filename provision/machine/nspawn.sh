#!/bin/bash
# The inside of one nspawn machine, run as PID 1 of a PID and mount namespace of its own, so
# that the guest, its network and its mounts all end with this process, however it ends.
# usage: nspawn.sh ID LOWERDIRS UPPER WORK RESOLV_CONF NETNS_ARGS... -- NSPAWN_ARGS...
set -euo pipefail
id=$1 lower=$2 upper=$3 work=$4 name_server=$5
shift 5
forwards=()
while [ "$1" != -- ]; do forwards+=("$1"); shift; done
shift

mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$id/supervisor" /run/guest
echo $$ > "/sys/fs/cgroup/$id/supervisor/cgroup.procs"
# volatile: what the guest writes is complete or thrown away; it need not wait for the disk.
# The newer system calls of mount(8) take no option longer than 256 bytes; layers' paths are.
LIBMOUNT_FORCE_MOUNT2=always mount -t overlay overlay -o "volatile,lowerdir=$lower,upperdir=$upper,workdir=$work" /run/guest
# systemd writes the key of this boot only where none of an earlier boot is left.
rm -f /run/guest/etc/resolv.conf /run/guest/root/.ssh/authorized_keys
echo "nameserver $name_server" > /run/guest/etc/resolv.conf

# pasta sandboxes itself and can open a network namespace by a file only, not through /proc.
ip netns add guest
pasta --config-net --foreground --quiet --runas 0 --dns-forward "$name_server" \
    --tcp-ns none --udp-ports none --udp-ns none "${forwards[@]}" \
    --netns-only --netns /run/netns/guest &

export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec systemd-nspawn --quiet --directory=/run/guest --machine=guest --boot --console=pipe \
    --register=no --keep-unit --link-journal=no --resolv-conf=off --timezone=off --capability=CAP_NET_ADMIN \
    --network-namespace-path=/run/netns/guest --bind-ro=/dev/null:/etc/fstab "$@"
