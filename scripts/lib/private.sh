# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Sourced by scripts/test inside a fresh network and mount namespace: empty places of its own for everything that
# leat leaves on a machine, so that whatever lies in them at the end was left behind by the tests.

private_setup() {
	local dir cgroups

	ip link set lo up || return 1
	# /sys shows the devices of the namespace that mounted it; the control groups below it stay.
	cgroups=$(mktemp -d "$TMPDIR/cgroup.XXXXXX") || return 1
	mount --rbind /sys/fs/cgroup "$cgroups" && mount -t sysfs sysfs /sys &&
		mount --rbind "$cgroups" /sys/fs/cgroup && umount -l "$cgroups" && rmdir "$cgroups" || return 1
	for dir in /run/leat /run/leat-cni /var/lib/leat /var/lib/cni /run/netns /run/dpdk; do
		mkdir -p "$dir" && mount -t tmpfs -o mode=0755 tmpfs "$dir" || return 1
	done
	mkdir -p /dev/hugepages && mount -t hugetlbfs -o pagesize=2M hugetlbfs /dev/hugepages
}

# Processes started by this run: they carry its mark in their environment or live in its mount namespace.
private_processes() {
	local mine dir pid

	mine=$(readlink /proc/self/ns/mnt)
	for dir in /proc/[0-9]*; do
		pid=${dir#/proc/}
		# This script, its subshells and the command line that called it are not leftovers.
		case $pid in
		"$$" | "$BASHPID" | "$PPID") continue ;;
		esac
		[ "$(awk '/^PPid:/ { print $2 }' "$dir/status" 2>/dev/null)" != "$BASHPID" ] || continue
		{ tr '\0' '\n' <"$dir/environ" | grep -qx "LEAT_TEST_RUN=$LEAT_TEST_RUN"; } 2>/dev/null ||
			[ "$(readlink "$dir/ns/mnt" 2>/dev/null)" = "$mine" ] || continue
		[ "$(awk '/^State:/ { print $2 }' "$dir/status" 2>/dev/null)" != Z ] || continue
		echo "$pid"
	done
}

private_leaks() { # FILE
	local pid pids

	pids=$(private_processes) # no pipe: its other side would count as a process too
	{
		for pid in $pids; do
			[ ! -r "/proc/$pid/cmdline" ] || echo "process $pid: $(tr '\0' ' ' <"/proc/$pid/cmdline")"
		done
		find /run/netns /dev/hugepages /run/leat /run/leat-cni /var/lib/leat -mindepth 1 -maxdepth 2
		ip -o link show | awk -F': ' '$2 != "lo" && $2 !~ /^(sit0|ip6tnl0|tunl0|gre0|erspan0|gretap0|ip_vti0|ip6_vti0)/ { print "device " $2 }'
		nft list ruleset 2>/dev/null | awk '/^table/ { print "nftables " $2, $3 }'
	} >"$1"
}

private_clean() {
	local pid pids name

	pids=$(private_processes)
	for pid in $pids; do
		kill -KILL "$pid" 2>/dev/null
	done
	for name in /run/netns/*; do
		[ ! -e "$name" ] || ip netns del "${name##*/}"
	done
}
