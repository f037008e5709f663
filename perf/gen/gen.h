/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * leat-gen: traffic source and sink for measurements. Two guests in one process, side A and side B, each a
 * virtio-user port; both send the two directions of the same N flows and check what arrives. One thread, one core.
 *
 * A frame begins as a copy of the side's precomputed header; ports, flow id and sequence number (TCP: the checksum's share
 * of them) are written into the copy. What a flow costs in memory is its sequence numbers, so that a million flows do not
 * push the rings out of the caches that both cores need. Layout of the inner frame: Ethernet 14, IPv4 20, UDP 8 + 12 free or
 * TCP 20, then struct gen_mark at byte 54, so that a 64-byte frame is one cache line. A sequence number and its complement
 * add up to zero in the one's-complement sum.
 */
#ifndef LEAT_PERF_GEN_H
#define LEAT_PERF_GEN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#define GEN_SIDES 2
#define GEN_BURST 32
#define GEN_FLOWS_MAX (1u << 24)
#define GEN_MARK_OFFSET 54
#define GEN_STAMP_OFFSET 42 /* UDP only: scheduled send time, TSC */
#define GEN_FRAME_MIN 64
#define GEN_FRAME_MAX 1518
#define GEN_VXLAN_OVERHEAD 50
#define GEN_CLASSES 12 /* frame lengths go round in twelve: IMIX is 7 × 64, 4 × 594, 1 × 1518 */
#define GEN_ORDER_LEN (1u << 20)
#define GEN_SERVICE_SPORT_MIN 2048u

struct gen_mark {
	uint16_t tag; /* trial << 1 | sending side */
	uint32_t flow;
	rte_be16_t seq;
	rte_be16_t seq_inv; /* ~seq */
} __attribute__((packed));

/* FULL judges every packet (mark, tuple, sequence); COUNT does not look into packets: a fifth cheaper, for a switch
 * that is faster than the full check. Sampling would see holes in every sequence, so there is no middle. */
enum gen_check { GEN_CHECK_FULL, GEN_CHECK_COUNT };

/* What a receiver knows of a flow. */
struct gen_flow {
	uint32_t window; /* bit i: next - 1 - i arrived */
	uint16_t next;	 /* sequence number expected */
	uint16_t lost;	 /* holes not filled yet, saturating */
};

/* What the switch makes of a flow to a virtual address, as side B saw it. */
struct gen_nat {
	rte_be32_t backend; /* 0: not seen yet */
	rte_be16_t port;
};

/* Side A sends to virtual addresses instead of B's own; flow f to number f mod 2^shift of them. */
struct gen_services {
	bool is_on;
	uint8_t shift;
	uint16_t port;	      /* of all of them, host order */
	uint32_t vip, stride; /* the first, host order; from one to the next */
	struct gen_nat
		*nat; /* by flow; learned from the first packet, then every packet has to agree */
};

/* What depends on a frame's length. */
struct gen_class {
	uint16_t frame_len; /* of the inner frame, without FCS */
	uint16_t wire_len;  /* of the mbuf: with encapsulation where the side has it */
	rte_be16_t ip_len, l4_len, ip_csum;
	rte_be16_t outer_ip_len, outer_udp_len, outer_ip_csum;
	uint16_t tcp_sum; /* of everything but ports and flow id */
};

struct gen_counts {
	uint64_t offered, accepted;	   /* packets handed to tx, packets it took */
	uint64_t received, received_bytes; /* of this trial */
	uint64_t checked, lost, reordered, duplicate, misdelivered, corrupt, stale, alien;
	uint64_t tx_cycles, rx_cycles, rx_polls;
};

struct gen_side {
	uint16_t port_id;
	bool is_vxlan; /* frames of this side are encapsulated */
	struct rte_ether_addr mac, gw_mac;
	rte_be32_t ip;	 /* the guest's */
	rte_be32_t vtep; /* outer source of what this side sends */
	struct rte_mempool *tx_pool, *rx_pool;
	uint8_t head
		[128] __rte_cache_aligned; /* precomputed; sums without length, ports and flow id */
	uint16_t *tx_seq;
	struct gen_flow *rx_flow; /* of what the other side sends */
	struct gen_class classes[GEN_CLASSES];
	uint32_t class_pos, flow_pos;
	struct rte_mbuf *ready[GEN_BURST * 2]; /* built; refused ones stay here */
	unsigned int n_ready;
	struct rte_mbuf *spare[GEN_BURST]; /* allocated and being fetched for the next build */
	unsigned int n_spare;
	uint8_t rx_ttl;
	/* pacing of the polls: see gen_run() */
	uint64_t tx_not_before, rx_not_before, tx_wait;
	uint32_t since_refused;
	bool is_refused; /* the last burst, in part or whole */
	struct gen_counts count;
};

struct gen {
	struct gen_side side[GEN_SIDES];
	struct gen_side flooder; /* a third guest that only sends SYNs, where there is one */
	bool has_flooder;
	double flood_pps;   /* while gen_run() runs */
	uint64_t n_flooded; /* ever: each SYN has ports of its own */
	uint32_t n_flows;
	uint32_t frame_bytes; /* 0: IMIX */
	bool is_tcp, is_zipf, has_trial;
	double zipf_s;
	uint32_t *order; /* GEN_ORDER_LEN flow indexes, zipf only */
	rte_be32_t vtep_far;
	uint32_t vni;
	struct rte_ether_addr inner_dst_mac; /* of encapsulated frames sent */
	enum gen_check check;
	struct gen_services services;
	uint16_t trial;
	uint64_t tsc_hz;
};

