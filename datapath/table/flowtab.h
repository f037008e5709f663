/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flow table: connections and their two compiled flows, one table for IPv4 and one for IPv6.
 *
 * Connection i owns flows 2i (original direction) and 2i+1 (reply), so that neither needs an index of the other. The
 * index is an array of cache-line buckets of ten 16-bit tags and ten 32-bit flow indexes; a key lives in one of two buckets
 * (alt(b) = (H(tag) - b) mod n, an involution for any n), preferably the first, with one displacement on insert: fills
 * beyond 80 %. Everything lies in one named hugepage region, holds indexes only, and is adopted by a restarted process.
 *
 * Threads: lookups are lock-free; an insert locks the buckets it touches; a connection is removed only by the sweeper of
 * the worker that owns its chunk, and its memory is reused after a grace period; any reader may unlink its keys before. What may change in a published flow: path,
 * in_port, flags, epoch, last_seen (each one aligned word, stored atomically) and the counters; key and NAT program never.
 * Any worker may count: the first one that judged the flow in the entry, others in their own side slots (flowtab_count_foreign).
 * A connection whose key can be found is complete, and is given up by unlinking it only.
 */
#ifndef LEAT_TABLE_FLOWTAB_H
#define LEAT_TABLE_FLOWTAB_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_byteorder.h>
#include <rte_common.h>
#include <rte_prefetch.h>
#include <rte_vect.h>

#include "datapath/base/rcu.h"
#include "datapath/base/region.h"
#include "datapath/table/conn.h"
#include "datapath/table/conn_window.h"

#define FLOW_NONE UINT32_MAX
#define FLOWTAB_BUCKET_LEN 10
#define FLOWTAB_RESERVE                                                                            \
	64u /* the last 1/64 of the table is for endpoints that hold less than that */

/* Early drop: from 7/8 of the table on, the time-outs of half-open connections shrink in proportion, to a second when it is full,
 * so that a flood decays while what is open stays (as pf's adaptive time-outs). Control thread sets, sweepers read. */
#define FLOWTAB_PRESSURE_SHARE 8u
extern _Atomic bool flowtab_early_drop;

/* How ports are to be read, and what must not mix. */
enum flow_key_kind {
	FLOW_KEY_L4, /* TCP, UDP, SCTP: ports */
	FLOW_KEY_L3, /* no ports: other protocols */
	/* ICMP: + icmp_message_of() (packet/icmp_query.h). A question and its answer are two kinds, so that who was asked cannot
	 * ask back as if that were the answer; of those with an identifier both ports are that. */
	FLOW_KEY_ICMP,
	FLOW_KEY_ECHO = FLOW_KEY_ICMP,
	FLOW_KEY_ICMP_BARE = FLOW_KEY_ICMP + 14, /* from here on without identifier */
};

/* Of the opposite direction: an answer's is its question's. */
static inline uint8_t flow_key_kind_reverse(uint8_t kind)
{
	return kind ^ (kind >= FLOW_KEY_ICMP);
}

static inline bool flow_key_kind_has_ident(uint8_t kind)
{
	return (uint8_t)(kind - FLOW_KEY_ICMP) < FLOW_KEY_ICMP_BARE - FLOW_KEY_ICMP;
}

struct flow_key4 {
	rte_be32_t src, dst;
	rte_be16_t sport, dport;
	uint16_t zone;
	uint8_t proto;
	uint8_t kind;
};
static_assert(sizeof(struct flow_key4) == 16, "two words");

struct flow_key6 {
	uint8_t src[16], dst[16];
	rte_be16_t sport, dport;
	uint16_t zone;
	uint8_t proto;
	uint8_t kind;
};
static_assert(sizeof(struct flow_key6) == 40, "five words");

/* flags of a flow; the first group is what the fast path must look at before it may take the plain road */
#define FLOW_F_UNJUDGED (1u << 0) /* no verdict yet for this direction: layers first */
#define FLOW_F_TRACK (1u << 1) /* every packet goes through conn_track() (handshake, unreplied) */
#define FLOW_F_TCP (1u << 2)   /* SYN, FIN, RST go through conn_track() */
#define FLOW_F_NAT (1u << 3)   /* addresses or ports are rewritten */
#define FLOW_F_KEEP_TTL (1u << 4) /* begins or ends at this node */
#define FLOW_F_METERED (1u << 5)  /* an endpoint's rate limit applies */
#define FLOW_F_FOREIGN (1u << 6)  /* another worker has counted too */
#define FLOW_F_SELF (1u << 7)	  /* ends at leatd itself */
#define FLOW_F_ADOPTED                                                                             \
	(1u << 8) /* judged by the process before: good while the gate is shut (restart.h) */
