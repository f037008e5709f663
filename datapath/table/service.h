/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Services: virtual addresses and ports (frontends) in front of weighted backends.
 *
 * A frontend is found by (zone, address, protocol, port); a node port by (zone, protocol, port) on any address of this node that serves node ports;
 * a port range is a few port prefixes. A service holds two selection tables, over all usable backends and over those on this
 * node; each is an immutable block that is replaced when the service's own backends change. Backends keep their slot while
 * they exist, so that a connection's binding survives every change that does not concern its backend.
 *
 * Selection: Maglev (Eisenbud et al., NSDI 2016, s. 3.4), table of prime size ≥ 100 × backends, weights by turns; or plain
 * hash. Both over the same keyed 5-tuple hash on every node, so that nodes behind one router agree.
 *
 * What flows depend on: the generation of their backend (touched when it goes, or may no longer be used) and of their
 * service (touched when it goes). Adding a backend touches no flow.
 *
 * Writer: control thread; affinity entries and counters: workers.
 */
#ifndef LEAT_TABLE_SERVICE_H
#define LEAT_TABLE_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "datapath/base/addr.h"
#include "datapath/base/slots.h"

#define SERVICE_NONE SLOT_NONE
#define BACKEND_NONE SLOT_NONE
#define FRONTEND_NONE SLOT_NONE
#define SERVICE_TABLE_MAX (1u << 21)
#define BACKEND_TABLE_MAX (1u << 23)
#define FRONTEND_TABLE_MAX (1u << 23)
#define SERVICE_NAME_LEN 128
#define SERVICE_BACKENDS_MAX 6000u /* of one service */
#define SERVICE_FRONTENDS_MAX 256u
#define SERVICE_SOURCE_SETS_MAX 256u
#define SERVICE_HASH_SEED 0x6c6561742d737663ull /* "leat-svc" */

enum service_algorithm { SERVICE_MAGLEV, SERVICE_HASH, SERVICE_ALGORITHM_N };

enum frontend_kind {
	FRONTEND_CLUSTER, /* ClusterIP: internal traffic policy */
	FRONTEND_EXTERNAL, /* ExternalIP, LoadBalancer IP: external traffic policy for what comes from outside */
	FRONTEND_NODE_PORT,
	FRONTEND_HOST_PORT, /* one pod's port on the node's addresses (or the given one) */
	FRONTEND_KIND_N
};

#define SERVICE_F_INTERNAL_LOCAL (1u << 0) /* internalTrafficPolicy: Local */
#define SERVICE_F_EXTERNAL_LOCAL                                                                   \
	(1u << 1) /* externalTrafficPolicy: Local: no SNAT, this node's backends only */
#define SERVICE_F_REJECT (1u << 2) /* no backend: RST or ICMP port unreachable; else silence */
#define SERVICE_F_RESET                                                                            \
	(1u << 3) /* TCP connections to a removed backend are reset; else they drain */

#define BACKEND_F_READY (1u << 0)
#define BACKEND_F_SERVING (1u << 1)
#define BACKEND_F_TERMINATING (1u << 2)
#define BACKEND_F_LOCAL (1u << 3)      /* on this node */
#define BACKEND_F_REMOVED (1u << 4)    /* no longer configured; kept while connections drain */
#define BACKEND_F_AUTO_LOCAL (1u << 5) /* LOCAL follows this node's endpoints */

struct service_selection;
struct service_block;

struct service {
	_Atomic uint32_t gen;
	uint32_t serial; /* of all services ever made; never 0, never used again */
	/* client address → backend for so long after its last new connection; 0: off */
	_Atomic uint32_t affinity_s;
	_Atomic uint16_t flags; /* SERVICE_F_* */
	uint16_t zone;
	/* by [is IPv6][is local only]; NULL: no usable backend */
	struct service_selection *_Atomic selections[2][2];
	struct service_block *_Atomic block; /* backends, source sets; NULL once deleted */

	/* control thread only */
	_Atomic uint32_t name_link;
	uint16_t n_frontends;
	uint8_t algorithm; /* enum service_algorithm */
	struct frontend_config *frontends;
	char name[SERVICE_NAME_LEN];
};

struct backend {
	_Atomic uint32_t gen;
	uint32_t service;
	struct ip_addr addr;
	rte_be16_t port;	 /* 0: keep the packet's own port (port ranges) */
	_Atomic uint8_t flags;	 /* BACKEND_F_* */
	_Atomic uint16_t weight; /* 0: never chosen for new connections */
	uint16_t serial;	 /* tells it from an earlier one in this slot (affinity.h) */
	/* written by workers: connections opened; of connections that ended (control/usage.h) */
	_Atomic uint64_t n_conns, pkts, bytes;
};

struct backend_config {
	struct ip_addr addr;
	uint16_t port;	 /* host order */
	uint16_t weight; /* 0: never chosen for new connections */
	uint8_t flags;	 /* READY, SERVING, TERMINATING, LOCAL */
};

struct frontend_config {
	uint8_t kind; /* enum frontend_kind */
	uint8_t proto;
	bool has_addr; /* false: any address of this node (node port, host port) */
	struct ip_addr addr;
	uint16_t port, port_end; /* host order, inclusive */
	/* port of the backends for this frontend; 0: each backend's own */
	uint16_t target_port;
};

