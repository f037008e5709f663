# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Real containers for a lab: podman with its own storage, configuration and CNI networks, an image made of this
# machine's busybox and iperf3 (no registry is asked). After lab_init.

podman_setup() { # CNI-PLUGIN-FOLDER…
	local dir

	PODMAN_DIR=$(mktemp -d /var/tmp/leat-lab.XXXXXX) || return 1
	lab_defer "umount -q '$PODMAN_DIR/root/overlay' || umount -lq '$PODMAN_DIR/root/overlay'; rm -rf --one-file-system '$PODMAN_DIR'"
	mkdir -p "$PODMAN_DIR/net.d" "$PODMAN_DIR/tmp"
	{
		echo '[engine]'
		echo 'cgroup_manager = "cgroupfs"'
		echo 'events_logger = "none"'
		echo 'lock_type = "file"' # not the segment that this machine's own podman uses
		echo '[network]'
		echo 'network_backend = "cni"'
		printf 'cni_plugin_dirs = ['
		for dir in "$@"; do
			printf '"%s", ' "$dir"
		done
		echo ']'
		echo "network_config_dir = \"$PODMAN_DIR/net.d\""
	} >"$PODMAN_DIR/containers.conf"
	echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$PODMAN_DIR/policy.json"
	podman_image
}

podman_run() { # PODMAN-ARGUMENT…
	CONTAINERS_CONF=$PODMAN_DIR/containers.conf TMPDIR=$PODMAN_DIR/tmp podman --root "$PODMAN_DIR/root" \
		--runroot "$PODMAN_DIR/run" --tmpdir "$PODMAN_DIR/tmp" --runtime /usr/sbin/runc "$@" </dev/null
}

podman_image() {
	local tree=$PODMAN_DIR/tree lib program

	mkdir -p "$tree"/{bin,etc,tmp,www,root}
	cp "$(command -v busybox)" "$tree/bin/busybox" || return 1
	for program in sh ip ping cat httpd wget sleep true sha256sum ls; do
		ln -s busybox "$tree/bin/$program"
	done
	cp "$(command -v iperf3)" "$tree/bin/iperf3" || return 1
	while read -r lib; do
		mkdir -p "$tree$(dirname "$lib")"
		cp -L "$lib" "$tree$lib"
	done < <(ldd "$(command -v iperf3)" | grep -o '/[^ ]*')
	echo 'root:x:0:0::/root:/bin/sh' >"$tree/etc/passwd"
	tar -C "$tree" -cf "$PODMAN_DIR/image.tar" . || return 1
	podman_run import -q "$PODMAN_DIR/image.tar" leat-pod >/dev/null || return 1
	lab_defer "$(podman_line 'rm --all --force --time 0')"
	rm -rf "$tree" "$PODMAN_DIR/image.tar"
}

podman_line() { # ARGUMENTS: the same call as text, for lab_defer
	echo "CONTAINERS_CONF='$PODMAN_DIR/containers.conf' TMPDIR='$PODMAN_DIR/tmp' podman --root '$PODMAN_DIR/root'" \
		"--runroot '$PODMAN_DIR/run' --tmpdir '$PODMAN_DIR/tmp' --runtime /usr/sbin/runc $1"
}

podman_pod() { # NAME NETWORK OPTION… leat-pod COMMAND…
	local name=$1 network=$2

	shift 2
	podman_run run -d --name "$name" --net "$network" --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
		--security-opt seccomp=unconfined "$@"
}

podman_pid() { # NAME
	podman_run inspect --format '{{.State.Pid}}' "$1"
}
