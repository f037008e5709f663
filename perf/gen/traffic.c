/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf/gen/gen.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <rte_arp.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_memcpy.h>
#include <rte_prefetch.h>
#include <rte_tcp.h>

#include "perf/gen/check.h"
#include "perf/gen/hist.h"

static inline uint32_t next_flow(struct gen *g, struct gen_side *s)
{
	uint32_t pos = s->flow_pos++;

	if (g->is_zipf)
		return g->order[pos & (GEN_ORDER_LEN - 1)];
	if (s->flow_pos == g->n_flows)
		s->flow_pos = 0;
	return pos;
}

/* For ownership: the line lies in the switch's cache. The builtin only does that where -march knows PRFCHW. */
static inline void prefetch_write(const void *p)
{
#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

/* Gets the buffers of the next build and starts fetching their lines for writing. */
static inline void fetch_spare(struct gen_side *s)
{
	if (s->n_spare || rte_mempool_get_bulk(s->tx_pool, (void **)s->spare, GEN_BURST))
		return;
	s->n_spare = GEN_BURST;
	for (unsigned int i = 0; i < GEN_BURST; i++)
		prefetch_write((char *)s->spare[i]->buf_addr + RTE_PKTMBUF_HEADROOM);
}

/* A frame of `flow` in m. stamp: 0 or a time for the frame. */
static inline void build_frame(
	struct gen *g, struct gen_side *s, struct rte_mbuf *m, uint32_t flow, uint64_t stamp)
{
	uint8_t *p = (uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM;
	rte_be16_t seq = rte_cpu_to_be_16(s->tx_seq[flow]++);
	const struct gen_class *c = &s->classes[s->class_pos];

	s->class_pos = s->class_pos == GEN_CLASSES - 1 ? 0 : s->class_pos + 1;
	rte_mov64(p, s->head);
	if (s->is_vxlan)
		rte_mov64(p + 64, s->head + 64);
	gen_frame_finish(c, g->is_tcp, s->is_vxlan, (unsigned int)(s - g->side), flow, p);
	if (g->services.is_on)
		gen_frame_serve(&g->services, g->is_tcp, (unsigned int)(s - g->side), flow, p);
	m->data_len = c->wire_len;
	m->pkt_len = c->wire_len;
	if (s->is_vxlan)
		p += GEN_VXLAN_OVERHEAD;
	struct gen_mark *mark = (struct gen_mark *)(p + GEN_MARK_OFFSET);
	mark->seq = seq;
	mark->seq_inv = (rte_be16_t)~seq;
	if (stamp)
		memcpy(p + GEN_STAMP_OFFSET, &stamp, sizeof(stamp));
}

/* Builds up to `max` (≤ GEN_BURST) frames behind those that wait, offers all, keeps the refused. Packets accepted.
 * stamp: 0, or the scheduled time of the first new frame; each further one is `step` later. */
static inline unsigned int tx_burst(
	struct gen *g, struct gen_side *s, unsigned int max, uint64_t stamp, uint64_t step)
{
	if (s->n_ready < GEN_BURST && max) {
		fetch_spare(s);
		unsigned int n = RTE_MIN(max, s->n_spare);
		for (unsigned int i = 0; i < n; i++) {
			struct rte_mbuf *m = s->spare[--s->n_spare];
			build_frame(g, s, m, next_flow(g, s), stamp ? stamp + i * step : 0);
			s->ready[s->n_ready++] = m;
		}
	}
	s->is_refused = false;
	if (!s->n_ready)
		return 0;
	unsigned int n = RTE_MIN(s->n_ready, (unsigned int)GEN_BURST);
	unsigned int sent = rte_eth_tx_burst(s->port_id, 0, s->ready, (uint16_t)n);

	s->count.offered += n;
	s->count.accepted += sent;
	s->is_refused = sent < n;
	if (sent) {
		s->n_ready -= sent;
		memmove(s->ready, s->ready + sent, s->n_ready * sizeof(s->ready[0]));
		fetch_spare(s);
	}
	return sent;
}

/* Whether the frame of `flow`, sent by the other side, still has its addresses and ports. */
static inline bool tuple_matches(
	const struct gen *g, unsigned int rx_side, const uint8_t *p, uint32_t flow)
{
	const struct gen_side *s = &g->side[rx_side], *far = &g->side[!rx_side];
	uint16_t sport = gen_flow_sport(flow), dport = gen_flow_dport(flow);
	uint32_t want_ports, ports;
	rte_be32_t ips[2];

	/* rx_side 0 receives what side 1 sent: ports swapped */
	want_ports = rx_side ? (uint32_t)sport << 16 | dport : (uint32_t)dport << 16 | sport;
	memcpy(ips, p + 26, 8);
	memcpy(&ports, p + 34, 4);
	return ips[0] == far->ip && ips[1] == s->ip && ports == rte_cpu_to_be_32(want_ports);
}

/* The same for a flow to a virtual address: B sees the client and a backend, always the same one; A the virtual address. */
static bool service_matches(struct gen *g, unsigned int rx_side, const uint8_t *p, uint32_t flow)
{
	struct gen_services *sv = &g->services;
	struct gen_nat *nat = &sv->nat[flow];
	rte_be16_t client = rte_cpu_to_be_16(gen_service_sport(sv, flow)), ports[2];
	rte_be32_t ips[2];

	memcpy(ips, p + 26, sizeof(ips));
	memcpy(ports, p + 34, sizeof(ports));
	if (!rx_side)
		return ips[0] == gen_service_vip(sv, flow) && ips[1] == g->side[0].ip &&
			ports[0] == rte_cpu_to_be_16(sv->port) && ports[1] == client;
	if (!nat->backend)
		*nat = (struct gen_nat){ ips[1], ports[1] };
	return ips[0] == g->side[0].ip && ports[0] == client && ips[1] == nat->backend &&
		ports[1] == nat->port;
}

static void judge(struct gen *g, unsigned int rx_side, struct rte_mbuf **m, unsigned int n,
	uint64_t now, struct hist *hist)
{
	struct gen_side *s = &g->side[rx_side];
	uint32_t off = s->is_vxlan ? GEN_VXLAN_OVERHEAD : 0;
	uint16_t want_tag = (uint16_t)(g->trial << 1 | !rx_side);
	const uint8_t *frame[GEN_BURST];

	for (unsigned int i = 0; i < n; i++) {
		frame[i] = rte_pktmbuf_mtod(m[i], const uint8_t *) + off;
		rte_prefetch0(frame[i] + (off ? GEN_MARK_OFFSET : 0));
		if (off)
			rte_prefetch0(frame[i]);
	}
	for (unsigned int i = 0; i < n; i++) {
		const struct gen_mark *mark = (const struct gen_mark *)(frame[i] + GEN_MARK_OFFSET);
		if (unlikely(mark->tag != want_tag || mark->flow >= g->n_flows ||
			    m[i]->data_len < off + GEN_FRAME_MIN))
			frame[i] = m[i]->data_len < off + GEN_FRAME_MIN ? NULL : frame[i];
		else
			rte_prefetch0(&s->rx_flow[mark->flow]);
	}
	for (unsigned int i = 0; i < n; i++) {
		if (unlikely(!frame[i])) {
			s->count.alien++;
			continue;
		}
		const struct gen_mark *mark = (const struct gen_mark *)(frame[i] + GEN_MARK_OFFSET);
		if (unlikely(mark->tag != want_tag)) {
			if (mark->tag == (uint16_t)(want_tag ^ 1))
				s->count.misdelivered++;
			else if ((uint16_t)(mark->seq ^ mark->seq_inv) == 0xffff)
				s->count.stale++;
			else
				s->count.alien++;
			continue;
		}
		s->count.received++;
		s->count.received_bytes += m[i]->pkt_len;
		s->count.checked++;
		if (unlikely(mark->flow >= g->n_flows ||
			    (uint16_t)(mark->seq ^ mark->seq_inv) != 0xffff)) {
			s->count.corrupt++;
			continue;
		}
		if (unlikely(
			    !(g->services.is_on ? service_matches(g, rx_side, frame[i], mark->flow)
						: tuple_matches(g, rx_side, frame[i], mark->flow))))
			s->count.misdelivered++;
		gen_judge_seq(&s->count, &s->rx_flow[mark->flow], rte_be_to_cpu_16(mark->seq));
		if (hist) {
			uint64_t stamp;
			memcpy(&stamp, frame[i] + GEN_STAMP_OFFSET, sizeof(stamp));
			hist_add(hist, now - stamp);
		}
	}
	if (frame[n - 1])
		s->rx_ttl = frame[n - 1][22];
}

/* A packet that no check looks at: trusted to be of this trial (the rings were drained before). */
static void count_only(struct gen_side *s, struct rte_mbuf **m, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		s->count.received_bytes += m[i]->pkt_len;
	s->count.received += n;
}

static void free_burst(struct gen_side *s, struct rte_mbuf **m, unsigned int n)
{
	bool is_plain = true;

	for (unsigned int i = 0; i < n; i++)
		is_plain &= m[i]->nb_segs == 1;
	if (likely(is_plain))
		rte_mempool_put_bulk(s->rx_pool, (void **)m, n);
	else
		rte_pktmbuf_free_bulk(m, n);
}

static inline unsigned int rx_burst(struct gen *g, unsigned int side, struct hist *hist)
{
	struct gen_side *s = &g->side[side];
	struct rte_mbuf *m[GEN_BURST];
	unsigned int n = rte_eth_rx_burst(s->port_id, 0, m, GEN_BURST);

	s->count.rx_polls++;
	if (!n)
		return 0;
	if (g->check == GEN_CHECK_FULL || hist)
		judge(g, side, m, n, hist ? rte_rdtsc() : 0, hist);
	else
		count_only(s, m, n);
	free_burst(s, m, n);
	return n;
}

void gen_drain(struct gen *g)
{
	uint64_t quiet = g->tsc_hz / 100, last = rte_rdtsc(), end = last + g->tsc_hz;
	enum gen_check check = g->check;

	g->check = GEN_CHECK_COUNT;
	while (rte_rdtsc() - last < quiet && rte_rdtsc() < end)
		if (rx_burst(g, 0, NULL) + rx_burst(g, 1, NULL))
			last = rte_rdtsc();
	g->check = check;
}

static void print_side(FILE *out, const char *name, const struct gen_side *s)
{
	const struct gen_counts *c = &s->count;

	fprintf(out,
		",\"%s\":{\"offered\":%" PRIu64 ",\"accepted\":%" PRIu64 ",\"received\":%" PRIu64
		",\"received_bytes\":%" PRIu64 ",\"checked\":%" PRIu64 ",\"lost\":%" PRIu64
		",\"reordered\":%" PRIu64 ",\"duplicate\":%" PRIu64 ",\"misdelivered\":%" PRIu64
		",\"corrupt\":%" PRIu64 ",\"stale\":%" PRIu64 ",\"alien\":%" PRIu64 ",\"ttl\":%u}",
		name, c->offered, c->accepted, c->received, c->received_bytes, c->checked, c->lost,
		c->reordered, c->duplicate, c->misdelivered, c->corrupt, c->stale, c->alien,
		s->rx_ttl);
}

static uint32_t flows_with_loss(const struct gen *g)
{
	uint32_t n = 0;

	for (uint32_t f = 0; f < g->n_flows; f++)
		for (unsigned int i = 0; i < GEN_SIDES; i++)
			n += g->side[i].rx_flow[f].lost != 0 ||
				g->side[i].rx_flow[f].next != g->side[!i].tx_seq[f];
	return n;
}

/* After the measured window: lets what is under way arrive, so that loss is loss. */
static void settle(struct gen *g, struct hist *hist)
{
	uint64_t quiet = g->tsc_hz / 100, last = rte_rdtsc(), end = last + g->tsc_hz;

	while (rte_rdtsc() - last < quiet && rte_rdtsc() < end) {
		for (unsigned int i = 0; i < GEN_SIDES; i++)
			if (g->side[i].n_ready)
				tx_burst(g, &g->side[i], 0, 0, 0);
		if (rx_burst(g, 0, hist) + rx_burst(g, 1, hist))
			last = rte_rdtsc();
	}
}

/*
 * Two cores that look at a nearly full (or empty) ring all the time pass it a few packets at a time: every hand-over
 * moves its cache lines and both sides fall to a third of their speed, for seconds. So a side that was refused waits
 * until about TX_GAP_PKTS packets have left its ring, and one that received little leaves its ring alone for RX_GAP_NS.
 */
#define TX_GAP_PKTS 192
#define TX_WAIT_MIN_NS 1000
#define TX_WAIT_MAX_NS 60000
#define RX_GAP_NS 2000

static void back_off(const struct gen *g, struct gen_side *s, uint64_t now)
{
	uint64_t least = TX_WAIT_MIN_NS * g->tsc_hz / 1000000000,
		 most = TX_WAIT_MAX_NS * g->tsc_hz / 1000000000;

	if (s->since_refused < TX_GAP_PKTS)
		s->tx_wait = RTE_MIN(RTE_MAX(s->tx_wait, least) * 2, most);
	else if (s->since_refused > 2 * TX_GAP_PKTS)
		s->tx_wait = RTE_MAX(s->tx_wait / 2, least);
	s->since_refused = 0;
	s->tx_not_before = now + s->tx_wait;
}

void gen_run(struct gen *g, double seconds, double pps, FILE *out)
{
	uint64_t start = rte_rdtsc(), now = start, span = (uint64_t)(seconds * (double)g->tsc_hz);
	uint64_t tx_cycles = 0, rx_cycles = 0, idle_cycles = 0, round_start = start;
	uint64_t rx_gap = RX_GAP_NS * g->tsc_hz / 1000000000;
	double per_tick = pps / (double)g->tsc_hz / GEN_SIDES;
	uint64_t sent[GEN_SIDES] = { 0 };

	while (now - start < span) {
		for (unsigned int i = 0; i < GEN_SIDES; i++) {
			struct gen_side *s = &g->side[i];
			unsigned int max = GEN_BURST;
			if (now < s->tx_not_before)
				continue;
			if (pps > 0) {
				int64_t due = (int64_t)((double)(now - start) * per_tick) -
					(int64_t)sent[i];
				max = (unsigned int)RTE_MIN(RTE_MAX(due, 0), GEN_BURST);
			}
			unsigned int n = tx_burst(g, s, max, 0, 0);
			sent[i] += n;
			s->since_refused += n;
			uint64_t t = rte_rdtsc();
			if (s->is_refused)
				back_off(g, s, t);
			*(n ? &tx_cycles : &idle_cycles) += t - now;
			now = t;
		}
		if (g->flood_pps > 0)
			gen_flood(g,
				(uint64_t)((double)(now - start) / (double)g->tsc_hz *
					g->flood_pps));
		for (unsigned int i = 0; i < GEN_SIDES; i++) {
			unsigned int n, total = 0;
			if (now < g->side[i].rx_not_before)
				continue;
			do
				total += n = rx_burst(g, i, NULL);
			while (n == GEN_BURST && total < 4 * GEN_BURST);
			uint64_t t = rte_rdtsc();
			*(total ? &rx_cycles : &idle_cycles) += t - now;
			now = t;
			if (n < GEN_BURST)
				g->side[i].rx_not_before = now + rx_gap;
		}
		if (now == round_start) { /* nothing was due */
			rte_pause();
			now = rte_rdtsc();
			idle_cycles += now - round_start;
		}
		round_start = now;
	}
	struct gen_counts a = g->side[0].count, b = g->side[1].count;
	double secs = (double)(now - start) / (double)g->tsc_hz;
	uint64_t accepted = a.accepted + b.accepted, received = a.received + b.received;
	double tx_cost = accepted ? (double)tx_cycles / (double)accepted : 0;
	double rx_cost = received ? (double)rx_cycles / (double)received : 0;
	/* what it would have sent, and taken back, in the time that it stood before full rings */
	double refused = tx_cost + rx_cost > 0 ? (double)idle_cycles / (tx_cost + rx_cost) : 0;
	double refused_share = accepted ? refused / (refused + (double)accepted) : 1;

	settle(g, NULL);
	uint64_t total_sent = g->side[0].count.accepted + g->side[1].count.accepted;
	uint64_t total_received = g->side[0].count.received + g->side[1].count.received;
	fprintf(out,
		"{\"event\":\"run\",\"seconds\":%.4f,\"flows\":%u,\"frame_bytes\":%u,\"capable_"
		"mpps\":%.4f,"
		"\"sent_mpps\":%.4f,\"mpps\":%.4f,\"gbps\":%.4f,\"refused_share\":%.4f,\"sent\":"
		"%" PRIu64 ",\"arrived\":%" PRIu64 ",\"not_arrived\":%" PRId64
		",\"flows_with_loss\":%" PRId64
		",\"gen_tx_cycles\":%.1f,\"gen_rx_cycles\":%.1f,\"idle_share\":%.3f",
		secs, g->n_flows, g->frame_bytes, ((double)accepted + refused) / secs / 1e6,
		(double)accepted / secs / 1e6, (double)received / secs / 1e6,
		(double)(a.received_bytes + b.received_bytes) * 8 / secs / 1e9, refused_share,
		total_sent, total_received, (int64_t)(total_sent - total_received),
		g->check == GEN_CHECK_FULL ? (int64_t)flows_with_loss(g) : -1, tx_cost, rx_cost,
		(double)idle_cycles / (double)(now - start));
	print_side(out, "a", &g->side[0]);
	print_side(out, "b", &g->side[1]);
	if (g->flood_pps > 0)
		fprintf(out, ",\"flood_offered\":%" PRIu64 ",\"flood_sent\":%" PRIu64,
			g->flooder.count.offered, g->flooder.count.accepted);
	fprintf(out, "}\n");
	fflush(out);
}

void gen_latency(struct gen *g, double seconds, double pps, FILE *out)
{
	struct hist *hist = calloc(1, sizeof(*hist));
	uint64_t step = (uint64_t)((double)g->tsc_hz * GEN_SIDES / pps);
	uint64_t start = rte_rdtsc(), now = start, span = (uint64_t)(seconds * (double)g->tsc_hz);
	uint64_t next[GEN_SIDES] = { start, start + step / 2 };

	if (!hist) {
		fprintf(out, "{\"event\":\"error\",\"error\":\"out of memory\"}\n");
		return;
	}
	while (now - start < span) {
		for (unsigned int i = 0; i < GEN_SIDES; i++) {
			now = rte_rdtsc();
			unsigned int due = now < next[i]
				? 0
				: (unsigned int)RTE_MIN(
					  (now - next[i]) / step + 1, (uint64_t)GEN_BURST);
			struct gen_side *s = &g->side[i];
			unsigned int waiting = s->n_ready;
			tx_burst(g, s, due, next[i], step);
			/* what was built is scheduled, accepted or not */
			if (waiting < GEN_BURST)
				next[i] += due * step;
		}
		rx_burst(g, 0, hist);
		rx_burst(g, 1, hist);
	}
	settle(g, hist);
	double ns = 1e9 / (double)g->tsc_hz;
	uint64_t sent = g->side[0].count.accepted + g->side[1].count.accepted;
	fprintf(out,
		"{\"event\":\"latency\",\"seconds\":%.4f,\"flows\":%u,\"frame_bytes\":%u,\"pps\":%."
		"0f,\"sent\":%" PRIu64 ",\"arrived\":%" PRIu64
		",\"p50_ns\":%.0f,\"p90_ns\":%.0f,\"p99_ns\":%.0f,\"p999_ns\":%.0f,"
		"\"max_ns\":%.0f}\n",
		seconds, g->n_flows, g->frame_bytes, pps, sent, hist->n,
		(double)hist_quantile(hist, 0.5) * ns, (double)hist_quantile(hist, 0.9) * ns,
		(double)hist_quantile(hist, 0.99) * ns, (double)hist_quantile(hist, 0.999) * ns,
		(double)hist->max * ns);
	fflush(out);
	free(hist);
}

uint32_t gen_warm(
	struct gen *g, unsigned int from, double pps, uint8_t tcp_flags, double *out_seconds)
{
	struct gen_side *s = &g->side[from];
	enum gen_check check = g->check;
	bool is_zipf = g->is_zipf;

	g->check = GEN_CHECK_FULL;
	g->is_zipf = false;
	gen_flows_reset(g, tcp_flags);
	uint64_t start = rte_rdtsc(), built = 0;
	double per_tick = pps / (double)g->tsc_hz;

	while (built < g->n_flows || s->n_ready) {
		uint64_t due = (uint64_t)((double)(rte_rdtsc() - start) * per_tick) + 1;
		due = RTE_MIN(due, (uint64_t)g->n_flows);
		unsigned int waiting = s->n_ready;
		unsigned int max = due > built
			? (unsigned int)RTE_MIN(due - built, (uint64_t)GEN_BURST)
			: 0;
		unsigned int sent = tx_burst(g, s, max, 0, 0);
		built += s->n_ready + sent - waiting;
		rx_burst(g, 0, NULL);
		rx_burst(g, 1, NULL);
		if (rte_rdtsc() - start > (uint64_t)((g->n_flows / pps + 5) * (double)g->tsc_hz))
			break;
	}
	*out_seconds = (double)(rte_rdtsc() - start) / (double)g->tsc_hz;
	settle(g, NULL);
	uint32_t seen = 0;
	for (uint32_t f = 0; f < g->n_flows; f++)
		seen += g->side[!from].rx_flow[f].next != 0;
	g->check = check;
	g->is_zipf = is_zipf;
	return seen;
}

static bool arp_is_reply(const struct gen_side *s, const struct rte_mbuf *m, rte_be32_t target)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	const struct rte_arp_hdr *arp = (const struct rte_arp_hdr *)(eth + 1);

	return m->data_len >= sizeof(*eth) + sizeof(*arp) &&
		eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP) &&
		arp->arp_opcode == RTE_BE16(RTE_ARP_OP_REPLY) && arp->arp_data.arp_sip == target &&
		rte_is_same_ether_addr(&arp->arp_data.arp_tha, &s->mac);
}

