/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/fast/strict.h"

#include <netinet/in.h>

#include "datapath/packet/parse.h"

#include "datapath/fast/poison.h"

#define L3_OFF 14u
#define IP6_HEADER_LEN 40u

/* Offset of the TCP header; 0 for a fragment. */
static uint32_t tcp_off(const struct batch *b, uint64_t i, const uint8_t *data, bool is_v6)
{
	struct parsed pkt;

	if ((is_v6 ? b->key[i].k6.kind : b->key[i].k4.kind) != FLOW_KEY_L4)
		return 0;
	if (!is_v6)
		return L3_OFF + (data[L3_OFF] & 15) * 4u;
	if (data[L3_OFF + 6] == IPPROTO_TCP)
		return L3_OFF + IP6_HEADER_LEN;
	/* behind extension headers */
	return parse_frame(b->m[i], &pkt) == DROP_NONE ? pkt.l4_off : 0;
}

enum conn_window_verdict strict_check(
	struct worker *w, struct batch *b, uint64_t i, bool is_v6, bool *out_is_known)
{
	const struct flowtab *t = is_v6 ? w->ft6 : w->ft4;
	struct conn_window *windows = atomic_load_explicit(&t->windows, memory_order_acquire), *own;
	const uint8_t *data = rte_pktmbuf_mtod(b->m[i], const uint8_t *);
	uint32_t flow = b->flow[i], off;
	struct conn_segment segment;
	enum conn_window_verdict verdict;

	*out_is_known = false;
	if (windows == NULL || !atomic_load_explicit(&conn_tcp_strict, memory_order_relaxed))
		return CONN_WINDOW_OK;
	off = tcp_off(b, i, data, is_v6);
	if (off == 0)
		return CONN_WINDOW_OK;
	own = &windows[flow >> 1];
	conn_segment_parse(data + off, b->m[i]->data_len - off, L3_OFF + b->len[i] - off, &segment);
	verdict = conn_window_check(own,
		(enum conn_state)atomic_load_explicit(
			&t->conns[flow >> 1].state, memory_order_relaxed),
		(enum conn_dir)(flow & 1), &segment);
	*out_is_known = conn_window_is_known(own);
	return verdict;
}
