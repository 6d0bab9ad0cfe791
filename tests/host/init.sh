#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
# The initramfs of the whole host: load what its disk needs, and give way to the disk's systemd.
# shellcheck shell=dash
bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
while read -r module; do
	$bb insmod "/modules/$module" || echo "init: $module was refused"
done </modules/order
while ! $bb mount -t ext4 /dev/vda /root; do
	$bb usleep 50000
done
$bb mount --move /dev /root/dev
exec $bb switch_root /root /sbin/init
