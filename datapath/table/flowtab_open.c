/* SPDX-License-Identifier: BSD-3-Clause */
/* Making, adopting and closing a flow table. The saved region is hostile input: nothing in it is used as an index. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <rte_hash_crc.h>

#include "datapath/base/clock.h"
#include "datapath/base/slots.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/flowtab_layout.h"
#include "datapath/table/path.h"
#include "datapath/table/restart.h"

#define FILL_PERCENT 80u
#define COUNT_STEP 4096u /* connections in a look of the control thread */

struct layout {
	uint32_t n_buckets;
	size_t buckets, conns, flows, size; /* offsets and total, bytes */
};

static size_t flow_size(bool is_v6)
{
	return is_v6 ? sizeof(struct flow6) : sizeof(struct flow4);
}

static struct layout layout_of(bool is_v6, uint32_t n_conns)
{
	struct layout l;

	l.n_buckets = (uint32_t)((2ull * n_conns * 100 / FILL_PERCENT + FLOWTAB_BUCKET_LEN - 1) /
		FLOWTAB_BUCKET_LEN);
	l.buckets = RTE_ALIGN_CEIL(sizeof(struct flowtab_header), (size_t)4096);
	l.conns = l.buckets + l.n_buckets * sizeof(struct flowtab_bucket);
	l.flows = RTE_ALIGN_CEIL(l.conns + n_conns * sizeof(struct conn), (size_t)4096);
	l.size = l.flows + 2 * (size_t)n_conns * flow_size(is_v6);
	return l;
}

size_t flowtab_size_bytes(bool is_v6, uint32_t n_conns)
{
	return layout_of(is_v6, n_conns).size;
}

static uint32_t header_checksum(const struct flowtab_header *h)
{
	return rte_hash_crc(h, offsetof(struct flowtab_header, checksum), 0);
}

static const char *header_refuse(
	const struct flowtab_header *h, bool is_v6, uint32_t n_conns, uint32_t n_buckets)
{
	if (h->magic != FLOWTAB_MAGIC)
		return "no flow table in the file";
	if (h->version != FLOWTAB_VERSION)
		return "another layout version";
	if (h->checksum != header_checksum(h))
		return "header checksum wrong";
	if (h->is_v6 != is_v6 || h->flow_size != flow_size(is_v6) ||
		h->conn_size != sizeof(struct conn) ||
		h->bucket_size != sizeof(struct flowtab_bucket))
		return "other sizes of entries";
	if (h->n_conns != n_conns || h->n_buckets != n_buckets || h->n_touched > n_conns)
		return "another number of connections";
	return NULL;
}

static int header_make(struct flowtab_header *h, bool is_v6, uint32_t n_conns, uint32_t n_buckets)
{
	*h = (struct flowtab_header){ .magic = FLOWTAB_MAGIC,
		.version = FLOWTAB_VERSION,
		.is_v6 = is_v6,
		.flow_size = (uint32_t)flow_size(is_v6),
		.conn_size = sizeof(struct conn),
		.bucket_size = sizeof(struct flowtab_bucket),
		.n_conns = n_conns,
		.n_buckets = n_buckets };
	if (getrandom(h->seed, sizeof(h->seed), 0) != (ssize_t)sizeof(h->seed))
		return -EIO;
	h->checksum = header_checksum(h);
	return 0;
}

/* Whether the flow was judged by what stood when its process ended, and what it refers to is there again. */
static bool is_current(const struct flow_prog *p)
{
	return (p->flags & FLOW_F_UNJUDGED) == 0 && p->epoch == restart_epoch() &&
		restart_may_run(p->in_port, p->path);
}

