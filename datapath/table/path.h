/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Paths: the shared answer to "how does a packet leave": output port, the header to write in front of the L3 packet, MTU.
 * One per endpoint, per resolved neighbour, per resolved tunnel end. Immutable once created: a change is a new path, and the
 * freed one's gen sends the flows that used it through the layers again.
 * Writer: control thread. Readers: workers, by index.
 */
#ifndef LEAT_TABLE_PATH_H
#define LEAT_TABLE_PATH_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_ether.h>

#include "datapath/base/addr.h"
#include "datapath/base/slots.h"
#include "datapath/packet/vxlan.h"

/* The first slot, which is a path that takes no packet: its MTU is 0. So a program without a path, a fresh one's too, leads nowhere. */
#define PATH_NONE 0u
#define PATH_TABLE_MAX (1u << 18)

enum path_kind { PATH_PLAIN, PATH_VXLAN };

#define PATH_F_LOCAL (1u << 0) /* ends or begins at this node: TTL untouched (host port) */

struct path {
	_Atomic uint32_t gen;
	uint16_t port_id;
	uint8_t kind;  /* enum path_kind */
	uint8_t flags; /* PATH_F_* */
	uint16_t mtu;  /* largest L3 packet that may leave, bytes (inner for a tunnel) */
	uint16_t pad;
	uint32_t endpoint_idx; /* destination endpoint, or SLOT_NONE */
	uint32_t tunnel_idx;   /* tunnel, or SLOT_NONE */
	uint8_t macs[12];      /* plain: destination and source of the Ethernet header */
	uint8_t pad2[32];
	struct vxlan_template vxlan; /* PATH_VXLAN */
} __rte_aligned(64);
static_assert(offsetof(struct path, vxlan) == 64, "a plain path is one cache line");

extern struct slots path_slots;

int path_table_init(void);
void path_table_fini(void);

/* Copies *proto (gen ignored) into a new path. Index or PATH_NONE when full. */
uint32_t path_create(const struct path *proto);

/* The same under the index that it had in the process before. Before any other; in ascending order. For restart.c. */
void path_restore(uint32_t idx, const struct path *proto);

/* A path that only writes the Ethernet header. */
uint32_t path_create_plain(uint16_t port_id, const struct rte_ether_addr *dst,
	const struct rte_ether_addr *src, uint16_t mtu, uint8_t flags, uint32_t endpoint_idx);

/* PATH_NONE is accepted. */
void path_destroy(uint32_t idx);

static inline struct path *path_at(uint32_t idx)
{
	return slots_at(&path_slots, idx);
}

#endif