/* flows.c: (re)builds headers and per-flow state for g's parameters. 0 or -ENOMEM. */
int gen_flows_build(struct gen *g);
void gen_flows_free(struct gen *g);
/* New trial: tags, sequence numbers and receiver state start over. TCP frames get `tcp_flags`. */
void gen_flows_reset(struct gen *g, uint8_t tcp_flags);
/* Ports of a flow as side A sends it; side B's are swapped. */
static inline uint16_t gen_flow_sport(uint32_t flow)
{
	return (uint16_t)(0x4000 + (flow & 0x3fff));
}
static inline uint16_t gen_flow_dport(uint32_t flow)
{
	return (uint16_t)(0x2000 + (flow >> 14));
}

/* Source port of a flow to a virtual address. */
static inline uint16_t gen_service_sport(const struct gen_services *sv, uint32_t flow)
{
	return (uint16_t)(GEN_SERVICE_SPORT_MIN + (flow >> sv->shift));
}
static inline rte_be32_t gen_service_vip(const struct gen_services *sv, uint32_t flow)
{
	return rte_cpu_to_be_32(sv->vip + (flow & ((1u << sv->shift) - 1)) * sv->stride);
}

/* Makes the frame of `flow` out of a copy of the side's header: everything but the sequence number. */
static inline void gen_frame_finish(const struct gen_class *c, bool is_tcp, bool is_vxlan,
	unsigned int sender, uint32_t flow, uint8_t *p)
{
	uint32_t sport = rte_cpu_to_be_16(gen_flow_sport(flow)),
		 dport = rte_cpu_to_be_16(gen_flow_dport(flow));
	uint32_t ports = sender ? dport | sport << 16 : sport | dport << 16, sum;
	uint16_t half;

	if (is_vxlan) {
		half = rte_cpu_to_be_16((uint16_t)(0xc000 | (flow & 0x3fff)));
		memcpy(p + 34, &half, 2);
		memcpy(p + 16, &c->outer_ip_len, 2);
		memcpy(p + 24, &c->outer_ip_csum, 2);
		memcpy(p + 38, &c->outer_udp_len, 2);
		p += GEN_VXLAN_OVERHEAD;
	}
	memcpy(p + 16, &c->ip_len, 2);
	memcpy(p + 24, &c->ip_csum, 2);
	memcpy(p + 34, &ports, 4);
	memcpy(p + GEN_MARK_OFFSET + 2, &flow, 4);
	if (is_tcp) {
		sum = c->tcp_sum + sport + dport + (flow & 0xffff) + (flow >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		half = (uint16_t) ~((sum & 0xffff) + (sum >> 16));
		memcpy(p + 50, &half, 2);
	} else {
		memcpy(p + 38, &c->l4_len, 2);
	}
}

static inline uint32_t gen_sum_of_2(const void *p)
{
	uint16_t w[2];

	memcpy(w, p, sizeof(w));
	return (uint32_t)w[0] + w[1];
}

/* One's-complement sum without `before` and with `after` (raw sums of few words). */
static inline void gen_csum_replace(uint8_t *csum, uint32_t before, uint32_t after)
{
	uint16_t half;

	memcpy(&half, csum, 2);
	uint32_t sum = (uint16_t)~half + after + (0xffffu * 4 - before);
	sum = (sum & 0xffff) + (sum >> 16);
	half = (uint16_t) ~((sum & 0xffff) + (sum >> 16));
	memcpy(csum, &half, 2);
}

/* Makes a finished plain frame one to (side A) or from (side B) the flow's virtual address. */
static inline void gen_frame_serve(
	const struct gen_services *sv, bool is_tcp, unsigned int sender, uint32_t flow, uint8_t *p)
{
	const struct gen_nat *nat = &sv->nat[flow];
	uint8_t *addr = p + (sender ? 26 : 30);
	rte_be32_t ip = sender ? nat->backend : gen_service_vip(sv, flow);
	rte_be16_t client = rte_cpu_to_be_16(gen_service_sport(sv, flow));
	rte_be16_t server = sender ? nat->port : rte_cpu_to_be_16(sv->port);
	rte_be16_t ports[2] = { sender ? server : client, sender ? client : server };
	uint32_t ip_before = gen_sum_of_2(addr), ip_after = gen_sum_of_2(&ip);

	gen_csum_replace(p + 24, ip_before, ip_after);
	if (is_tcp)
		gen_csum_replace(
			p + 50, ip_before + gen_sum_of_2(p + 34), ip_after + gen_sum_of_2(ports));
	memcpy(addr, &ip, 4);
	memcpy(p + 34, ports, 4);
}

/* traffic.c */
/* Throws away what is in the rings, until nothing came for 10 ms. */
void gen_drain(struct gen *g);
/* Both directions as fast as the rings take them (or `pps` in total, evenly scheduled) for `seconds`. */
void gen_run(struct gen *g, double seconds, double pps, FILE *out);
/* As gen_run() at a rate, with the latency from the scheduled send time. UDP only. */
void gen_latency(struct gen *g, double seconds, double pps, FILE *out);
/* flood.c: SYNs from the third guest to side B, of which `due` should have been sent since its counters were cleared. */
void gen_flood(struct gen *g, uint64_t due);
/* Sends every flow once from `s` at `pps`; number of distinct flows that arrived on the other side. out_seconds:
 * until the last was sent. */
uint32_t gen_warm(
	struct gen *g, unsigned int s, double pps, uint8_t tcp_flags, double *out_seconds);
/* ARP for `target` from side s; true and gw_mac set when answered within a second. */
bool gen_arp(const struct gen *g, struct gen_side *s, rte_be32_t target);

#endif
