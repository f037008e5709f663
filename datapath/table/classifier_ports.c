/* SPDX-License-Identifier: BSD-3-Clause */
/* Port ranges as the fewest port prefixes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "datapath/table/classifier_node.h"

static int range_cmp(const void *a, const void *b)
{
	const struct port_range *x = a, *y = b;

	return x->lo != y->lo ? x->lo - y->lo : x->hi - y->hi;
}

/* Sorted; overlapping and adjacent ones become one. Their number. */
static unsigned int ranges_merge(struct port_range *r, unsigned int n)
{
	unsigned int n_merged = 0;

	qsort(r, n, sizeof(*r), range_cmp);
	for (unsigned int i = 0; i < n; i++) {
		struct port_range *last = &r[n_merged - 1];

		if (n_merged > 0 && r[i].lo <= last->hi + 1)
			last->hi = RTE_MAX(last->hi, r[i].hi);
		else
			r[n_merged++] = r[i];
	}
	return n_merged;
}

unsigned int port_prefixes(
	const struct port_range *ranges, unsigned int n, struct port_prefix out[PORT_PREFIXES_MAX])
{
	struct port_range merged[RULE_PORTS_MAX];
	unsigned int n_out = 0;

	if (n == 0) {
		out[0] = (struct port_prefix){ .len = PORT_LEN_ANY };
		return 1;
	}
	memcpy(merged, ranges, n * sizeof(*ranges));
	n = ranges_merge(merged, n);
	for (unsigned int i = 0; i < n; i++) {
		uint32_t lo = merged[i].lo, end = merged[i].hi + 1u;

		while (lo < end) {
			/* the largest aligned block that starts at lo and does not pass the end */
			unsigned int bits = lo == 0 ? 16 : (unsigned int)__builtin_ctz(lo);

			while (lo + (1u << bits) > end)
				bits--;
			out[n_out++] = (struct port_prefix){ .port = (uint16_t)lo,
				.len = (uint8_t)(16 - bits) };
			lo += 1u << bits;
		}
	}
	return n_out;
}
