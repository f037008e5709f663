/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/conn.h"

#include <netinet/in.h>

/* Defaults: TCP established RFC 5382 REQ-5 (2 h 4 min), transitory 4 min at most; UDP RFC 4787 REQ-5 (2 min, 5 recommended)
 * as Linux has it (30 s until replied); ICMP RFC 5508 REQ-2 (60 s). */
_Atomic uint32_t conn_timeouts_s[CONN_CLASS_N][CONN_STATE_N] = {
	[CONN_TCP] = { [CONN_SYN_SENT] = 30,
		[CONN_SYN_RECV] = 30,
		[CONN_ESTABLISHED] = 7440,
		[CONN_FIN_WAIT] = 120,
		[CONN_TIME_WAIT] = 60,
		[CONN_CLOSED] = 10 },
	[CONN_UDP] = { [CONN_NEW] = 30, [CONN_REPLIED] = 120 },
	[CONN_ICMP] = { [CONN_NEW] = 30, [CONN_REPLIED] = 60 },
	[CONN_OTHER] = { [CONN_NEW] = 60, [CONN_REPLIED] = 600 },
};

static enum conn_class class_of(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return CONN_TCP;
	case IPPROTO_UDP:
		return CONN_UDP;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return CONN_ICMP;
	default:
		return CONN_OTHER;
	}
}

uint32_t conn_timeout_s(uint8_t proto, enum conn_state state)
{
	return atomic_load_explicit(&conn_timeouts_s[class_of(proto)][state], memory_order_relaxed);
}

enum conn_state conn_first_state(uint8_t proto, uint8_t tcp_flags)
{
	if (proto != IPPROTO_TCP)
		return CONN_NEW;
	if ((tcp_flags & CONN_TCP_RST) != 0)
		return CONN_CLOSED;
	if ((tcp_flags & (CONN_TCP_SYN | CONN_TCP_ACK)) == CONN_TCP_SYN)
		return CONN_SYN_SENT;
	if ((tcp_flags & CONN_TCP_SYN) != 0)
		return CONN_SYN_RECV;
	return (tcp_flags & CONN_TCP_FIN) != 0 ? CONN_FIN_WAIT : CONN_ESTABLISHED;
}

static enum conn_state tcp_next(struct conn *c, enum conn_state s, enum conn_dir dir, uint8_t f)
{
	uint8_t fin = dir == CONN_ORIG ? CONN_F_FIN_ORIG : CONN_F_FIN_REPLY;

	if ((f & CONN_TCP_RST) != 0)
		return CONN_CLOSED;
	if ((f & CONN_TCP_SYN) != 0) {
		if ((f & CONN_TCP_ACK) != 0)
			return s == CONN_SYN_SENT ? CONN_SYN_RECV : s;
		if (s >= CONN_FIN_WAIT && s != CONN_DEAD) {
			/* The same tuple again: a new connection. */
			atomic_fetch_and_explicit(
				&c->flags, (uint8_t)~CONN_F_FINS, memory_order_relaxed);
			return CONN_SYN_SENT;
		}
		return s;
	}
	if ((f & CONN_TCP_FIN) != 0 && s < CONN_CLOSED) {
		uint8_t seen = atomic_fetch_or_explicit(&c->flags, fin, memory_order_relaxed) | fin;

		return (seen & CONN_F_FINS) == CONN_F_FINS ? CONN_TIME_WAIT : CONN_FIN_WAIT;
	}
	/* The ACK that ends the handshake comes from the opener; data from the other side means that it was lost to us. */
	if (s == CONN_SYN_RECV && dir == CONN_ORIG)
		return CONN_ESTABLISHED;
	return s;
}

bool conn_track(struct conn *c, enum conn_dir dir, uint8_t tcp_flags)
{
	enum conn_state s = atomic_load_explicit(&c->state, memory_order_relaxed), next = s;

	if (s == CONN_FREE || s == CONN_DEAD)
		return false; /* on its way out: the next packet opens a new one */
	if (c->proto == IPPROTO_TCP)
		next = tcp_next(c, s, dir, tcp_flags);
	else if (s == CONN_NEW && dir == CONN_REPLY)
		next = CONN_REPLIED;
	if (next != s) {
		uint8_t expected = (uint8_t)s;

		/* A state that another worker has changed meanwhile (or that died) wins. */
		atomic_compare_exchange_strong_explicit(&c->state, &expected, (uint8_t)next,
			memory_order_relaxed, memory_order_relaxed);
	}
	return next == CONN_NEW || next == CONN_SYN_SENT || next == CONN_SYN_RECV;
}

const char *conn_state_name(enum conn_state state)
{
	static const char *const names[CONN_STATE_N] = { "free", "new", "replied", "syn_sent",
		"syn_recv", "established", "fin_wait", "time_wait", "closed", "dead" };

	return (unsigned int)state < CONN_STATE_N ? names[state] : "?";
}