#define FLOW_F_MTU (1u << 9) /* its route takes less than its path: `mtu` */

#define FLOW_OWNER_NONE UINT8_MAX

/* The part that both families share. in_port: port id, or FLOW_IN_TUNNEL | tunnel index. */
#define FLOW_IN_TUNNEL 0x8000u

struct flow_prog {
	_Atomic uint16_t in_port;
	_Atomic uint16_t flags;
	_Atomic uint32_t path;
	_Atomic uint32_t epoch; /* gen_now() when judged or last found unchanged */
	_Atomic uint32_t last_seen_s;
	uint32_t pkts_lo, bytes_lo; /* 48-bit counters, see flow_count() */
	uint16_t pkts_hi, bytes_hi;
	_Atomic uint8_t
		owner; /* worker that counts in the entry, for good; FLOW_OWNER_NONE: not judged yet */
	uint8_t pad;
	_Atomic uint16_t mtu; /* FLOW_F_MTU: the route's, bytes of L3 packet */
};
static_assert(sizeof(struct flow_prog) == 32, "half a line");

struct flow4 {
	struct flow_key4 key;
	struct flow_prog prog;
	rte_be32_t new_src, new_dst;
	rte_be16_t new_sport, new_dport;
	uint16_t l3_delta, l4_delta; /* checksum deltas (RFC 1624), computed once */
} __rte_aligned(64);
static_assert(sizeof(struct flow4) == 64, "one cache line");

struct flow6 {
	struct flow_key6 key; /* 40 */
	uint8_t pad[8];
	struct flow_prog prog;
	uint8_t new_src[16], new_dst[16];
	rte_be16_t new_sport, new_dport;
	uint16_t l3_delta, l4_delta; /* of the addresses alone, and with the ports */
	uint8_t pad2[8];
} __rte_aligned(64);
static_assert(sizeof(struct flow6) == 128, "two cache lines");

struct flowtab_bucket {
	_Atomic uint16_t tag[FLOWTAB_BUCKET_LEN]; /* 0: empty */
	_Atomic uint32_t flow[FLOWTAB_BUCKET_LEN];
	_Atomic uint32_t lock;
} __rte_aligned(64);
static_assert(sizeof(struct flowtab_bucket) == 64, "one cache line");

/* A worker's private store of free connections and of those that wait for a grace period. */
struct flowtab_cache {
	uint32_t free_head, n_free;
	uint32_t retired_head, retired_tail, n_retired; /* no token yet */
	uint32_t waiting_head, n_waiting;		/* under `token` */
	uint64_t token;
	uint32_t sweep_next; /* connection that the sweeper looks at next */
	uint64_t n_created, n_expired, n_full;
} __rte_cache_aligned;

struct flow_count {
	uint64_t pkts, bytes;
};

struct flowtab {
	/* read by workers */
	struct flowtab_bucket *buckets;
	uint8_t *flows;
	struct conn *conns;
	uint64_t seed[4];
	uint32_t n_buckets;
	uint32_t n_conns;
	bool is_v6;
	/* free connections that no worker holds: a list through conn.next, and the never-used rest */
	_Atomic uint32_t free_lock __rte_cache_aligned;
	uint32_t free_head;
	_Atomic uint32_t n_free, n_touched; /* written under free_lock, read by any */
	struct flowtab_cache cache[RCU_MAX_READERS];
	_Atomic(struct flow_count *)
		side[RCU_MAX_READERS];	/* by flow index; made when first needed */
	_Atomic uint32_t *zone_n_conns; /* by zone: published connections */
	_Atomic(struct conn_window *)
		windows; /* by connection; made when strict tracking is first wanted */
	unsigned int n_workers;
	struct flowtab_header *header;
	struct region region;
	uint32_t n_adopted; /* connections found in an adopted region */
};

/* instance NULL: anonymous memory. n_conns: connections (≥ 64). n_workers: sweepers. A region that fits (layout version,
 * sizes, checksum) is adopted: its index is rebuilt, every flow marked unjudged; else it is cleared and *out_cold_reason tells
 * why (static text, NULL when adopted or new). 0 or as region_open(). Control thread. */
int flowtab_open(struct flowtab *t, const char *instance, bool is_v6, uint32_t n_conns,
	unsigned int n_workers, int node, const char **out_cold_reason);
