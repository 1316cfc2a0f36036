#!/bin/bash
# The programs of the guest of layers.sh by themselves, without its kernel, systemd or services: what
# installs packages needs no more. Works in a user namespace, too.
# usage: chroot.sh PUBLIC_KEY [ro|rw PLACE_OF_THE_HOST PLACE_IN_THE_GUEST]...
set -euo pipefail
key=$1
shift
cd /run/guest

mount -t proc proc proc
for place in run dev tmp; do mount -t tmpfs -o mode=0755 tmpfs "$place"; done
chmod 1777 tmp
mkdir -m 1777 dev/shm
mkdir dev/pts run/lock run/sshd
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
for node in full null random tty urandom zero; do  # nobody but the host's root makes one
    : > "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
ln -s /proc/self/fd dev/fd
ln -s pts/ptmx dev/ptmx
while [ $# -gt 0 ]; do
    if [ -d "$2" ]; then mkdir -p "./$3"; else : > "./$3"; fi
    mount --bind -o "$1" "$2" "./$3"
    shift 3
done

echo "$key" > run/key
chroot . ssh-keygen -q -t ed25519 -N '' -f /run/host-key
# systemctl would look for a systemd that runs.
exec nsenter --net=/run/netns/guest chroot . /usr/sbin/sshd -D -e -f /dev/null -o HostKey=/run/host-key \
    -o AuthorizedKeysFile=/run/key -o StrictModes=no -o PermitRootLogin=prohibit-password \
    -o Subsystem="sftp internal-sftp" -o SetEnv=SYSTEMD_OFFLINE=1
