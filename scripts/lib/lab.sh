# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Labs of network namespaces. Source it, call lab_init, then build; everything carries the lab's prefix and goes away
# with lab_down, which lab_trap also runs on errors, Ctrl-C and kill.
#
#   PREFIX-wire        the underlay: a bridge and one veth a node
#   PREFIX-n1, -n2 …   a node each: device up0 to the underlay, without an address (leatd owns that)
#   PREFIX-NAME        a pod each: lo only, until something is attached
#
# State (so that another process can take the lab down): /run/leat-lab/PREFIX/{netns,pids,defer,instances}

LAB_STATE=/run/leat-lab

lab_log() {
	printf '%s\n' "$*" >&2
}

lab_init() { # PREFIX
	[[ $1 =~ ^[a-z][a-z0-9]{0,11}$ ]] || {
		lab_log "lab: a prefix is up to 12 letters and digits, not '$1'"
		return 1
	}
	LAB=$1
	LAB_DIR=$LAB_STATE/$1
	LAB_BRIDGE=br0
	mkdir -p "$LAB_STATE"
	mkdir -m 0700 "$LAB_DIR" 2>/dev/null || {
		lab_log "lab: '$1' is there already: scripts/lab down --prefix $1"
		return 1
	}
	: >"$LAB_DIR/netns"
	: >"$LAB_DIR/pids"
	: >"$LAB_DIR/defer"
	: >"$LAB_DIR/instances"
	echo "${LEAT_BUILD:-}" >"$LAB_DIR/build"
}

lab_adopt() { # PREFIX: take over a lab that another process built
	LAB=$1
	LAB_DIR=$LAB_STATE/$1
	[ -d "$LAB_DIR" ] || {
		lab_log "lab: there is no lab '$1'"
		return 1
	}
	LEAT_BUILD=$(cat "$LAB_DIR/build")
}

# Shell text to run when the lab goes, last first.
lab_defer() { # COMMAND
	printf '%s\n' "$1" >>"$LAB_DIR/defer"
}

lab_netns() { # NAME
	ip netns add "$LAB-$1" || return 1
	echo "$LAB-$1" >>"$LAB_DIR/netns"
	ip -n "$LAB-$1" link set lo up
}

lab_exec() { # NAME COMMAND…
	local ns=$1

	shift
	ip netns exec "$LAB-$ns" "$@"
}

# Starts COMMAND in a namespace (or '-': here), its output in LAB_DIR/LOG.log; the process ends with the lab.
# Its id is in LAB_PID.
lab_spawn() { # NAME LOG COMMAND…
	local ns=$1 log=$2

	shift 2
	if [ "$ns" = - ]; then
		"$@" </dev/null >>"$LAB_DIR/$log.log" 2>&1 &
	else
		ip netns exec "$LAB-$ns" "$@" </dev/null >>"$LAB_DIR/$log.log" 2>&1 &
	fi
	LAB_PID=$!
	echo "$LAB_PID $(lab_starttime "$LAB_PID")" >>"$LAB_DIR/pids"
}

lab_starttime() { # PID: with it, a number that was reused is told apart
	sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

# Waits until COMMAND succeeds, at most SECONDS.
lab_wait() { # SECONDS COMMAND…
	local deadline=$((SECONDS + $1))

	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.05
	done
}

lab_is_gone() { # PID STARTTIME
	local state

	[ "$(lab_starttime "$1")" = "$2" ] || return 0
	state=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f1)
	[ -z "$state" ] || [ "$state" = Z ]
}

lab_stop() { # PID [SIGNAL]: ends a process that this lab started, and waits for it
	local pid=$1 start

	start=$(awk -v pid="$pid" '$1 == pid { print $2 }' "$LAB_DIR/pids" | tail -n 1)
	[ -n "$start" ] && ! lab_is_gone "$pid" "$start" || return 0
	kill "-${2:-TERM}" "$pid" 2>/dev/null || :
	lab_wait 10 lab_is_gone "$pid" "$start" || {
		kill -KILL "$pid" 2>/dev/null || :
		lab_wait 5 lab_is_gone "$pid" "$start" || :
	}
	wait "$pid" 2>/dev/null || :
}

# The far ends of an AF_PACKET uplink must send whole, finished frames.
lab_offloads_off() { # NETNS DEVICE
	ip netns exec "$1" ethtool -K "$2" rx off tx off tso off gso off gro off >/dev/null 2>&1 ||
		ip netns exec "$1" ethtool -K "$2" tx off tso off gso off gro off >/dev/null
}

