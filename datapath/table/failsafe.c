/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/failsafe.h"

#include <netinet/in.h>

enum { TCP, UDP, SCTP, N_PROTOS };

static _Atomic uint64_t ports[POLICY_DIR_N][N_PROTOS][65536 / 64];

static int proto_idx(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return TCP;
	case IPPROTO_UDP:
		return UDP;
	case IPPROTO_SCTP:
		return SCTP;
	default:
		return -1;
	}
}

bool failsafe_set(enum policy_dir dir, uint8_t proto, uint16_t port, bool is_on)
{
	int p = proto_idx(proto);
	uint64_t bit = 1ull << (port % 64);

	if (p < 0)
		return false;
	if (is_on)
		atomic_fetch_or_explicit(&ports[dir][p][port / 64], bit, memory_order_relaxed);
	else
		atomic_fetch_and_explicit(&ports[dir][p][port / 64], ~bit, memory_order_relaxed);
	return true;
}

bool failsafe_has(enum policy_dir dir, uint8_t proto, uint16_t port)
{
	int p = proto_idx(proto);

	return p >= 0 &&
		(atomic_load_explicit(&ports[dir][p][port / 64], memory_order_relaxed) >>
				(port % 64) &
			1) != 0;
}

bool failsafe_next(enum policy_dir dir, uint8_t proto, uint32_t *port)
{
	while (*port < 65536 && !failsafe_has(dir, proto, (uint16_t)*port))
		(*port)++;
	return *port < 65536;
}