/* A flow's program and times in the terms of this process. Rate limits rest until it is judged again. */
static void prog_restore(struct flow_prog *p, uint32_t saved_now_s, uint32_t now_s)
{
	/* A worker may have stamped a second that was not saved any more. */
	int32_t idle_s = (int32_t)(saved_now_s - p->last_seen_s);
	uint16_t keep = FLOW_F_NAT | FLOW_F_TCP;

	if (is_current(p)) {
		p->flags = (uint16_t)((p->flags & (keep | FLOW_F_KEEP_TTL | FLOW_F_MTU)) |
			FLOW_F_ADOPTED | FLOW_F_TRACK);
	} else {
		p->flags = (uint16_t)((p->flags & keep) | FLOW_F_UNJUDGED | FLOW_F_TRACK);
		p->path = PATH_NONE;
	}
	/* Who runs before it is judged counts by worker 0's entry. */
	p->owner = (p->flags & FLOW_F_UNJUDGED) != 0 ? FLOW_OWNER_NONE : 0;
	p->epoch = 0; /* never a worker's: the rare way in stage_lookup.c */
	if (idle_s < 0)
		idle_s = 0;
	p->last_seen_s = now_s - RTE_MIN((uint32_t)idle_s, now_s);
}

/* Makes a saved connection fit to be used again, or says that it cannot. */
static bool conn_restore(struct flowtab *t, uint32_t i, uint32_t saved_now_s, uint32_t now_s)
{
	struct conn *c = &t->conns[i];

	if (c->state == CONN_FREE || c->state >= CONN_LAPSED)
		return false;
	c->opener = SLOT_NONE;
	c->service = c->backend = c->rule[0] = c->rule[1] = SLOT_NONE;
	c->flags &= CONN_F_FINS | CONN_F_RSTS | CONN_F_RESET;
	c->created_s = now_s - (saved_now_s - c->created_s);
	for (unsigned int d = 0; d < CONN_DIR_N; d++) {
		c->route[d] = c->endpoint[d] = SLOT_NONE;
		prog_restore(flowtab_prog(t, 2 * i + d), saved_now_s, now_s);
	}
	return true;
}

static void adopt(struct flowtab *t)
{
	uint32_t saved_now_s = t->header->now_s, now_s = clock_s(), n = t->header->n_touched;
	uint32_t n_free = 0;

	memset(t->buckets, 0, t->n_buckets * sizeof(*t->buckets));
	for (uint32_t i = 0; i < n; i++) {
		if (conn_restore(t, i, saved_now_s, now_s) && flowtab_publish(t, i, NULL) == 0) {
			t->n_adopted++;
			continue;
		}
		memset(&t->conns[i], 0, sizeof(t->conns[i]));
		t->conns[i].next = t->free_head;
		t->free_head = i;
		n_free++;
	}
	atomic_store_explicit(&t->n_free, n_free, memory_order_relaxed);
	atomic_store_explicit(&t->n_touched, n, memory_order_relaxed);
}

/* Counted before it is claimed: whoever removes the connection meanwhile has then something to take back. */
static void adopted_count(struct flowtab *t, uint32_t i)
{
	struct conn *c = &t->conns[i];
	uint32_t none = ENDPOINT_NONE, ep;
	struct ip_addr src;

	if (atomic_load_explicit(&c->state, memory_order_acquire) == CONN_FREE ||
		atomic_load_explicit(&c->opener, memory_order_relaxed) != ENDPOINT_NONE)
		return;
	if (t->is_v6)
		memcpy(src.b, flowtab_flow6(t, 2 * i)->key.src, sizeof(src.b));
	else
		src = ip_from_v4(flowtab_flow4(t, 2 * i)->key.src);
	ep = endpoint_by_addr(c->zone, &src);
	if (ep == ENDPOINT_NONE)
		return;
	endpoint_conn_get(ep);
	if (!atomic_compare_exchange_strong_explicit(
		    &c->opener, &none, ep, memory_order_relaxed, memory_order_relaxed))
		endpoint_conn_put(ep);
}

/* Unless a worker has judged it meanwhile: then it is adopted no longer. */
static void adopted_unjudge(struct flow_prog *p)
{
	uint16_t flags = atomic_load_explicit(&p->flags, memory_order_relaxed);

	while ((flags & FLOW_F_ADOPTED) != 0 &&
		!atomic_compare_exchange_weak_explicit(&p->flags, &flags,
			(uint16_t)((flags & ~FLOW_F_ADOPTED) | FLOW_F_UNJUDGED),
			memory_order_relaxed, memory_order_relaxed))
		;
}

