#!/bin/sh
# The first process of a User-Mode Linux guest: run the task of /dev/ubdb, write what came of it
# to /dev/ubdc, stop. Arguments of the kernel: CLOCK in seconds, CPU in microseconds, MEMORY, DISK
# and OUTPUT in bytes, TASKS; and with a network ADDRESS, PROXY and PORT: the card's other end is
# the box's, where the proxy's port is all there is.
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8
mount -t proc proc /proc
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs -o "size=$DISK,mode=1777,nosuid,nodev" tmpfs /tmp
mount -t tmpfs -o "size=$((8 * OUTPUT)),mode=0700" tmpfs /root
# What the task prints may fill its place, not that of the result.
mount -t tmpfs -o "size=$((16 * OUTPUT)),mode=0700" tmpfs /mnt
chmod 600 /dev/ubd* /dev/mem /dev/kmem /dev/port 2>/dev/null
ln -s /tmp /dev/shm
perl -MSocket -e '
    sub ask { ioctl(CARD, $_[0], pack("a16a24", $_[1], $_[2])) or die "$_[1]: $!\n" }
    sub address { pack("Sna4x8", AF_INET, 0, inet_aton($_[0])) }
    socket(CARD, PF_INET, SOCK_DGRAM, 0) or die "no socket: $!\n";
    ask(0x8914, "lo", pack("S", 0x49));
    if ($ENV{PROXY}) {
        ask(0x8916, "vec0", address($ENV{ADDRESS}));
        ask(0x891C, "vec0", address("255.255.255.252"));
        ask(0x8914, "vec0", pack("S", 0x41));
    }'
variables=
if [ -n "$PROXY" ]; then
    url="http://$PROXY:$PORT"
    variables="http_proxy=$url https_proxy=$url HTTP_PROXY=$url HTTPS_PROXY=$url"
fi

# The limits are this kernel's own: a cgroup for all that the task starts.
group=/root/cgroup/task
mkdir /root/cgroup && mount -t cgroup2 cgroup2 /root/cgroup
echo "+memory +pids" > /root/cgroup/cgroup.subtree_control
mkdir "$group"
echo "$MEMORY" > "$group/memory.max"
echo 1 > "$group/memory.oom.group"
echo "$((TASKS + 3))" > "$group/pids.max"
over() {
    [ -e /root/verdict ] || echo "$1" > /root/verdict
    echo 1 > "$group/cgroup.kill"
}
filter=
if setpriv --help | grep -q seccomp-filter; then
    filter=--seccomp-filter=/usr/lib/sandbox/filter
fi
# In a process namespace of its own it sees neither us nor the kernel's threads; the first process
# there is root's, as that of a box is bubblewrap's.
alone() {
    sh -c 'echo $$ > "$0" && shift && exec "$@"' "$group/cgroup.procs" - \
        unshare --pid --fork --kill-child --mount-proc \
        sh -c 'mount -o remount,ro /proc; "$@"; exit $?' - \
        setpriv --reuid=1000 --regid=1000 --clear-groups --no-new-privs --bounding-set=-all \
        --inh-caps=-all $filter env -i PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 \
        HOME=/tmp/task $variables sh -c "ulimit -c 0; $1"
}
mkdir -m 700 /tmp/task && chown 1000:1000 /tmp/task && cd /tmp/task || exit
(
    sleep "$CLOCK"
    over clock
) &
(
    while sleep 0.1; do
        read -r _ used < "$group/cpu.stat"
        [ "$used" -le "$CPU" ] || over cpu
    done
) &
read -r begun _ < /proc/uptime
(alone 'exec sh /usr/lib/sandbox/run') < /dev/ubdb > /mnt/stdout.txt 2> /mnt/stderr.txt
echo $? > /root/exit_code.txt
read -r ended _ < /proc/uptime
echo 1 > "$group/cgroup.kill"
kill -9 -1
while read -r key count; do
    if [ "$key" = oom_kill ] && [ "$count" -gt 0 ]; then over memory; fi
done < "$group/memory.events"
if [ "$(stat -f -c %f /mnt)" = 0 ]; then over output; fi
if [ "$(stat -f -c %f /tmp)" = 0 ]; then echo > /root/full; fi
read -r _ used < "$group/cpu.stat"
echo "$begun $ended $used $(cat "$group/memory.peak")" > /root/usage
cd /tmp/task 2>/dev/null || cd /root
for name in output.txt test_output.txt stdout.txt stderr.txt tmc-run; do
    file=/tmp/task/$name
    if [ -f "$file" ] && [ ! -L "$file" ]; then
        timeout 5 setpriv --reuid=1000 --regid=1000 --clear-groups head -c "$OUTPUT" "$file" \
            > "/root/task-$name" || rm "/root/task-$name"
    fi
done
if [ -e /root/task-tmc-run ]; then truncate -s '<200' /root/task-tmc-run; fi
cd /root
for name in stdout stderr; do head -c "$OUTPUT" "/mnt/$name.txt" > "cut-$name.txt"; done
tar -cf /dev/ubdc --ignore-failed-read exit_code.txt full verdict usage cut-* task-* 2>/dev/null
sync
echo o > /proc/sysrq-trigger
sleep 60