lab_underlay() { # MTU
	LAB_MTU=$1
	lab_netns wire || return 1
	ip -n "$LAB-wire" link add "$LAB_BRIDGE" mtu "$LAB_MTU" type bridge stp_state 0 mcast_snooping 0 &&
		ip -n "$LAB-wire" link set "$LAB_BRIDGE" up
}

lab_node() { # NAME
	lab_netns "$1" || return 1
	ip -n "$LAB-wire" link add "$1" mtu "$LAB_MTU" type veth peer name up0 mtu "$LAB_MTU" \
		netns "$LAB-$1" || return 1
	ip -n "$LAB-wire" link set "$1" master "$LAB_BRIDGE" up || return 1
	lab_offloads_off "$LAB-wire" "$1"
	lab_offloads_off "$LAB-$1" up0
	ip netns exec "$LAB-$1" sysctl -qw net.ipv6.conf.up0.disable_ipv6=1
	ip -n "$LAB-$1" link set up0 up
}

lab_mtu() { # MTU: of every device of the underlay
	local ns

	LAB_MTU=$1
	ip -n "$LAB-wire" -o link show type veth | awk -F'[ :@]+' '{ print $2 }' | while read -r ns; do
		ip -n "$LAB-wire" link set "$ns" mtu "$1"
		ip -n "$LAB-$ns" link set up0 mtu "$1"
	done
	ip -n "$LAB-wire" link set "$LAB_BRIDGE" mtu "$1"
}

# Starts leatd for a node and waits until its socket answers. LEAT_BUILD: the build folder.
lab_leatd() { # NODE ARGUMENT…
	local node=$1

	shift
	grep -qx "$LAB-$node" "$LAB_DIR/instances" || echo "$LAB-$node" >>"$LAB_DIR/instances"
	lab_spawn "$node" "leatd-$node" "$LEAT_BUILD/control/leatd" --instance "$LAB-$node" "$@"
	echo "$LAB_PID" >"$LAB_DIR/leatd-$node.pid"
	lab_wait 20 lab_leatd_answers "$node" "$LAB_PID" || :
	if [ ! -d "/proc/$LAB_PID" ] || ! lab_ctl "$node" sys hello >/dev/null; then
		lab_log "lab: leatd of $node does not answer:"
		tail -n 20 "$LAB_DIR/leatd-$node.log" >&2
		return 1
	fi
}

lab_leatd_answers() { # NODE PID; also true when there is nobody left to wait for
	[ -d "/proc/$2" ] || return 0
	lab_ctl "$1" sys hello
}

lab_ctl() { # NODE ARGUMENT…
	local node=$1

	shift
	"$LEAT_BUILD/control/ctl/leatctl" --instance "$LAB-$node" "$@"
}

lab_down() {
	local line ns pid start name

	[ -n "${LAB_DIR:-}" ] && [ -d "$LAB_DIR" ] || return 0
	tac "$LAB_DIR/defer" 2>/dev/null | while read -r line; do
		bash -c "$line" </dev/null >/dev/null 2>&1 || lab_log "lab: clean-up step failed: $line"
	done
	while read -r pid start; do
		lab_stop "$pid"
	done < <(tac "$LAB_DIR/pids")
	while read -r ns; do
		# Whatever still lives in a namespace of this lab was started by it.
		[ -e "/run/netns/$ns" ] || continue
		for pid in $(ip netns pids "$ns"); do
			kill -KILL "$pid" 2>/dev/null || :
		done
	done <"$LAB_DIR/netns"
	while read -r name; do
		"$LEAT_BUILD/control/leatd" --instance "$name" --purge >>"$LAB_DIR/purge.log" 2>&1 || {
			lab_log "lab: purge of $name failed:"
			cat "$LAB_DIR/purge.log" >&2
		}
	done <"$LAB_DIR/instances"
	while read -r ns; do
		[ ! -e "/run/netns/$ns" ] || ip netns del "$ns"
	done < <(tac "$LAB_DIR/netns")
	rm -rf "$LAB_DIR"
	rmdir "$LAB_STATE" 2>/dev/null || :
}

lab_end() { # STATUS
	trap '' INT TERM HUP
	lab_down
	exit "$1"
}

# lab_down at the end of this shell, however it ends; exit status kept.
lab_trap() {
	trap 'lab_end $?' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}
