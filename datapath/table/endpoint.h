/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Endpoints: who lives behind a port. A pod (or VM), the node itself behind the host port, or leatd's own addresses on an uplink.
 * Immutable once added but for counters and meters; a change is a delete and an add.
 * Writer: control thread. Readers: workers by index or (zone, address).
 */
#ifndef LEAT_TABLE_ENDPOINT_H
#define LEAT_TABLE_ENDPOINT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_ether.h>

#include "datapath/base/addr.h"
#include "datapath/base/slots.h"

#define ENDPOINT_NONE SLOT_NONE
#define ENDPOINT_TABLE_MAX (1u << 16)
#define ENDPOINT_ADDRS_MAX 16
#define ENDPOINT_ID_LEN 128

enum endpoint_kind {
	ENDPOINT_POD, /* its addresses are its own; source addresses are checked */
	ENDPOINT_HOST, /* the node's stack behind leat0; may forward for others, source not checked */
	ENDPOINT_SELF, /* leatd's own address on an uplink: tunnel end, ping; no path */
};

/* Generic cell rate algorithm (ITU-T I.371): one 64-bit theoretical arrival time, so that several workers share it. */
struct meter {
	_Atomic uint64_t tat_ns;
	uint64_t
		ns_per_kunit; /* nanoseconds that 1024 units (packets or bytes) take; 0: no limit */
	uint64_t burst_ns;
};

struct endpoint_limits {
	uint64_t rate_pps, burst_pkts; /* 0: none; a zero burst means 1/10 s of the rate */
	uint64_t rate_bps, burst_bytes;
};

enum endpoint_dir {
	ENDPOINT_FROM,
	ENDPOINT_TO,
	ENDPOINT_DIR_N
}; /* sent by the pod, delivered to it */

struct endpoint {
	_Atomic uint32_t gen;
	uint8_t kind; /* enum endpoint_kind */
	uint8_t n_addrs;
	uint8_t is_metered[ENDPOINT_DIR_N];
	uint16_t port_id;
	uint16_t zone;
	uint32_t path_idx; /* how to reach it; PATH_NONE for ENDPOINT_SELF */
	struct rte_ether_addr mac;
	struct ip_addr addrs[ENDPOINT_ADDRS_MAX];

	/* written by workers */
	struct meter pkts[ENDPOINT_DIR_N] __rte_cache_aligned;
	struct meter bytes[ENDPOINT_DIR_N];
	_Atomic uint32_t n_conns; /* connections that it opened */
	uint32_t max_conns;	  /* 0: no limit */
	struct meter new_conns;

	/* cold */
	struct endpoint_limits limits[ENDPOINT_DIR_N];
	uint64_t max_new_conns_per_s;
	char id[ENDPOINT_ID_LEN];
};

struct endpoint_config {
	const char *id;
	enum endpoint_kind kind;
	uint16_t port_id;
	uint16_t zone;
	struct rte_ether_addr mac;    /* the far side's MAC */
	struct rte_ether_addr gw_mac; /* leatd's side, source MAC of what is delivered */
	uint16_t mtu;
	uint8_t n_addrs;
	struct ip_addr addrs[ENDPOINT_ADDRS_MAX];
	struct endpoint_limits limits[ENDPOINT_DIR_N];
	uint32_t max_conns;	      /* that it has opened; 0: no limit */
	uint64_t max_new_conns_per_s; /* 0: no limit; bursts of a second */
};

int endpoint_table_init(void);
void endpoint_table_fini(void);

/* Adds and publishes. *out_idx: its index. -EEXIST (id), -EADDRINUSE (an address of the zone is taken; *out_taken its position
 * in addrs, may be NULL), -ENOSPC. On error nothing changed. The caller sets port->endpoint_idx and publishes generations. */
int endpoint_add(const struct endpoint_config *cfg, uint32_t *out_idx, unsigned int *out_taken);

/* Removes; flows from or to it are judged again. */
void endpoint_del(uint32_t idx);

/* Index by id, or ENDPOINT_NONE. Control thread. */
uint32_t endpoint_by_id(const char *id);

/* Endpoint that owns the address in the zone, or ENDPOINT_NONE. Any thread. */
uint32_t endpoint_by_addr(uint16_t zone, const struct ip_addr *addr);

/* Next live endpoint at or after idx, or ENDPOINT_NONE. Control thread. */
uint32_t endpoint_next(uint32_t idx);
uint32_t endpoint_count(void);

