/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A node with several real workers, each on a thread of its own, on ring ports. The test's thread is the control thread: it
 * configures, injects, drains and moves the clock. Worker i polls queue q of port p when (id of p + q) % n is i, so that the queues
 * of one port, and neighbouring ports, are different workers'.
 */
#ifndef LEAT_TESTS_PACKET_WORKERS_RIG_H
#define LEAT_TESTS_PACKET_WORKERS_RIG_H

#include "datapath/base/addr.h"
#include "datapath/packet/parse.h"
#include "tests/packet/harness.h"

#define RIG_PORTS_MAX 16

/* A packet to be sent, and one that came out. */
struct rig_packet {
	struct ip_addr src, dst;
	uint16_t sport, dport; /* host order; echo: the identifier is sport */
	uint8_t proto;	       /* IPPROTO_UDP, _TCP, _ICMP (of either family: an echo) */
	uint8_t tcp_flags;
	bool is_echo_reply;
	uint32_t id; /* in the payload */
};

/* A node with n_conns connections a table and n_workers threads, which wait at the gate. is_still: without threads; a worker does
 * something only in rig_turn(). */
void rig_start(uint32_t n_conns, unsigned int n_workers, bool is_still);
/* Ends the threads and the node; every mbuf is back. */
void rig_stop(void);

/* A harness command as JSON text; the test fails if it does. For what was added before rig_open() workers see to it. */
__attribute__((format(printf, 1, 2))) void rig_cmd(const char *fmt, ...);

/* The port, by name. */
struct port *rig_port(const char *name);

/* Workers look at packets only between open and close: what is injected meanwhile is found by all at once. */
void rig_open(void);
void rig_close(void);

/* Once round the worker's loop, on the calling thread. */
void rig_turn(unsigned int worker);

/* Puts a packet into the port's receive queue, from its MAC to the gateway's (or the port's, of an uplink). False: no room. */
bool rig_send(struct port *p, uint16_t queue, const struct rig_packet *pkt);

/* The next packet that left by the port; its checksums are right. False: none. */
bool rig_recv(struct port *p, struct rig_packet *out);

/* Opens the gate, waits until nothing is left to do, closes it; without threads, each worker's turns until then. */
void rig_settle(void);

/* Packets dropped for the reason, at all ports. */
uint64_t rig_drops(enum drop_reason reason);
/* … and for any but DROP_CONSUMED. */
uint64_t rig_drops_all(void);

/* Lets seconds pass, with sweepers at work, until every connection that times out is gone. */
void rig_expire(unsigned int seconds);

/* Connections that are in the index, and keys that are. */
unsigned int rig_n_conns(const struct flowtab *t);
unsigned int rig_n_keys(const struct flowtab *t);

#endif
