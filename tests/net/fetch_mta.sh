#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Get real mail servers to test with: Postfix, Exim and OpenSMTPD, each unpacked into a directory of its own.
#
#	fetch_mta.sh [NAME...]		postfix exim opensmtpd; all of them by default
#
# Their packages exclude each other, so none is installed: the .debs are downloaded, checked by apt as
# always, and unpacked to $SMTPFENCE_CACHE/mta/NAME. Nothing else on the machine changes (apt's
# package lists, at most). What a maintainer script would do (users, set-group-id bits, spool
# directories) is done by mta.py, in a root of its own.
#
# Exit status: 0 everything is there, 1 something could not be had (the message says what and why).

# Lists of packages are split into words on purpose.
# shellcheck disable=SC2046
set -eu

cache=${SMTPFENCE_CACHE:-/var/cache/smtpfence-tests}/mta
stamp=.unpacked-1		# raise the number when what is unpacked changes
work=

say()	{ echo "fetch_mta: $*" >&2; }
fail()	{ say "$*"; exit 1; }
clean()	{ [ -z "$work" ] || rm -rf "$work"; }
trap clean EXIT
trap 'exit 1' INT TERM HUP

packages() {
	case $1 in
	postfix)	echo postfix ;;
	exim)		echo exim4-base exim4-daemon-light ;;
	opensmtpd)	echo opensmtpd ;;
	*)		fail "unknown mail server '$1': postfix, exim or opensmtpd" ;;
	esac
}

# The packages themselves, and the libraries that apt would install with them. A configuration
# package is not wanted: mta.py writes the configuration.
wanted() {
	{
		printf '%s\n' "$@"
		apt-get install --simulate --no-install-recommends "$@" 2>/dev/null |
			awk '$1 == "Inst" && $2 ~ /^lib/ { print $2 }'
	} | sort -u
}

# Without a network this is to say so soon, not after apt's own patience.
apt() {
	apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=10 "$@" 2>>"$work/apt.log"
}

# download PACKAGE...: into $work. The package lists may be missing or too old: refresh them once.
download() {
	(cd "$work" && apt download $(wanted "$@")) && return
	apt update >/dev/null && rm -f "$work"/*.deb && (cd "$work" && apt download $(wanted "$@"))
}

fetch() {
	name=$1
	[ ! -e "$cache/$name/$stamp" ] || return 0
	set -- $(packages "$name")
	say "downloading $* ..."
	work=$(mktemp -d "$cache/.$name.XXXXXX")
	download "$@" || {
		tail -n 3 "$work/apt.log" >&2
		fail "cannot download $*: is this machine online, and has apt a Debian source?" \
		     "A directory filled elsewhere can be copied to $cache/$name."
	}
	mkdir "$work/tree"
	chmod 755 "$work/tree"
	for deb in "$work"/*.deb; do
		dpkg-deb -x "$deb" "$work/tree" || fail "cannot unpack ${deb##*/}"
	done
	# A real /lib over a merged-/usr root would hide the symlink, and the C library with it.
	for dir in bin sbin lib lib64; do
		[ -d "$work/tree/$dir" ] || continue
		mkdir -p "$work/tree/usr/$dir"
		cp -a "$work/tree/$dir/." "$work/tree/usr/$dir/"
		rm -rf "$work/tree/$dir"
	done
	rm -rf "$work/tree/usr/share/doc" "$work/tree/usr/share/man"
	(cd "$work" && ls -- *.deb) >"$work/tree/$stamp"
	# Renamed as the last act: a directory under its own name is whole.
	rm -rf "${cache:?}/$name"
	mv "$work/tree" "$cache/$name"
	rm -rf "$work"
	work=
}

[ "$(id -u)" = 0 ] || fail "run as root: set-user-id programs are unpacked"
for tool in apt-get dpkg-deb; do
	command -v $tool >/dev/null || fail "$tool is missing: the mail servers come as Debian packages"
done
mkdir -p "$cache"
chmod 700 "$cache"			# set-user-id programs lie here: root only
# Two runs at once: the second waits and finds the work done.
exec 9>"$cache/.lock"
flock 9
[ $# -gt 0 ] || set -- postfix exim opensmtpd
for name in "$@"; do
	packages "$name" >/dev/null
	fetch "$name"
done
