#!/bin/bash
# What a guest on layers of directories begins with, whatever runs it, as PID 1 of a PID and mount
# namespace of its own, so that the guest, its network and its mounts all end with this process,
# however it ends: its files at /run/guest, its network at /run/netns/guest.
# usage: layers.sh MOUNT_OPTIONS NAME_SERVER NETNS_ARGS... -- COMMAND...
set -euo pipefail
options=$1 name_server=$2
shift 2
forwards=()
while [ "$1" != -- ]; do forwards+=("$1"); shift; done
shift

mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir /run/guest /run/netns
# The newer system calls of mount(8) take no option longer than 256 bytes; layers' paths are.
LIBMOUNT_FORCE_MOUNT2=always mount -t overlay overlay -o "$options" /run/guest
# systemd writes the key of this boot only where none of an earlier boot is left.
rm -f /run/guest/etc/resolv.conf /run/guest/root/.ssh/authorized_keys
echo "nameserver $name_server" > /run/guest/etc/resolv.conf

# pasta sandboxes itself and can open a network namespace by a file only, not through /proc. In a
# user namespace `ip netns add` could not go back to the network that it came from.
: > /run/netns/guest
unshare --net=/run/netns/guest true
pasta --config-net --foreground --quiet --runas 0 --dns-forward "$name_server" \
    --tcp-ns none --udp-ports none --udp-ns none "${forwards[@]}" \
    --netns-only --netns /run/netns/guest &

exec "$@"