struct service_config {
	const char *name;
	uint16_t zone;
	uint16_t flags;
	enum service_algorithm algorithm;
	uint32_t affinity_s;
	const uint32_t *
		source_sets; /* ipsets; the service takes references of its own; none: everybody may */
	unsigned int n_source_sets;
	const struct frontend_config *frontends;
	unsigned int n_frontends;
	const struct backend_config *backends;
	unsigned int n_backends;
};

int service_table_init(void);

/* No reader may be left and rcu_synchronize() must have run. References to source sets are not given back. */
void service_table_fini(void);

/* Makes the service, or changes it into this: frontends and backends are compared with what is there, by value, and only the
 * difference is touched (work in proportion to this service). A backend is the same as long as its address and port are: it keeps its slot,
 * and its generation is touched only when it stops to serve. READY implies SERVING. Removing a frontend, or changing flags, affinity or source
 * sets, touches no connection that is bound already. 0; -EEXIST (a frontend overlaps one of another service, or an earlier one of
 * this list; *out_frontend its position, may be NULL: delete it there first); -EINVAL (name, a port range, a frontend without its
 * address, a backend named twice or without address, too many of something, another zone than before); -ENOSPC; -ENOMEM. On error nothing changed. The
 * caller publishes generations. */
int service_set(const struct service_config *cfg, uint32_t *out_idx, unsigned int *out_frontend);

/* Touches the service's and its backends' generations. */
void service_del(uint32_t idx);

uint32_t service_by_name(const char *name);

/* Next service at or after idx, or SERVICE_NONE. Control thread. */
uint32_t service_next(uint32_t idx);
const char *service_name(uint32_t idx);

/* Listing: the number there is, of which at most max are written; frontends as configured, backends by address and port. Control
 * thread. */
unsigned int service_frontends(uint32_t idx, struct frontend_config *out, unsigned int max);
unsigned int service_backends(uint32_t idx, uint32_t *out_backends, unsigned int max);
unsigned int service_source_sets(uint32_t idx, uint32_t *out_sets, unsigned int max);

/* Ready backends with a weight on this node, for the health check port. Control thread. */
unsigned int service_n_local_ready(uint32_t idx);

extern struct slots service_slots, backend_slots;

static inline struct service *service_at(uint32_t idx)
{
	return slots_at(&service_slots, idx);
}

static inline struct backend *backend_at(uint32_t idx)
{
	return slots_at(&backend_slots, idx);
}

/* What a packet's destination is. */
struct service_hit {
	uint32_t service; /* SERVICE_NONE: not a frontend */
	uint8_t kind;	  /* enum frontend_kind */
	rte_be16_t target_port;
	bool is_vip; /* without service: a ClusterIP or external address of the zone, but no such port: to be rejected */
};

/* dport in host order. is_node_addr: the address is one of this node's (then node and host ports apply). Any thread. */
void service_lookup(uint16_t zone, const struct ip_addr *addr, uint8_t proto, uint16_t dport,
	bool is_node_addr, struct service_hit *out);

/* Whether the source may use the service (source ranges). Any thread. */
bool service_source_allowed(uint32_t service, const struct ip_addr *src);

/* Backend for a new connection, of the family of dst: the client's own if affinity knows one, else by the algorithm; of this node's only if
 * is_local_only. Falls back to serving terminating backends when no ready one is left. BACKEND_NONE: nobody. is_peek: changes no
 * affinity (explain). now_s: clock_s(). Any worker; to peek, any thread. */
struct service_pick {
	const struct ip_addr *src, *dst;
	rte_be16_t sport, dport;
	uint8_t proto;
	bool is_local_only, is_peek;
	uint32_t now_s;
};
uint32_t service_pick(uint32_t service, const struct service_pick *pick);

/* Whether a connection that is bound to (service, backend) may go on: neither gone; a terminating backend may while it serves. Both slots
 * may have new owners since the connection was bound, even one and the same service; then the backend's address or port differ from the
 * connection's, which the caller must compare (with equal ones the connection is where it belongs). Any thread. */
bool service_binding_holds(uint32_t service, uint32_t backend);

/* Whether a backend of some service serves TCP or SCTP there. Any thread. */
bool service_is_server(uint16_t zone, const struct ip_addr *addr, uint8_t proto, rte_be16_t port);

/* Whether TCP connections of removed backends are reset. Any thread. */
bool service_does_reset(uint32_t service);

/* Backend of the service with this address and port (network order), for connections adopted from an earlier process; BACKEND_NONE.
 * Any thread. */
uint32_t service_backend_find(uint32_t service, const struct ip_addr *addr, rte_be16_t port);

/* The same by the address alone, for connections whose port the frontend chose: the first that serves. Any thread. */
uint32_t service_backend_of_addr(uint32_t service, const struct ip_addr *addr);

/* The keyed hash of a new connection: the same on every node for the same seed. docs/services.md has the algorithm, so that an
 * independent model can compute it. */
uint64_t service_hash(const struct service_pick *pick);

/* Default SERVICE_HASH_SEED. At start, before workers. */
void service_hash_seed_set(uint64_t seed);

#endif
