/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/conn.h"

#include <netinet/in.h>

_Atomic uint32_t conn_zone_max[CONN_ZONE_N];

/* Defaults, none below its RFC's floor; early drop bounds what a flood may hold (conn_is_expendable()).
 * TCP and SCTP: established at least 2 h 4 min, half-open and ended at least 4 min (RFC 5382 REQ-5; RFC 7857 s. 2.1 recommends them
 * for half-open ones, too); with one FIN as established (RFC 6146 s. 3.5.2.2); after a RST 4 min, since it may be forged (RFC 7857
 * s. 2.2). UDP: at least 2 min, 5 recommended (RFC 4787 REQ-5). ICMP queries: at least 60 s (RFC 5508 REQ-2). Others have no RFC:
 * 10 min as Linux's generic tracking, 1 min before the first answer. */
static const uint32_t defaults_s[CONN_CLASS_N][CONN_STATE_N] = {
	[CONN_TCP] = { [CONN_SYN_SENT] = 240,
		[CONN_SYN_RECV] = 240,
		[CONN_ESTABLISHED] = 7440,
		[CONN_FIN_WAIT] = 7440,
		[CONN_TIME_WAIT] = 240,
		[CONN_CLOSED] = 240 },
	[CONN_UDP] = { [CONN_NEW] = 120, [CONN_REPLIED] = 300 },
	[CONN_ICMP] = { [CONN_NEW] = 60, [CONN_REPLIED] = 60 },
	[CONN_OTHER] = { [CONN_NEW] = 60, [CONN_REPLIED] = 600 },
};

/* What was set; 0: the default. */
static _Atomic uint32_t timeouts_s[CONN_CLASS_N][CONN_STATE_N];

void conn_timeout_set(enum conn_class class, enum conn_state state, uint32_t seconds)
{
	atomic_store_explicit(&timeouts_s[class][state], seconds, memory_order_relaxed);
}

uint32_t conn_timeout_get(enum conn_class class, enum conn_state state)
{
	uint32_t s = atomic_load_explicit(&timeouts_s[class][state], memory_order_relaxed);

	return s != 0 ? s : defaults_s[class][state];
}

static enum conn_class class_of(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
	case IPPROTO_SCTP:
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
	return conn_timeout_get(class_of(proto), state);
}

enum conn_state conn_first_state(uint8_t proto, uint8_t tcp_flags)
{
	if (!conn_has_handshake(proto))
		return CONN_NEW;
	return conn_tcp_is_syn(tcp_flags) ? CONN_SYN_SENT : CONN_ESTABLISHED;
}

/* The state that the FINs seen so far mean. */
static enum conn_state tcp_open_state(uint8_t flags)
{
	switch (flags & CONN_F_FINS) {
	case 0:
		return CONN_ESTABLISHED;
	case CONN_F_FINS:
		return CONN_TIME_WAIT;
	default:
		return CONN_FIN_WAIT;
	}
}

/* A SYN changes nothing but an open question: the other side's answers it, with ACK or crossing it (RFC 9293 s. 3.5). On an open
 * connection the endpoint answers it with a challenge ACK (RFC 5961 s. 4); on one that is over the layers begin a new one. */
static enum conn_state tcp_next(struct conn *c, enum conn_state s, enum conn_dir dir, uint8_t f)
{
	uint8_t flags = atomic_load_explicit(&c->flags, memory_order_relaxed);
	uint8_t own_rst = dir == CONN_ORIG ? CONN_F_RST_ORIG : CONN_F_RST_REPLY;

	if ((f & CONN_TCP_RST) != 0) {
		atomic_fetch_or_explicit(&c->flags, own_rst, memory_order_relaxed);
		return CONN_CLOSED;
	}
	/* What the opener says itself proves nothing, and the other side's ACK may be a challenge. */
	if (s == CONN_SYN_SENT)
		return dir == CONN_REPLY && (f & CONN_TCP_SYN) != 0 ? CONN_SYN_RECV : s;
	/* Only who was told can show that a RST was not believed: else its sender could keep the tuple open for himself. */
	if ((f & CONN_TCP_SYN) != 0 || (s == CONN_CLOSED && (flags & own_rst) != 0))
		return s;
	if (s == CONN_CLOSED)
		atomic_fetch_and_explicit(&c->flags, (uint8_t)~CONN_F_RSTS, memory_order_relaxed);
	if ((f & CONN_TCP_FIN) != 0) {
		uint8_t fin = dir == CONN_ORIG ? CONN_F_FIN_ORIG : CONN_F_FIN_REPLY;

		return tcp_open_state(
			atomic_fetch_or_explicit(&c->flags, fin, memory_order_relaxed) | fin);
	}
	/* The handshake's end, even if its ACK was lost to us; or the RST was not believed. */
	return s == CONN_SYN_RECV || s == CONN_CLOSED ? tcp_open_state(flags) : s;
}

bool conn_track(struct conn *c, enum conn_dir dir, uint8_t tcp_flags)
{
	enum conn_state s = atomic_load_explicit(&c->state, memory_order_relaxed), next = s;

	if (s == CONN_FREE || s == CONN_DEAD)
		return false; /* on its way out: the next packet opens a new one */
	if (conn_has_handshake(c->proto))
		next = tcp_next(c, s, dir, tcp_flags);
	else if (s == CONN_NEW && dir == CONN_REPLY)
		next = CONN_REPLIED;
	if (next != s) {
		uint8_t expected = (uint8_t)s;

		/* A state that another worker has changed meanwhile (or that died) wins. */
		atomic_compare_exchange_strong_explicit(&c->state, &expected, (uint8_t)next,
			memory_order_relaxed, memory_order_relaxed);
	}
	return conn_is_tracked(next);
}

const char *conn_state_name(enum conn_state state)
{
	static const char *const names[CONN_STATE_N] = { "free", "new", "replied", "syn_sent",
		"syn_recv", "established", "fin_wait", "time_wait", "closed", "lapsed", "dead" };

	return (unsigned int)state < CONN_STATE_N ? names[state] : "?";
}
