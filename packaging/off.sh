#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What `make off` does: the fence off, the units stopped and disabled. Nothing is removed.
#
#   off.sh SBINDIR [CONFIG]

set -eu
fence=$1/smtpfence
daemon=$1/smtpfenced
config=${2:-}

say()
{
	echo "make off: $*"
}

run()
{
	if [ "$config" ]; then
		"$fence" --config "$config" "$@"
	else
		"$fence" "$@"
	fi
}

if [ "$(id -u)" != 0 ]; then
	say "this needs root" >&2
	exit 1
fi
# Uninstalled in the wrong order: the build's own can do it too.
[ -x "$fence" ] || fence=build/smtpfence
if [ ! -x "$fence" ]; then
	say "smtpfence is neither installed nor built: make, then make off" >&2
	exit 1
fi
run off
if [ -z "$config" ] && [ -d /run/systemd/system ]; then
	systemctl disable --now smtpfenced.service smtpfence.service
fi
# A daemon that `make on` started by hand. The number may be another process's by now.
state=$(run get state_dir)
if [ -f "$state/smtpfenced.pid" ]; then
	pid=$(cat "$state/smtpfenced.pid")
	exe=$(readlink "/proc/$pid/exe" 2>/dev/null || true)
	if [ "${exe% (deleted)}" = "$(readlink -m "$daemon")" ]; then
		kill "$pid"
		say "smtpfenced (pid $pid) is stopped"
	fi
	rm -f "$state/smtpfenced.pid" "$state/smtpfenced.err"
fi
say "the fence is off: everybody may open SMTP connections. Again: make on, or smtpfence on"
