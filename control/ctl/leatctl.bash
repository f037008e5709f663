# SPDX-License-Identifier: BSD-3-Clause
# Completion of leatctl for bash: asks leatctl itself, which knows the tables, and the daemon, which knows the names.
_leatctl() {
	local line=${COMP_LINE:0:COMP_POINT} words=() rest=() options=() skip=0 w current prefix
	COMPREPLY=()
	read -ra words <<< "$line"
	[[ $line != *[[:space:]] ]] || words+=("")
	for w in "${words[@]:1}"; do
		if [ "$skip" = 1 ]; then
			skip=0
			options+=("$w")
			continue
		fi
		case $w in
		-i | -s | -t)
			skip=1
			options+=("$w")
			;;
		-*) ;;
		*) rest+=("$w") ;;
		esac
	done
	case ${words[-2]-} in
	-i | -s | -t) return ;; # an option's value
	esac
	[ "${#rest[@]}" -gt 0 ] || rest=("")
	case ${rest[0]-}/${rest[1]-} in
	config/apply | config/diff | support-bundle/*)
		[ "${#rest[@]}" -lt 2 ] || compopt -o default
		;;
	esac
	mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" "${options[@]}" complete "${rest[@]}" 2> /dev/null)
	# readline replaces what stands behind the last = or : only
	current=${rest[-1]#*=}
	if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then
		prefix=${current%"${current##*:}"}
		COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
	fi
	case ${COMPREPLY[0]-} in
	*=) compopt -o nospace ;;
	esac
}
complete -F _leatctl leatctl
