# SPDX-License-Identifier: BSD-3-Clause
# Completion of leatctl for bash: asks leatctl itself, which knows the tables.
_leatctl() {
	local words=("${COMP_WORDS[@]:1:COMP_CWORD}") rest=() skip=0 w
	COMPREPLY=()
	for w in "${words[@]}"; do
		if [ "$skip" = 1 ]; then
			skip=0
			continue
		fi
		case $w in
		-i | -t) skip=1 ;;
		-*) ;;
		*) rest+=("$w") ;;
		esac
	done
	[ "${#rest[@]}" -gt 0 ] || rest=("")
	mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" complete "${rest[@]}" 2> /dev/null)
	case ${COMPREPLY[0]-} in
	*=) compopt -o nospace ;;
	esac
}
complete -F _leatctl leatctl
