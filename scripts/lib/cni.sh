# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Calls leat-cni as a container runtime does, for pods that are plain network namespaces. After lab_init.

# A network's configuration: one plugin, IPAM by host-local.
cni_conf() { # NODE MODE RANGES-JSON
	cat <<-JSON
		"type": "leat-cni", "instance": "$LAB-$1", "mode": "$2", "mtu": $POD_MTU,
		"ipam": {"type": "host-local", "dataDir": "$LAB_DIR/ipam", "ranges": $3}
	JSON
}

cni_call() { # VERB NETWORK POD IFNAME CONF-BODY
	local network=$2

	CNI_COMMAND=$1 CNI_CONTAINERID=$LAB-$3 CNI_NETNS=/run/netns/$LAB-$3 CNI_IFNAME=$4 \
		CNI_PATH=$LEAT_BUILD/cni:/usr/lib/cni \
		"$LEAT_BUILD/cni/leat-cni" <<<"{\"cniVersion\": \"1.1.0\", \"name\": \"$network\", $5}"
}

# Adds a pod: a namespace with an interface; DEL when the lab goes. Prints the result.
cni_pod() { # NETWORK POD IFNAME CONF-BODY
	local env

	[ -e "/run/netns/$LAB-$2" ] || lab_netns "$2" || return 1
	printf '{"cniVersion": "1.1.0", "name": "%s", %s}\n' "$1" "$4" >"$LAB_DIR/cni-$2-$3.json"
	env="CNI_COMMAND=DEL CNI_CONTAINERID=$LAB-$2 CNI_NETNS=/run/netns/$LAB-$2 CNI_IFNAME=$3"
	env+=" CNI_PATH=$LEAT_BUILD/cni:/usr/lib/cni"
	lab_defer "$env $LEAT_BUILD/cni/leat-cni <$LAB_DIR/cni-$2-$3.json"
	cni_call ADD "$1" "$2" "$3" "$4" >"$LAB_DIR/cni-$2-$3.result" || {
		cat "$LAB_DIR/cni-$2-$3.result" >&2
		return 1
	}
	cat "$LAB_DIR/cni-$2-$3.result"
}