void flowtab_close(struct flowtab *t, bool keep);

/* When the configuration is back and the gate open: adopted flows are judged again, and adopted connections are counted at the endpoints
 * whose addresses have opened them. Control thread. */
void flowtab_settle(struct flowtab *t);

/* Makes room for strict tracking, once: address space, touched by connections that use it. 0 or -ENOMEM. Control thread. */
int flowtab_windows_open(struct flowtab *t);

/* Connections that were ever used: those beyond are free. Any thread. */
static inline uint32_t flowtab_n_touched(const struct flowtab *t)
{
	return atomic_load_explicit(&t->n_touched, memory_order_relaxed);
}

/* Bytes that a table of n_conns connections takes. */
size_t flowtab_size_bytes(bool is_v6, uint32_t n_conns);

/* Stores the present time for the next process; once a second. Control thread. */
void flowtab_heartbeat(struct flowtab *t, uint32_t now_s);

/* How far into its last 1/FLOWTAB_PRESSURE_SHARE the table is filled, in 1/1024; 0 below, and with early drop off. Any thread. */
uint32_t flowtab_pressure(const struct flowtab *t);

/* Whether only the reserve is left (what workers hold in their caches counts as used). Any thread. */
bool flowtab_is_nearly_full(const struct flowtab *t);

static inline uint32_t flowtab_zone_n_conns(const struct flowtab *t, uint16_t zone)
{
	return atomic_load_explicit(&t->zone_n_conns[zone], memory_order_relaxed);
}

/* Connections in use. Approximate while workers run. Any thread. */
uint32_t flowtab_n_used(const struct flowtab *t);

static inline struct flow4 *flowtab_flow4(const struct flowtab *t, uint32_t flow)
{
	return (struct flow4 *)(t->flows + (size_t)flow * sizeof(struct flow4));
}

static inline struct flow6 *flowtab_flow6(const struct flowtab *t, uint32_t flow)
{
	return (struct flow6 *)(t->flows + (size_t)flow * sizeof(struct flow6));
}

static inline struct conn *flowtab_conn(const struct flowtab *t, uint32_t flow)
{
	return &t->conns[flow >> 1];
}

static inline struct flow_prog *flowtab_prog(const struct flowtab *t, uint32_t flow)
{
	return t->is_v6 ? &flowtab_flow6(t, flow)->prog : &flowtab_flow4(t, flow)->prog;
}

/* --- hashing: folded 64×64→128 multiplications with secret seeds (as wyhash), about 8 cycles, flood-resistant ---- */

static inline uint64_t flowtab_mix(uint64_t a, uint64_t b)
{
	__uint128_t m = (__uint128_t)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* The key as its two words of memory. */
static inline uint64_t flowtab_hash4_words(const struct flowtab *t, uint64_t w0, uint64_t w1)
{
	return flowtab_mix(w0 ^ t->seed[0], w1 ^ t->seed[1]);
}

static inline uint64_t flowtab_hash4(const struct flowtab *t, const struct flow_key4 *key)
{
	uint64_t w[2];

	memcpy(w, key, sizeof(w));
	return flowtab_hash4_words(t, w[0], w[1]);
}

static inline uint64_t flowtab_hash6(const struct flowtab *t, const struct flow_key6 *key)
{
	uint64_t w[5];

	memcpy(w, key, sizeof(w));
	return flowtab_mix(flowtab_mix(w[0] ^ t->seed[0], w[1] ^ t->seed[1]) ^ w[4],
		flowtab_mix(w[2] ^ t->seed[2], w[3] ^ t->seed[3]) ^ t->seed[1]);
}

static inline uint16_t flowtab_tag(uint64_t hash)
{
	return (uint16_t)((hash >> 48) | 1);
}

static inline uint32_t flowtab_bucket1(const struct flowtab *t, uint64_t hash)
{
	return (uint32_t)(((hash & UINT32_MAX) * t->n_buckets) >> 32);
}

static inline uint32_t flowtab_alt(const struct flowtab *t, uint32_t bucket, uint16_t tag)
{
	uint32_t h = (uint32_t)(((uint64_t)(tag * 0x9e3779b1u) * t->n_buckets) >> 32);

	return h >= bucket ? h - bucket : h + t->n_buckets - bucket;
}

/* Bit 2i is set where tag i matches. */
static inline uint32_t flowtab_match(const struct flowtab_bucket *b, uint16_t tag)
{
/* Ten aligned halfwords in one load: each is read whole, which the thread sanitizer cannot know. */
#if defined(__AVX2__) && !defined(__SANITIZE_THREAD__)
	__m256i tags = _mm256_load_si256((const __m256i *)b);
	__m256i eq = _mm256_cmpeq_epi16(tags, _mm256_set1_epi16((short)tag));

	return (uint32_t)_mm256_movemask_epi8(eq) & 0x55555;
#else
	uint32_t mask = 0;

	for (unsigned int i = 0; i < FLOWTAB_BUCKET_LEN; i++)
		mask |= (uint32_t)(atomic_load_explicit(&b->tag[i], memory_order_relaxed) == tag)
			<< (2 * i);
	return mask;
#endif
}

static inline bool flow_key4_eq(const struct flow_key4 *a, const struct flow_key4 *b)
{
	uint64_t x[2], y[2];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

static inline bool flow_key6_eq(const struct flow_key6 *a, const struct flow_key6 *b)
{
	uint64_t x[5], y[5];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4])) == 0;
}

