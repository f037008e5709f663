/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connection records: the state that both directions of a flow share. Written when the state changes, so that an
 * established flow's packets touch only their flow entry. TCP is tracked liberally, by flags only, picked up mid-stream. Then a
 * RST proves nothing: it shortens the time-out, and the next segment of the side that was told brings the connection back. SCTP
 * has TCP's states: its chunks are read as flags (packet/parse.h).
 */
#ifndef LEAT_TABLE_CONN_H
#define LEAT_TABLE_CONN_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <netinet/in.h>

enum conn_state {
	CONN_FREE,
	CONN_NEW,	  /* one direction seen (UDP, ICMP, other) */
	CONN_REPLIED,	  /* both directions seen (UDP, ICMP, other) */
	CONN_SYN_SENT,	  /* SYN */
	CONN_SYN_RECV,	  /* SYN, SYN+ACK */
	CONN_ESTABLISHED, /* handshake complete, or picked up mid-stream */
	CONN_FIN_WAIT,	  /* FIN from one side */
	CONN_TIME_WAIT,	  /* FIN from both */
	CONN_CLOSED,	  /* RST */
	CONN_LAPSED, /* UDP to a service, idle for too long: a late answer is still translated, its client begins anew */
	CONN_DEAD, /* to be removed by the sweeper as soon as it comes by (flush, endpoint gone) */
	CONN_STATE_N
};

enum conn_dir { CONN_ORIG, CONN_REPLY, CONN_DIR_N };

#define CONN_F_FIN_ORIG (1u << 0)
#define CONN_F_FIN_REPLY (1u << 1)
#define CONN_F_FINS (CONN_F_FIN_ORIG | CONN_F_FIN_REPLY)
#define CONN_F_RST_ORIG (1u << 2)
#define CONN_F_RST_REPLY (1u << 3)
#define CONN_F_RSTS (CONN_F_RST_ORIG | CONN_F_RST_REPLY)

#define CONN_F_RESET                                                                               \
	(1u << 4) /* TCP is to be reset when its service is deleted: as that was configured at its first packet */
#define CONN_F_UNREPLIED (1u << 6) /* it lapsed without an answer */
#define CONN_F_UNCOUNTED (1u << 5) /* neither its zone nor its endpoint counts it any more */

#define CONN_OPENER_GONE (UINT32_MAX - 1)

struct conn {
	_Atomic uint8_t state; /* enum conn_state */
	uint8_t proto;
	_Atomic uint8_t flags;
	_Atomic uint8_t is_linked; /* both keys are in the index: set by flowtab_publish() */
	_Atomic uint32_t route
		[CONN_DIR_N]; /* that each direction takes, or must take back into a tunnel; SLOT_NONE */
	_Atomic uint32_t endpoint
		[CONN_DIR_N]; /* who opened it, whom it reaches; SLOT_NONE: not on this node */
	union {
		uint32_t created_s; /* while it lives; since when it is lapsed */
		uint32_t next;	    /* list link while free or retired */
	};
	_Atomic uint32_t service, backend; /* where it was sent, or SLOT_NONE */
	_Atomic uint32_t rule[2]; /* by enum policy_dir: the rules that let it pass, or SLOT_NONE */
	_Atomic uint32_t
		opener; /* endpoint that it is counted at, SLOT_NONE: none (yet), CONN_OPENER_GONE: no more */
	uint16_t zone;
	uint16_t pad2;
};
static_assert(sizeof(struct conn) <= 48,
	"a connection of two 64 B flows and 16 B of index stays within 192 B");

#define CONN_TCP_FIN 0x01u
#define CONN_TCP_SYN 0x02u
#define CONN_TCP_RST 0x04u
#define CONN_TCP_ACK 0x10u

/* State of a new connection for its first packet. tcp_flags matter for TCP and SCTP only. */
enum conn_state conn_first_state(uint8_t proto, uint8_t tcp_flags);

/* Whether TCP flags are a combination that no stack sends: SYN with FIN or RST, FIN with RST, none of SYN, RST and ACK.
 * One bit for each value of FIN, SYN, RST, PSH, ACK, for the fast path. */
#define CONN_TCP_FLAGS_BAD 0xe8e8ebebu

static inline bool conn_tcp_flags_bad(uint8_t flags)
{
	return (CONN_TCP_FLAGS_BAD >> (flags & 31) & 1) != 0;
}

/* What asks for a new connection. */
static inline bool conn_tcp_is_syn(uint8_t flags)
{
	return (flags & (CONN_TCP_SYN | CONN_TCP_ACK)) == CONN_TCP_SYN;
}

/* Whether packets of the protocol say which begins a connection and which ends it. */
static inline bool conn_has_handshake(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_SCTP;
}

/* Ended for either side: its tuple may be used again, by whichever side. */
static inline bool conn_is_over(enum conn_state state)
{
	return state == CONN_TIME_WAIT || state == CONN_CLOSED;
}

/* Nobody has answered it to its end: what a flood consists of. */
static inline bool conn_is_half_open(enum conn_state state)
{
	return state == CONN_NEW || state == CONN_SYN_SENT || state == CONN_SYN_RECV;
}

/* What makes room first in a table that is nearly full: what a flood leaves behind, answered, refused or ended by one side
 * alone (which has the time-out of an established connection). */
static inline bool conn_is_expendable(enum conn_state state)
{
	return conn_is_half_open(state) || conn_is_over(state) || state == CONN_FIN_WAIT ||
		state == CONN_LAPSED;
}

/* Whether every packet goes through conn_track() in this state: no reply yet, the handshake is not over, or a RST may have been
 * forged. */
static inline bool conn_is_tracked(enum conn_state state)
{
	return conn_is_half_open(state) || state == CONN_CLOSED;
}

/* Advances the state for a packet of direction dir. Whether further packets still need it, as conn_is_tracked(). Any
 * worker. */
bool conn_track(struct conn *c, enum conn_dir dir, uint8_t tcp_flags);

/* Idle seconds after which a connection in that state goes. */
uint32_t conn_timeout_s(uint8_t proto, enum conn_state state);

/* Process-wide time-outs by class and state, seconds; 0 sets the default. A connection meets the new one when the sweeper
 * looks at it next. Set by the control thread, read by any. */
enum conn_class { CONN_TCP, CONN_UDP, CONN_ICMP, CONN_OTHER, CONN_CLASS_N };
void conn_timeout_set(enum conn_class class, enum conn_state state, uint32_t seconds);
uint32_t conn_timeout_get(enum conn_class class, enum conn_state state);

/* Most connections of a zone, both families together; 0: no limit. Control thread sets, workers read. */
#define CONN_ZONE_N 65536u
extern _Atomic uint32_t conn_zone_max[CONN_ZONE_N];

const char *conn_state_name(enum conn_state state);

#endif
