/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Strict TCP tracking: whether a segment lies in the windows that both sides have announced (G. van Rooij, "Real Stateful
 * TCP Packet Filtering in IP Filter"; RFC 9293, RFC 7323 window scaling), and whether a RST is believable (RFC 5961).
 *
 * One record a connection in a side array (flowtab.h), 32 bytes, only when strict tracking is on. Each direction's half is
 * written by the worker that forwards it and read by the other; a SYN that opens the tuple anew has a record of its own.
 * A connection whose handshake was not seen has no window scale: its segments all pass.
 */
#ifndef LEAT_TABLE_CONN_WINDOW_H
#define LEAT_TABLE_CONN_WINDOW_H

#include "datapath/table/conn.h"

struct conn_window_half {
	_Atomic uint32_t end;	  /* behind the last sequence number sent */
	_Atomic uint32_t ack;	  /* last acknowledgement sent: the far side's SND.UNA */
	_Atomic uint32_t edge;	  /* right edge of the window offered: what the far side may send */
	_Atomic uint16_t win_max; /* largest window offered, unscaled */
	_Atomic uint8_t scale;	  /* of its windows, if both sides offered one */
	_Atomic uint8_t flags;	  /* CONN_WINDOW_F_… */
};

struct conn_window {
	struct conn_window_half half[CONN_DIR_N];
};
static_assert(sizeof(struct conn_window) == 32, "192 + 32 bytes a connection");

#define CONN_WINDOW_F_SYN (1u << 0)   /* its SYN or SYN+ACK was seen */
#define CONN_WINDOW_F_SCALE (1u << 1) /* … with a window scale option */
#define CONN_WINDOW_F_ACK (1u << 2)   /* ack and edge are known */

struct conn_segment {
	uint32_t seq, ack;
	uint32_t len; /* payload, of a super-frame all of it */
	uint16_t win;
	uint8_t flags;
	bool has_scale;
	uint8_t scale;	     /* of a SYN */
	bool has_no_options; /* of a SYN whose options are cut off: the scale stays unknown */
};

enum conn_window_verdict {
	CONN_WINDOW_OK,
	CONN_WINDOW_UNTRACKED, /* passes, and changes no state: a SYN on an open connection, for the endpoint to challenge */
	CONN_WINDOW_OUT, /* not in the window */
	CONN_WINDOW_RST, /* a RST in the window, but not at RCV.NXT */
};

/* Whether connections opened (or judged again) from now on are tracked by windows. Control thread sets, workers read. */
extern _Atomic bool conn_tcp_strict;

/* Whether a half's handshake was seen: only then are its connection's segments worth looking at. */
static inline bool conn_window_is_known(const struct conn_window *w)
{
	return ((atomic_load_explicit(&w->half[CONN_ORIG].flags, memory_order_relaxed) |
			atomic_load_explicit(&w->half[CONN_REPLY].flags, memory_order_relaxed)) &
		       CONN_WINDOW_F_SYN) != 0;
}

/* A segment from its header: avail bytes of it are there (20 at least), len bytes with its payload. */
void conn_segment_parse(
	const uint8_t *tcp, uint32_t avail, uint32_t len, struct conn_segment *out_segment);

/* Judges a segment of direction dir of a connection in `state` (before conn_track()); what passes moves the windows. Worker. */
enum conn_window_verdict conn_window_check(struct conn_window *w, enum conn_state state,
	enum conn_dir dir, const struct conn_segment *segment);

#endif