static void arp_send(struct gen_side *s, rte_be32_t target)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(s->tx_pool);

	if (!m)
		return;
	m->data_len = GEN_FRAME_MIN;
	m->pkt_len = GEN_FRAME_MIN;
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_arp_hdr *arp = (struct rte_arp_hdr *)(eth + 1);

	memset(eth, 0, GEN_FRAME_MIN);
	memset(&eth->dst_addr, 0xff, RTE_ETHER_ADDR_LEN);
	eth->src_addr = s->mac;
	eth->ether_type = RTE_BE16(RTE_ETHER_TYPE_ARP);
	*arp = (struct rte_arp_hdr){ .arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER),
		.arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4),
		.arp_hlen = RTE_ETHER_ADDR_LEN,
		.arp_plen = 4,
		.arp_opcode = RTE_BE16(RTE_ARP_OP_REQUEST),
		.arp_data = { .arp_sha = s->mac,
			.arp_sip = s->is_vxlan ? s->vtep : s->ip,
			.arp_tip = target } };
	if (rte_eth_tx_burst(s->port_id, 0, &m, 1) != 1)
		rte_pktmbuf_free(m);
}

bool gen_arp(const struct gen *g, struct gen_side *s, rte_be32_t target)
{
	uint64_t start = rte_rdtsc(), next = start;

	while (rte_rdtsc() - start < g->tsc_hz) {
		if (rte_rdtsc() >= next) {
			arp_send(s, target);
			next = rte_rdtsc() + g->tsc_hz / 5;
		}
		struct rte_mbuf *m[GEN_BURST];
		unsigned int n = rte_eth_rx_burst(s->port_id, 0, m, GEN_BURST);
		bool is_found = false;
		for (unsigned int i = 0; i < n; i++) {
			if (!is_found && arp_is_reply(s, m[i], target)) {
				s->gw_mac =
					rte_pktmbuf_mtod(m[i], struct rte_ether_hdr *)->src_addr;
				is_found = true;
			}
			rte_pktmbuf_free(m[i]);
		}
		if (is_found)
			return true;
	}
	return false;
}