/* Address of this node in the family, for ICMP errors: the first of a host or self endpoint in zone 0; unspecified if none. */
struct ip_addr endpoint_node_addr(bool is_v6);

/* Flows from and to the node itself look again: what its ports mean has changed. Control thread. */
void endpoint_node_touch(void);

extern struct slots endpoint_slots;

static inline struct endpoint *endpoint_at(uint32_t idx)
{
	return slots_at(&endpoint_slots, idx);
}

/* Whether the address is one of the endpoint's. */
static inline bool endpoint_owns(const struct endpoint *ep, const struct ip_addr *addr)
{
	for (unsigned int i = 0; i < ep->n_addrs; i++)
		if (ip_eq(&ep->addrs[i], addr))
			return true;
	return false;
}

/* Takes `units` from the bucket; false if it is empty. Any worker. now_ns: clock_ns(). */
static inline bool meter_take(struct meter *m, uint64_t units, uint64_t now_ns)
{
	uint64_t tat, next;

	if (m->ns_per_kunit == 0)
		return true;
	tat = atomic_load_explicit(&m->tat_ns, memory_order_relaxed);
	do {
		next = (tat > now_ns ? tat : now_ns) + ((units * m->ns_per_kunit) >> 10);
		if (next > now_ns + m->burst_ns)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&m->tat_ns, &tat, next, memory_order_relaxed, memory_order_relaxed));
	return true;
}

/* Whether meter_take() would let the units pass now. Any thread. */
static inline bool meter_would_pass(const struct meter *m, uint64_t units, uint64_t now_ns)
{
	uint64_t tat = atomic_load_explicit(&m->tat_ns, memory_order_relaxed);

	return m->ns_per_kunit == 0 ||
		(tat > now_ns ? tat : now_ns) + ((units * m->ns_per_kunit) >> 10) <=
		now_ns + m->burst_ns;
}

/* Both limits of one direction for a packet of `bytes` (L3 length). A refused packet takes nothing but a packet token. */
static inline bool endpoint_meter_take(
	struct endpoint *ep, enum endpoint_dir dir, uint32_t bytes, uint64_t now_ns)
{
	return meter_take(&ep->pkts[dir], 1, now_ns) && meter_take(&ep->bytes[dir], bytes, now_ns);
}

/* The limits of the endpoint that sends and of the one that receives; ENDPOINT_NONE: not on this node. */
static inline bool endpoint_meters_pass(
	const uint32_t ep[ENDPOINT_DIR_N], uint32_t bytes, uint64_t now_ns)
{
	for (unsigned int d = 0; d < ENDPOINT_DIR_N; d++)
		if (ep[d] != ENDPOINT_NONE && endpoint_at(ep[d])->is_metered[d] &&
			!endpoint_meter_take(
				endpoint_at(ep[d]), (enum endpoint_dir)d, bytes, now_ns))
			return false;
	return true;
}

/* Whether endpoint_meters_pass() would say so now; takes nothing. */
static inline bool endpoint_meters_would_pass(
	const uint32_t ep[ENDPOINT_DIR_N], uint32_t bytes, uint64_t now_ns)
{
	for (unsigned int d = 0; d < ENDPOINT_DIR_N; d++) {
		const struct endpoint *e = ep[d] != ENDPOINT_NONE ? endpoint_at(ep[d]) : NULL;

		if (e != NULL && e->is_metered[d] &&
			!(meter_would_pass(&e->pkts[d], 1, now_ns) &&
				meter_would_pass(&e->bytes[d], bytes, now_ns)))
			return false;
	}
	return true;
}

/* Connections that the endpoint opened and that are still in the table. Any worker. The count of a slot that was reused may miss
 * connections of its former user, never show more. */
static inline void endpoint_conn_get(uint32_t idx)
{
	if (idx != ENDPOINT_NONE)
		atomic_fetch_add_explicit(&endpoint_at(idx)->n_conns, 1, memory_order_relaxed);
}

static inline void endpoint_conn_put(uint32_t idx)
{
	_Atomic uint32_t *n_conns;
	uint32_t n;

	if (idx == ENDPOINT_NONE)
		return;
	n_conns = &endpoint_at(idx)->n_conns;
	n = atomic_load_explicit(n_conns, memory_order_relaxed);
	while (n > 0 &&
		!atomic_compare_exchange_weak_explicit(
			n_conns, &n, n - 1, memory_order_relaxed, memory_order_relaxed))
		;
}

#endif