void flowtab_settle(struct flowtab *t)
{
	for (uint32_t i = 0; t->n_adopted > 0 && i < flowtab_n_touched(t);) {
		uint32_t end = RTE_MIN(i + COUNT_STEP, flowtab_n_touched(t));

		rcu_control_enter();
		for (; i < end; i++) {
			adopted_count(t, i);
			for (unsigned int d = 0; d < CONN_DIR_N; d++)
				adopted_unjudge(flowtab_prog(t, 2 * i + d));
		}
		rcu_control_leave();
	}
}

static void sides_open(struct flowtab *t)
{
	if (t->n_workers < 2)
		return;
	for (unsigned int w = 0; w < t->n_workers; w++) {
		void *side = mmap(NULL, 2 * (size_t)t->n_conns * sizeof(struct flow_count),
			PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (side != MAP_FAILED)
			atomic_store_explicit(&t->side[w], side, memory_order_release);
	}
}

int flowtab_windows_open(struct flowtab *t)
{
	void *windows;

	if (atomic_load_explicit(&t->windows, memory_order_relaxed) != NULL)
		return 0;
	windows = mmap(NULL, (size_t)t->n_conns * sizeof(struct conn_window),
		PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (windows == MAP_FAILED)
		return -ENOMEM;
	/* release: pairs with the acquire of the workers */
	atomic_store_explicit(&t->windows, windows, memory_order_release);
	return 0;
}

int flowtab_open(struct flowtab *t, const char *instance, bool is_v6, uint32_t n_conns,
	unsigned int n_workers, int node, const char **out_cold_reason)
{
	struct layout l = layout_of(is_v6, n_conns);
	const char *reason = NULL;
	int ret;

	memset(t, 0, sizeof(*t));
	*out_cold_reason = NULL;
	ret = region_open(&t->region, instance, is_v6 ? "flow6" : "flow4", l.size, node);
	if (ret < 0)
		return ret;
	t->header = t->region.addr;
	t->buckets = (struct flowtab_bucket *)((uint8_t *)t->region.addr + l.buckets);
	t->conns = (struct conn *)((uint8_t *)t->region.addr + l.conns);
	t->flows = (uint8_t *)t->region.addr + l.flows;
	t->is_v6 = is_v6;
	t->n_conns = n_conns;
	t->n_buckets = l.n_buckets;
	t->n_workers = n_workers;
	t->free_head = FLOW_NONE;
	for (unsigned int w = 0; w < RCU_MAX_READERS; w++) {
		t->cache[w].free_head = FLOW_NONE;
		t->cache[w].sweep_next = w * 64;
	}
	t->zone_n_conns = calloc(CONN_ZONE_N, sizeof(*t->zone_n_conns));
	if (t->zone_n_conns == NULL) {
		ret = -ENOMEM;
		goto err_region;
	}
	if (t->region.is_adopted)
		reason = header_refuse(t->header, is_v6, n_conns, l.n_buckets);
	if (!t->region.is_adopted || reason != NULL) {
		*out_cold_reason = reason;
		if (t->region.is_adopted)
			memset(t->region.addr, 0, l.size);
		ret = header_make(t->header, is_v6, n_conns, l.n_buckets);
		if (ret < 0)
			goto err_zones;
	}
	memcpy(t->seed, t->header->seed, sizeof(t->seed));
	if (t->region.is_adopted && reason == NULL)
		adopt(t);
	sides_open(t);
	return 0;

err_zones:
	free(t->zone_n_conns);
err_region:
	region_close(&t->region, false);
	return ret;
}

void flowtab_close(struct flowtab *t, bool keep)
{
	for (unsigned int w = 0; w < RCU_MAX_READERS; w++)
		if (t->side[w] != NULL)
			munmap(t->side[w], 2 * (size_t)t->n_conns * sizeof(struct flow_count));
	free(t->zone_n_conns);
	if (t->windows != NULL)
		munmap(t->windows, (size_t)t->n_conns * sizeof(struct conn_window));
	if (t->region.addr != NULL)
		region_close(&t->region, keep);
	memset(t, 0, sizeof(*t));
}

void flowtab_heartbeat(struct flowtab *t, uint32_t now_s)
{
	atomic_store_explicit(&t->header->now_s, now_s, memory_order_relaxed);
}
