#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The distribution's packages that smtpfence is built and tested with: the one place that names
# them. Installs what is missing, and nothing else; with nothing missing it needs no root and no net.
#
#   packages.sh [--list] build|test...      --list: only print the names

# shellcheck disable=SC2086 # lists of names are split on purpose
set -eu

debian_build="gcc make pkg-config libc6-dev linux-libc-dev clang llvm bpftool libbpf-dev libelf-dev
	zlib1g-dev libconfuse-dev libsmartcols-dev libsystemd-dev libjson-c-dev libsqlite3-dev
	libpcap-dev"
debian_test="libcmocka-dev python3 php-cli swaks netcat-openbsd curl rsyslog iproute2 nftables
	iptables procps util-linux libcap2-bin clang-format clang-tidy cppcheck shellcheck
	python3-pyflakes mandoc systemd python3-scapy libclang-rt-dev"

# EL 8 and 9 with EPEL and CRB (8: PowerTools), Fedora without.
fedora_build="gcc make pkgconf-pkg-config glibc-devel kernel-headers clang llvm bpftool libbpf-devel
	elfutils-libelf-devel zlib-devel libconfuse-devel libsmartcols-devel systemd-devel json-c-devel
	sqlite-devel libpcap-devel"
fedora_test="libcmocka-devel python3 php-cli swaks netcat curl rsyslog iproute nftables iptables
	procps-ng util-linux libcap clang-tools-extra cppcheck ShellCheck python3-pyflakes mandoc systemd
	python3-scapy compiler-rt"

say()
{
	echo "packages.sh: $*" >&2
}

is_installed()
{
	case $family in
	debian) [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] ;;
	fedora) rpm -q --whatprovides "$1" >/dev/null 2>&1 ;;
	esac
}

# Ubuntu has no package bpftool with a version of its own; the tool comes with the kernel's tools.
debian_candidate()
{
	[ "$1" = bpftool ] || { echo "$1"; return; }
	if apt-cache policy bpftool 2>/dev/null | grep -q 'Candidate: [0-9]'; then
		echo bpftool
	else
		echo linux-tools-common linux-tools-generic
	fi
}

has_bpftool()
{
	for tool in bpftool /usr/sbin/bpftool /usr/lib/linux-tools/*/bpftool; do
		"$tool" version >/dev/null 2>&1 && return 0
	done
	return 1
}

list_only=
[ "${1:-}" != --list ] || { list_only=yes; shift; }
if command -v apt-get >/dev/null; then
	family=debian
elif command -v dnf >/dev/null; then
	family=fedora
else
	say "neither apt-get nor dnf is here: install by hand what Debian calls" $debian_build
	exit 1
fi

wanted=
for set in "${@:-build}"; do
	case $family-$set in
	debian-build) wanted="$wanted $debian_build" ;;
	debian-test) wanted="$wanted $debian_test" ;;
	fedora-build) wanted="$wanted $fedora_build" ;;
	fedora-test) wanted="$wanted $fedora_test" ;;
	*)
		say "no set \"$set\": build and test are known"
		exit 2
		;;
	esac
done
if [ "$list_only" ]; then
	echo $wanted
	exit 0
fi

missing=
for name in $wanted; do
	is_installed "$name" && continue
	[ "$name" = bpftool ] && has_bpftool && continue
	missing="$missing $name"
done
[ "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	say "missing:$missing"
	say "run this as root, or install them and try again"
	exit 1
fi
say "installing:$missing"
case $family in
debian)
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq || say "apt-get update failed; trying with the lists that are here"
	names=
	for name in $missing; do
		names="$names $(debian_candidate "$name")"
	done
	if ! apt-get install -y -qq --no-install-recommends $names >&2; then
		say "apt-get could not install:$names"
		say "is the network up, and are the distribution's main (Ubuntu: and universe) sources on?"
		exit 1
	fi
	;;
fedora)
	# libconfuse and swaks are in EPEL, some -devel packages in CRB; Fedora has all by itself.
	if [ ! -e /etc/fedora-release ]; then
		rpm -q epel-release >/dev/null 2>&1 || dnf install -y -q epel-release ||
			say "EPEL could not be added; see https://docs.fedoraproject.org/en-US/epel/"
		dnf install -y -q dnf-plugins-core || true
		dnf config-manager --set-enabled crb >/dev/null 2>&1 ||
			dnf config-manager --set-enabled powertools >/dev/null 2>&1 ||
			say "the repository CRB could not be enabled; on RHEL: subscription-manager" \
				"repos --enable codeready-builder-for-rhel-9-\$(arch)-rpms"
	fi
	if ! dnf install -y -q --setopt=install_weak_deps=False $missing >&2; then
		say "dnf could not install:$missing"
		say "libconfuse-devel and swaks are in EPEL, libbpf-devel and others in CRB: are both on?"
		exit 1
	fi
	;;
esac
for name in $missing; do
	if [ "$name" = bpftool ]; then
		has_bpftool && continue
	else
		is_installed "$name" && continue
	fi
	say "$name is still missing, though its installation did not fail"
	exit 1
done
