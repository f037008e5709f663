/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/conn_window.h"

#include <string.h>

#include <rte_byteorder.h>

#define TCP_HEADER_LEN 20u
#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define TCP_OPTION_SCALE 3
#define SCALE_MAX 14 /* RFC 7323 s. 2.3 */
#define ACK_WINDOW_MIN                                                                             \
	66000u /* how old an acknowledgement may be at least (van Rooij's MAXACKWINDOW) */

_Atomic bool conn_tcp_strict;

/* --- segments ------------------------------------------------------------------------------------------------------- */

static void options_parse(const uint8_t *opt, uint32_t len, struct conn_segment *s)
{
	for (uint32_t i = 0; i < len && opt[i] != TCP_OPTION_END;) {
		if (opt[i] == TCP_OPTION_NOP) {
			i++;
			continue;
		}
		if (i + 1 >= len || opt[i + 1] < 2 || i + opt[i + 1] > len)
			return;
		if (opt[i] == TCP_OPTION_SCALE && opt[i + 1] == 3) {
			s->has_scale = true;
			s->scale = opt[i + 2] < SCALE_MAX ? opt[i + 2] : SCALE_MAX;
		}
		i += opt[i + 1];
	}
}

void conn_segment_parse(
	const uint8_t *tcp, uint32_t avail, uint32_t len, struct conn_segment *out_segment)
{
	uint32_t header_len = (tcp[12] >> 4) * 4u;
	rte_be32_t be[2];
	rte_be16_t win;

	memcpy(be, tcp + 4, sizeof(be));
	memcpy(&win, tcp + 14, sizeof(win));
	*out_segment = (struct conn_segment){ .seq = rte_be_to_cpu_32(be[0]),
		.ack = rte_be_to_cpu_32(be[1]),
		.len = len - header_len,
		.win = rte_be_to_cpu_16(win),
		.flags = tcp[13] };
	if ((tcp[13] & CONN_TCP_SYN) == 0)
		return;
	if (avail < header_len)
		out_segment->has_no_options = true;
	else
		options_parse(tcp + TCP_HEADER_LEN, header_len - TCP_HEADER_LEN, out_segment);
}

/* --- windows -------------------------------------------------------------------------------------------------------- */

/* One half as it is now: the other direction's worker may be at it. */
struct half {
	uint32_t end, ack, edge, win_max; /* win_max in bytes */
	uint8_t flags;
};

static bool is_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static uint32_t later(uint32_t a, uint32_t b)
{
	return is_before(a, b) ? b : a;
}

/* A window is scaled only if both SYNs offered it (RFC 7323 s. 2.2). */
static uint8_t scale_of(const struct conn_window *w, enum conn_dir dir)
{
	if ((atomic_load_explicit(&w->half[dir].flags, memory_order_relaxed) &
		    atomic_load_explicit(&w->half[!dir].flags, memory_order_relaxed) &
		    CONN_WINDOW_F_SCALE) == 0)
		return 0;
	return atomic_load_explicit(&w->half[dir].scale, memory_order_relaxed);
}

static struct half half_read(const struct conn_window *w, enum conn_dir dir)
{
	const struct conn_window_half *h = &w->half[dir];

	return (struct half){ .end = atomic_load_explicit(&h->end, memory_order_relaxed),
		.ack = atomic_load_explicit(&h->ack, memory_order_relaxed),
		.edge = atomic_load_explicit(&h->edge, memory_order_relaxed),
		.win_max = (uint32_t)atomic_load_explicit(&h->win_max, memory_order_relaxed)
			<< scale_of(w, dir),
		.flags = atomic_load_explicit(&h->flags, memory_order_relaxed) };
}

/* Behind the segment: SYN and FIN take a number each. */
static uint32_t segment_end(const struct conn_segment *s)
{
	return s->seq + s->len + ((s->flags & CONN_TCP_SYN) != 0) +
		((s->flags & CONN_TCP_FIN) != 0);
}

/* Whether the other side's SYN was seen, and offered no scale. */
static bool is_scale_declined(const struct conn_window *w, enum conn_dir dir)
{
	uint8_t flags = atomic_load_explicit(&w->half[!dir].flags, memory_order_relaxed);

	return (flags & (CONN_WINDOW_F_SYN | CONN_WINDOW_F_SCALE)) == CONN_WINDOW_F_SYN;
}

/* A SYN's window is kept as if what it offers were in force: undone when the answer declines. */
static void half_unscale(struct conn_window_half *h)
{
	uint32_t win = (uint32_t)atomic_load_explicit(&h->win_max, memory_order_relaxed)
		<< atomic_load_explicit(&h->scale, memory_order_relaxed);

	atomic_store_explicit(&h->scale, 0, memory_order_relaxed);
	atomic_store_explicit(
		&h->win_max, (uint16_t)(win < UINT16_MAX ? win : UINT16_MAX), memory_order_relaxed);
}

