/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/usage.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "control/loop.h"
#include "control/tables.h"
#include "datapath/table/classifier.h"
#include "datapath/table/service.h"
#include "datapath/table/usage.h"

/* Live sums of one object; a stale pass number means zero. */
struct sum {
	uint64_t pkts, bytes;
	uint32_t pass, pad;
};

static struct sum *backends, *rules;
static uint32_t pass, published_pass;
static uint64_t done_ns;
static uint64_t next; /* connection to look at next: IPv4 ones first, then IPv6; 0 between passes */

static struct sum *sums_map(size_t n)
{
	void *sums = mmap(NULL, n * sizeof(struct sum), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return sums != MAP_FAILED ? sums : NULL;
}

int usage_init(void)
{
	backends = sums_map(2ull * BACKEND_TABLE_MAX);
	rules = sums_map(2ull * RULE_MAX);
	pass = published_pass = 0;
	next = 0;
	done_ns = 0;
	return backends != NULL && rules != NULL ? 0 : -ENOMEM;
}

void usage_fini(void)
{
	if (backends != NULL)
		munmap(backends, 2ull * BACKEND_TABLE_MAX * sizeof(*backends));
	if (rules != NULL)
		munmap(rules, 2ull * RULE_MAX * sizeof(*rules));
	backends = rules = NULL;
}

/* Two sums an object: the finished pass is read while the next one is made. */
static struct sum *sum_at(struct sum *sums, uint32_t idx, uint32_t of_pass)
{
	return &sums[2ull * idx + (of_pass & 1)];
}

static void sum_add(struct sum *s, const struct usage_conn *u)
{
	if (s->pass != pass)
		*s = (struct sum){ .pass = pass };
	s->pkts += u->pkts;
	s->bytes += u->bytes;
}

static void conn_add(const struct flowtab *t, uint32_t conn)
{
	struct usage_conn u;

	if (!usage_conn_read(t, conn, &u))
		return;
	if (u.backend != SLOT_NONE)
		sum_add(sum_at(backends, u.backend, pass), &u);
	for (unsigned int d = 0; d < 2; d++)
		if (u.rule[d] != SLOT_NONE)
			sum_add(sum_at(rules, u.rule[d], pass), &u);
}

static void scan(uint64_t max)
{
	uint64_t n_v4 = flowtab_n_touched(&tables_flow4);
	uint64_t end = n_v4 + flowtab_n_touched(&tables_flow6);

	if (next == 0)
		pass++;
	for (; next < end && max > 0; next++, max--)
		conn_add(next < n_v4 ? &tables_flow4 : &tables_flow6,
			(uint32_t)(next < n_v4 ? next : next - n_v4));
	if (next < end)
		return;
	next = 0;
	published_pass = pass;
	done_ns = loop_now_ns();
}

static void refresh(void)
{
	if (published_pass != 0 && loop_now_ns() - done_ns < USAGE_AGE_NS)
		return;
	scan(USAGE_SCAN_MAX);
}

static struct usage total(
	struct sum *sums, uint32_t idx, uint64_t n_conns, uint64_t pkts, uint64_t bytes)
{
	const struct sum *live = sum_at(sums, idx, published_pass);
	struct usage out = { .n_conns = n_conns, .pkts = pkts, .bytes = bytes };

	if (live->pass == published_pass) {
		out.pkts += live->pkts;
		out.bytes += live->bytes;
	}
	return out;
}

struct usage usage_of_backend(uint32_t backend)
{
	const struct backend *b = backend_at(backend);

	refresh();
	return total(backends, backend, atomic_load_explicit(&b->n_conns, memory_order_relaxed),
		atomic_load_explicit(&b->pkts, memory_order_relaxed),
		atomic_load_explicit(&b->bytes, memory_order_relaxed));
}

struct usage usage_of_rule(uint32_t rule)
{
	const struct rule *r = rule_at(rule);

	refresh();
	return total(rules, rule, atomic_load_explicit(&r->n_conns, memory_order_relaxed),
		atomic_load_explicit(&r->pkts, memory_order_relaxed),
		atomic_load_explicit(&r->bytes, memory_order_relaxed));
}
