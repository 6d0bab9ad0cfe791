#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What `make on` does once all is installed: the fence on, its units or its daemon started, proved.
#
#   on.sh SBINDIR [CONFIG]      CONFIG: another configuration; then no unit is touched

set -eu
fence=$1/smtpfence
daemon=$1/smtpfenced
config=${2:-}

say()
{
	echo "make on: $*"
}

run()
{
	if [ "$config" ]; then
		"$fence" --config "$config" "$@"
	else
		"$fence" "$@"
	fi
}

# Does a process hold the daemon's lock? Asked of the kernel: trying the lock would be in its way.
daemon_runs()
{
	inode=$(stat -c %i "$state/daemon.lock" 2>/dev/null) || return 1
	grep -q ":$inode 0 EOF\$" /proc/locks
}

start_by_hand()
{
	if daemon_runs; then
		say "a smtpfenced watches $state already"
		return 0
	fi
	if [ "$config" ]; then
		set -- -f --config "$config"
	else
		set -- -f
	fi
	setsid "$daemon" "$@" </dev/null >/dev/null 2>"$state/smtpfenced.err" &
	pid=$!
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		if daemon_runs; then
			echo "$pid" >"$state/smtpfenced.pid"
			say "smtpfenced is started (pid $pid)"
			return 0
		fi
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.25
	done
	cat "$state/smtpfenced.err" >&2
	say "smtpfenced did not start; the fence is on without it, but nothing alerts"
	return 1
}

if [ "$(id -u)" != 0 ]; then
	say "this needs root" >&2
	exit 1
fi
say "turning the fence on"
run on
state=$(run get state_dir)

if [ "$config" ]; then
	say "$config is no unit's configuration: starting the daemon by hand"
	start_by_hand
elif [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl enable smtpfence.service smtpfenced.service
	# start, not restart: the fence stands already. The daemon may be one of an older build.
	systemctl start smtpfence.service
	systemctl restart smtpfenced.service
else
	say "systemd is not the init here: see to it that at boot \`$fence apply --boot\` runs before" \
		"the network, and \`$daemon\` after it; starting the daemon now"
	start_by_hand
fi

say "proving it: real connections from a throw-away cgroup"
run test
say "what the kernel does now"
run status || {
	code=$?
	say "not all is in effect (status: $code); see above, and: $fence doctor" >&2
	exit 1
}