/* Lets what has passed move its sender's half. The window of a SYN is never scaled. */
static void half_advance(struct conn_window *w, enum conn_dir dir, const struct conn_segment *s)
{
	struct conn_window_half *h = &w->half[dir];
	struct half old = half_read(w, dir);
	bool is_syn = (s->flags & CONN_TCP_SYN) != 0;
	uint8_t scale = scale_of(w, dir);
	uint32_t win = (uint32_t)s->win << (is_syn ? 0 : scale), edge;
	uint16_t raw = s->win;

	if (s->has_scale && !is_scale_declined(w, dir))
		raw = (uint16_t)((s->win + (1u << s->scale) - 1) >> s->scale);
	atomic_store_explicit(&h->end, later(old.end, segment_end(s)), memory_order_relaxed);
	if (raw > atomic_load_explicit(&h->win_max, memory_order_relaxed))
		atomic_store_explicit(&h->win_max, raw, memory_order_relaxed);
	if ((s->flags & CONN_TCP_ACK) == 0)
		return;
	edge = s->ack + (win != 0 ? win : 1); /* a closed window is probed with one byte */
	if ((old.flags & CONN_WINDOW_F_ACK) != 0) {
		atomic_store_explicit(&h->ack, later(old.ack, s->ack), memory_order_relaxed);
		atomic_store_explicit(&h->edge, later(old.edge, edge), memory_order_relaxed);
		return;
	}
	atomic_store_explicit(&h->ack, s->ack, memory_order_relaxed);
	atomic_store_explicit(&h->edge, edge, memory_order_relaxed);
	/* release: ack and edge before the flag that makes them count */
	atomic_fetch_or_explicit(&h->flags, CONN_WINDOW_F_ACK, memory_order_release);
}

static void half_open(struct conn_window *w, enum conn_dir dir, const struct conn_segment *s)
{
	struct conn_window_half *h = &w->half[dir];
	uint8_t flags = (uint8_t)((s->has_no_options ? 0 : CONN_WINDOW_F_SYN) |
		(s->has_scale ? CONN_WINDOW_F_SCALE : 0));

	atomic_store_explicit(&h->end, segment_end(s), memory_order_relaxed);
	atomic_store_explicit(&h->win_max, 0, memory_order_relaxed);
	atomic_store_explicit(&h->scale, s->scale, memory_order_relaxed);
	atomic_store_explicit(&h->flags, flags, memory_order_release);
	if (is_scale_declined(w, !dir))
		half_unscale(&w->half[!dir]);
	half_advance(w, dir, s);
}

static bool ack_is_good(
	const struct half *from, const struct half *to, const struct conn_segment *s)
{
	uint32_t oldest = from->win_max > ACK_WINDOW_MIN ? from->win_max : ACK_WINDOW_MIN;

	return (s->flags & CONN_TCP_ACK) == 0 ||
		(!is_before(to->end, s->ack) && !is_before(s->ack, to->end - oldest));
}

/* Van Rooij's four bounds: no data beyond what the receiver offered, none that it has long had; acknowledgements only of what was
 * sent, and none that is older than a window. */
static bool segment_is_in_window(
	const struct half *from, const struct half *to, const struct conn_segment *s)
{
	if ((to->flags & CONN_WINDOW_F_ACK) != 0 &&
		(is_before(to->edge, s->seq) ||
			is_before(segment_end(s), from->end - to->win_max - 1)))
		return false;
	return ack_is_good(from, to, s);
}

/* RFC 5961 s. 3.2: exactly the next number that the receiver expects. Data may still be on its way to it, so the last
 * acknowledgement and the end of what was sent are both that. In SYN_SENT the acknowledgement of the SYN is the proof. */
static enum conn_window_verdict rst_check(enum conn_state state, const struct half *from,
	const struct half *to, const struct conn_segment *s)
{
	if (state == CONN_SYN_SENT && (from->flags & CONN_WINDOW_F_SYN) == 0)
		return (s->flags & CONN_TCP_ACK) != 0 && s->ack == to->end ? CONN_WINDOW_OK
									   : CONN_WINDOW_RST;
	if (s->seq == from->end || ((to->flags & CONN_WINDOW_F_ACK) != 0 && s->seq == to->ack))
		return CONN_WINDOW_OK;
	if ((to->flags & CONN_WINDOW_F_ACK) == 0 || is_before(s->seq, to->ack) ||
		is_before(to->edge, s->seq))
		return CONN_WINDOW_OUT;
	return CONN_WINDOW_RST;
}

/* A SYN, with or without ACK. */
static enum conn_window_verdict syn_check(struct conn_window *w, enum conn_state state,
	enum conn_dir dir, const struct half *from, const struct half *to,
	const struct conn_segment *s)
{
	bool has_ack = (s->flags & CONN_TCP_ACK) != 0;

	if (state != CONN_SYN_SENT && state != CONN_SYN_RECV)
		return CONN_WINDOW_UNTRACKED;
	if (has_ack && (to->flags & CONN_WINDOW_F_SYN) != 0 && !ack_is_good(from, to, s))
		return CONN_WINDOW_OUT;
	/* Retransmitted, perhaps with another number after all: its sender knows best until it is answered. */
	if (state == CONN_SYN_SENT || (from->flags & CONN_WINDOW_F_SYN) == 0)
		half_open(w, dir, s);
	else if (segment_end(s) == from->end)
		half_advance(w, dir, s);
	else
		return CONN_WINDOW_UNTRACKED;
	return CONN_WINDOW_OK;
}

enum conn_window_verdict conn_window_check(struct conn_window *w, enum conn_state state,
	enum conn_dir dir, const struct conn_segment *segment)
{
	struct half from = half_read(w, dir), to = half_read(w, !dir);
	uint8_t both = from.flags & to.flags, either = from.flags | to.flags;

	if ((segment->flags & CONN_TCP_SYN) != 0)
		return syn_check(w, state, dir, &from, &to, segment);
	if ((segment->flags & CONN_TCP_RST) != 0 &&
		((state == CONN_SYN_SENT ? either : both) & CONN_WINDOW_F_SYN) != 0)
		return rst_check(state, &from, &to, segment);
	if ((both & CONN_WINDOW_F_SYN) == 0 || (segment->flags & CONN_TCP_RST) != 0)
		return CONN_WINDOW_OK;
	if (!segment_is_in_window(&from, &to, segment))
		return CONN_WINDOW_OUT;
	half_advance(w, dir, segment);
	return CONN_WINDOW_OK;
}
