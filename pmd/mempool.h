/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packet buffers. Per NUMA node one pool of ordinary mbufs that every port shares, and, made when first asked for, one
 * of jumbo mbufs (a 9 KiB frame in one piece, for drivers that cannot chain) and one of huge mbufs (a 64 KiB super-frame
 * behind a first ordinary mbuf, for taps). Ports reserve what their rings can hold, so that a port too many is refused
 * instead of starving the others. Control thread; allocation from the pools and their accounts: any.
 */
#ifndef LEAT_PMD_MEMPOOL_H
#define LEAT_PMD_MEMPOOL_H

#include <stddef.h>
#include <stdint.h>

#include <rte_mempool.h>

#define MEMPOOL_NODES_MAX 8
#define MEMPOOL_KINDS 3
#define MEMPOOL_DATA_ROOM_BYTES 2048 /* behind the headroom */
#define MEMPOOL_JUMBO_ROOM_BYTES 10240
#define MEMPOOL_HUGE_ROOM_BYTES                                                                    \
	65472 /* headroom included: the most that an mbuf of whole cache lines can have */

struct mempool_config {
	uint32_t n_mbufs;     /* per node; 0: 65536, fewer if hugepages are short (at least 8192) */
	uint32_t n_jumbos;    /* 0: 4096 */
	uint32_t n_huges;     /* 0: n_mbufs / 64, at least 64 */
	unsigned int n_nodes; /* nodes 0…n_nodes-1 get a pool; 0: those with a worker */
};

/* Makes the ordinary pools. After eal_start(). 0, or -ENOMEM with a sentence. */
int mempool_init(const struct mempool_config *cfg, char *errbuf, size_t errlen);

/* Frees all pools. No mbuf may be in use. */
void mempool_fini(void);

/* The pool of the node (any node: the nearest that has one). Never NULL after mempool_init(). */
struct rte_mempool *mempool_get(unsigned int node);

/* Same for jumbo and huge mbufs; makes the pool. NULL if memory is short. */
struct rte_mempool *mempool_get_jumbo(unsigned int node);
struct rte_mempool *mempool_get_huge(unsigned int node);

/* Sets n mbufs of the pool aside for a port (an account, no allocation). 0, or -ENOBUFS with a sentence when
 * what is left could not carry it. mempool_release() gives them back. */
int mempool_reserve(struct rte_mempool *pool, uint32_t n, char *errbuf, size_t errlen);
void mempool_release(struct rte_mempool *pool, uint32_t n);

/* Sum over all pools. in_use counts mbufs that are neither in a pool nor in a core's cache; not exact while packets
 * move. Any thread. */
struct mempool_usage {
	uint32_t size, in_use, free, reserved;
	uint32_t reservable; /* what one more port can still have of the fullest ordinary pool */
	struct mempool_kind_usage {
		const char *name; /* "ordinary", "jumbo", "huge" */
		uint32_t size, in_use, reserved;
		uint32_t
			reservable; /* of the fullest pool of the kind; a kind without a pool has size 0 */
	} kinds[MEMPOOL_KINDS];
};
void mempool_usage_read(struct mempool_usage *out);

#endif
