/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between workers and the control thread. Workers punt what only the control thread may handle (it owns the neighbour
 * table); the control thread injects packets back. Both directions are rings of messages with a wake-up descriptor;
 * a full ring is a named drop. A message owns its mbuf.
 */
#ifndef LEAT_PIPELINE_PUNT_H
#define LEAT_PIPELINE_PUNT_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "datapath/base/addr.h"

enum punt_kind {
	PUNT_NEIGH, /* an ARP or ND packet that came in on an uplink: m, port_id */
	PUNT_RESOLVE, /* packet for a neighbour without a path: hold it. m (as received), port_id = ingress, target,
			   out_port_id */
	PUNT_TUNNEL, /* packet for a tunnel without a path: hold it. m (as received), port_id, idx = tunnel */
	PUNT_PROBE, /* a failed or stale neighbour is wanted again: target, out_port_id; no packet */
	PUNT_PMTU, /* a router on the way to a tunnel's remote end passes no more than idx bytes: target, idx; no packet */
	PUNT_LOG, /* a rule of a policy wants a line: idx = rule, port_id, target = destination, src, ports, proto, verdict, dir; no packet */
};

struct punt_msg {
	uint8_t kind; /* enum punt_kind */
	uint8_t pad;
	uint16_t port_id;
	uint16_t out_port_id;
	uint16_t worker;
	uint32_t idx;
	uint16_t
		in; /* FLOW_IN_TUNNEL | tunnel index when the packet came out of a tunnel; give it back with m */
	uint16_t pad2;
	struct ip_addr target;
	struct rte_mbuf *m;
	/* PUNT_LOG: the connection as rules see it */
	struct ip_addr src;
	uint16_t sport, dport; /* host order; ICMP: dport = type << 8 | code */
	uint8_t proto;
	uint8_t verdict; /* enum rule_action: allow, deny, reject */
	uint8_t dir;	 /* enum policy_dir: whose endpoint's policy */
	uint8_t pad3;
};

enum inject_kind {
	INJECT_TX, /* send m as it is out of port_id (ARP request, mirror …) */
	INJECT_RX, /* treat m as received on port_id (a held packet goes on) */
};

struct inject_msg {
	uint8_t kind; /* enum inject_kind */
	uint8_t pad;
	uint16_t port_id;
	uint16_t in; /* INJECT_RX: as punted; 0 unless it came out of a tunnel */
	uint16_t pad2;
	struct rte_mbuf *m;
};

/* Once, before workers start. 0 or -errno. */
int punt_init(void);
void punt_fini(void);

/* Descriptor that is readable while punted messages may wait; the control loop watches it, then calls punt_receive(). */
int punt_fd(void);

/* Worker: hands a message over. false (nothing taken) when the ring is full. */
bool punt_send(const struct punt_msg *msg);

/* Control thread: up to max messages; clears the descriptor, and leaves it readable when some are left. */
unsigned int punt_receive(struct punt_msg *msgs, unsigned int max);

/* Control thread: a message to worker `worker`. false (nothing taken) when its ring is full. */
bool inject_send(unsigned int worker, const struct inject_msg *msg);

/* Worker: its messages; called once a loop. */
unsigned int inject_receive(unsigned int worker, struct inject_msg *msgs, unsigned int max);

/* Worker: descriptor to sleep on besides its ports. Readable after inject_send(), cleared by inject_woken() or by an inject_receive()
 * that finds something. Nobody reads it otherwise: then the next sender would wake nobody. */
int inject_fd(unsigned int worker);

/* Worker: its descriptor woke it. inject_receive() follows. */
void inject_woken(unsigned int worker);

#endif
