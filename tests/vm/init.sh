#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
# The guest's first process (see machine.py): mount the host's root under a throw-away overlay,
# then run /command in it and say how it ended.
# shellcheck shell=dash disable=SC2154,SC1091 # /places says where things are
bb=/bin/busybox
need() { "$@" || { echo "init: failed: $*"; $bb poweroff -f; }; }

$bb mount -t devtmpfs dev /dev
. /places
exec </dev/null >/dev/console 2>&1
while read -r module; do
	need $bb insmod "/modules/$module"
done </modules/order
tries=100	# the device may come a moment after its module
while [ ! -e "$output" ] && [ $((tries -= 1)) -gt 0 ]; do $bb sleep 0.1; done
exec >"$output" 2>&1
need $bb mount -t virtiofs -o ro root /lower
need $bb mount -t tmpfs -o size=75%,mode=755 tmpfs /upper
$bb mkdir /upper/data /upper/work
need $bb mount -t overlay -o "lowerdir=/lower$guest_root,upperdir=/upper/data,workdir=/upper/work" overlay /root

for directory in $shared; do	# what a root of its own has in common with the host
	$bb mkdir -p "/root$directory"
	need $bb mount -o bind "/lower$directory" "/root$directory"
done
need $bb mount -t devtmpfs dev /root/dev
$bb mkdir -p /root/dev/pts /root/dev/shm /root/dev/net
$bb mknod /root/dev/net/tun c 10 200	# opened, it loads its module
$bb mount -t devpts devpts /root/dev/pts
$bb mount -t tmpfs tmpfs /root/dev/shm
need $bb mount -t proc proc /root/proc
need $bb mount -t sysfs sysfs /root/sys
$bb mount -t tracefs tracefs /root/sys/kernel/tracing
need $bb mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
need $bb mount -t bpf bpf /root/sys/fs/bpf
need $bb mount -t tmpfs -o mode=755 run /root/run
need $bb mount -t tmpfs -o mode=1777 tmp /root/tmp

# Modules on demand, from the kernel's package; the machine itself may have no modprobe.
$bb mkdir -p /root/lib/modules /root/run/vm
$bb ln -s "$modules/lib/modules/$($bb uname -r)" "/root/lib/modules/$($bb uname -r)"
printf '#!%s sh\nexec %s modprobe "$@"\n' "$busybox" "$busybox" >/root/run/vm/modprobe
$bb chmod 755 /root/run/vm/modprobe
echo /run/vm/modprobe >/root/proc/sys/kernel/modprobe
$bb hostname smtpfence-vm
$bb ip link set lo up

# A root that setns() finds again: not by chroot.
$bb cp /command /root/run/vm/command
$bb cat >/root/run/vm/main <<EOT
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
	/bin/sh /run/vm/command
echo "smtpfence-vm: exit \$?"
exec $busybox poweroff -f
EOT
exec $bb switch_root /root /bin/sh /run/vm/main