/* Whole lookup of one key (slow path, control). Flow index or FLOW_NONE. The index stays good until the caller's next
 * quiescent state. */
uint32_t flowtab_find4(const struct flowtab *t, const struct flow_key4 *key);
uint32_t flowtab_find6(const struct flowtab *t, const struct flow_key6 *key);

/* The key of the opposite direction. */
static inline struct flow_key4 flow_key4_reverse(const struct flow_key4 *k)
{
	return (struct flow_key4){ k->dst, k->src, k->dport, k->sport, k->zone, k->proto,
		flow_key_kind_reverse(k->kind) };
}

static inline struct flow_key6 flow_key6_reverse(const struct flow_key6 *k)
{
	struct flow_key6 r = { .sport = k->dport,
		.dport = k->sport,
		.zone = k->zone,
		.proto = k->proto,
		.kind = flow_key_kind_reverse(k->kind) };

	memcpy(r.src, k->dst, 16);
	memcpy(r.dst, k->src, 16);
	return r;
}

/* Takes a connection (zeroed record, zeroed flows) for `worker`; its index, or FLOW_NONE when the table is full. */
uint32_t flowtab_alloc(struct flowtab *t, unsigned int worker);

/* Gives a connection back at once that was never published. */
void flowtab_abort(struct flowtab *t, unsigned int worker, uint32_t conn);

/* Publishes both flows of the connection under the keys in them, the reply's first, both or none: the buckets of both stay locked
 * meanwhile. 0; -EEXIST: the original direction's key is taken, by the flow in *out_taken (may be NULL), good until the caller's next
 * quiescent state; -EADDRINUSE: the reply's is; -ENOSPC: their buckets are full. On error no key could be found at any time. */
int flowtab_publish(struct flowtab *t, uint32_t conn, uint32_t *out_taken);

/* Marks the connection dead, without a look at the index: the next packet asks the layers, which find nothing, the keys may be
 * used again, its sweeper takes them out of the index and retires the record later. False: it is not published yet, or is gone already. Any worker, for a
 * connection that it found since its last quiescent state; the control thread between rcu_control_enter() and _leave(). */
bool flowtab_unlink(struct flowtab *t, uint32_t conn);

/* Unlinks both keys and retires the connection. Only its sweeper. */
void flowtab_remove(struct flowtab *t, unsigned int worker, uint32_t conn);

/* Moves retired connections whose grace period is over to the free list. Never blocks. Worker. */
void flowtab_reclaim(struct flowtab *t, unsigned int worker);

/* Looks at up to `max` connections of this worker's chunks, removes the timed-out. Number looked at. now_s: clock_s(). */
unsigned int flowtab_sweep(
	struct flowtab *t, unsigned int worker, unsigned int max, uint32_t now_s);

/* Adds to a flow's counters from a worker that is not its owner. */
void flowtab_count_foreign(
	struct flowtab *t, unsigned int worker, uint32_t flow, uint32_t pkts, uint32_t bytes);

/* Sum over all workers. Any thread; not a snapshot. */
struct flow_count flowtab_count(const struct flowtab *t, uint32_t flow);

/* Owner's counting: 48 bits in two words each. */
static inline void flow_prog_count(struct flow_prog *p, uint32_t bytes)
{
	uint32_t b = p->bytes_lo + bytes;

	p->bytes_hi = (uint16_t)(p->bytes_hi + (b < bytes));
	p->bytes_lo = b;
	if (unlikely(++p->pkts_lo == 0))
		p->pkts_hi++;
}

#endif
