/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/packet/workers_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "datapath/base/clock.h"
#include "datapath/base/rcu.h"
#include "datapath/packet/csum.h"
#include "datapath/table/route.h"
#include "pmd/kind_ring.h"
#include "pmd/mempool.h"
#include "pmd/portmgr.h"

#define L2_LEN 14u
#define DEADLINE_S 120

struct rig_thread {
	pthread_t thread;
	struct worker *w;
	_Atomic uint64_t n_rounds; /* that found nothing to do, in a row */
} __rte_cache_aligned;

static struct rig_thread threads[WORKER_MAX];
static unsigned int n_threads;
static bool is_still;
static struct port *ports[RIG_PORTS_MAX];
static _Atomic unsigned int n_ports;
static _Atomic bool is_open, is_over;
static unsigned int n_mbufs;

static time_t now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static unsigned int poll_ports(struct rig_thread *t)
{
	unsigned int n = 0, count = atomic_load_explicit(&n_ports, memory_order_acquire);

	for (unsigned int i = 0; i < count; i++)
		for (uint16_t q = 0; q < ports[i]->n_rxq; q++)
			if ((ports[i]->id + q) % n_threads == t->w->id)
				n += pipeline_poll(t->w, ports[i], q);
	return n;
}

/* Whether there was something to do. */
static bool turn(struct rig_thread *t)
{
	unsigned int n = 0;
	bool is_more;

	pipeline_round_begin(t->w);
	/* acquire: pairs with the release in rig_open(), behind what was injected before */
	if (atomic_load_explicit(&is_open, memory_order_acquire))
		n = poll_ports(t);
	is_more = pipeline_housekeep(t->w);
	rcu_quiescent(t->w->id);
	return n > 0 || is_more;
}

static void *thread_main(void *arg)
{
	struct rig_thread *t = arg;

	rcu_reader_register(t->w->id);
	while (!atomic_load_explicit(&is_over, memory_order_acquire)) {
		if (turn(t)) {
			atomic_store_explicit(&t->n_rounds, 0, memory_order_release);
		} else {
			atomic_fetch_add_explicit(&t->n_rounds, 1, memory_order_release);
			sched_yield();
		}
	}
	rcu_reader_unregister(t->w->id);
	return NULL;
}

void rig_turn(unsigned int worker)
{
	rig_open();
	turn(&threads[worker]);
}

void rig_start(uint32_t n_conns, unsigned int n_workers, bool is_still_)
{
	n_mbufs = rte_mempool_in_use_count(mempool_get(0));
	node_init_workers(n_conns, n_workers);
	atomic_store(&is_open, false);
	atomic_store(&is_over, false);
	atomic_store(&n_ports, 0);
	n_threads = n_workers;
	is_still = is_still_;
	for (unsigned int i = 0; i < n_workers; i++) {
		threads[i].w = worker_table[i];
		if (is_still)
			rcu_reader_register(i);
		else
			assert_int_equal(
				pthread_create(&threads[i].thread, NULL, thread_main, &threads[i]),
				0);
	}
}

void rig_stop(void)
{
	atomic_store(&is_over, true);
	for (unsigned int i = 0; i < n_threads; i++) {
		if (is_still)
			rcu_reader_unregister(i);
		else
			pthread_join(threads[i].thread, NULL);
	}
	node_fini();
	assert_int_equal(rte_mempool_in_use_count(mempool_get(0)), n_mbufs);
}

void rig_cmd(const char *fmt, ...)
{
	cJSON *result = cJSON_CreateObject(), *params;
	const char *error;
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *c = text; *c != '\0'; c++)
		*c = *c == '\'' ? '"' : *c;
	params = cJSON_Parse(text);
	error = params != NULL ? node_command(params, result) : "not JSON";
	if (error != NULL)
		fail_msg("%s: %s", text, error);
	if (strcmp(harness_str(params, "cmd", ""), "port.add") == 0) {
		unsigned int n = atomic_load(&n_ports);

		ports[n] = port_by_name(harness_str(params, "name", ""));
		/* release: pairs with the acquire in poll_ports() */
		atomic_store_explicit(&n_ports, n + 1, memory_order_release);
	}
	cJSON_Delete(params);
	cJSON_Delete(result);
}

struct port *rig_port(const char *name)
{
	struct port *p = port_by_name(name);

	assert_non_null(p);
	return p;
}

void rig_open(void)
{
	atomic_store_explicit(&is_open, true, memory_order_release);
}

void rig_close(void)
{
	atomic_store_explicit(&is_open, false, memory_order_release);
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

static uint8_t l4_len(uint8_t proto)
{
	return proto == IPPROTO_TCP ? sizeof(struct rte_tcp_hdr) : sizeof(struct rte_udp_hdr);
}

/* Everything but the checksum; its offset. */
static unsigned int l4_build(uint8_t *l4, const struct rig_packet *pkt, bool is_v6, uint16_t len)
{
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)l4;
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)l4;
	struct rte_icmp_hdr *icmp = (struct rte_icmp_hdr *)l4;

	if (pkt->proto == IPPROTO_ICMP) {
		icmp->icmp_type = is_v6 ? 128 + pkt->is_echo_reply : pkt->is_echo_reply ? 0 : 8;
		icmp->icmp_ident = rte_cpu_to_be_16(pkt->sport);
		return offsetof(struct rte_icmp_hdr, icmp_cksum);
	}
	udp->src_port = rte_cpu_to_be_16(pkt->sport);
	udp->dst_port = rte_cpu_to_be_16(pkt->dport);
	if (pkt->proto == IPPROTO_UDP) {
		udp->dgram_len = rte_cpu_to_be_16(len);
		return offsetof(struct rte_udp_hdr, dgram_cksum);
	}
	tcp->sent_seq = rte_cpu_to_be_32(pkt->id);
	tcp->data_off = 5 << 4;
	tcp->tcp_flags = pkt->tcp_flags;
	tcp->rx_win = RTE_BE16(8192);
	return offsetof(struct rte_tcp_hdr, cksum);
}

static void l3_build(uint8_t *l3, const struct rig_packet *pkt, uint16_t len)
{
	uint32_t id = rte_cpu_to_be_32(pkt->id);
	unsigned int at;
	uint16_t csum;

	if (ip_is_v4(&pkt->src)) {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)l3;

		*ip = (struct rte_ipv4_hdr){ .version_ihl = 0x45,
			.total_length = rte_cpu_to_be_16((uint16_t)(20 + len)),
			.fragment_offset = RTE_BE16(0x4000),
			.time_to_live = 64,
			.next_proto_id = pkt->proto,
			.src_addr = ip_v4(&pkt->src),
			.dst_addr = ip_v4(&pkt->dst) };
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		memcpy(l3 + 20 + len - 4, &id, 4);
		at = 20 + l4_build(l3 + 20, pkt, false, len);
		csum = pkt->proto == IPPROTO_ICMP ? (uint16_t)~rte_raw_cksum(l3 + 20, len)
						  : rte_ipv4_udptcp_cksum(ip, l3 + 20);
	} else {
		struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)l3;

		*ip = (struct rte_ipv6_hdr){ .vtc_flow = RTE_BE32(0x60000000),
			.payload_len = rte_cpu_to_be_16(len),
			.proto = pkt->proto == IPPROTO_ICMP ? IPPROTO_ICMPV6 : pkt->proto,
			.hop_limits = 64 };
		memcpy(ip->src_addr, pkt->src.b, 16);
		memcpy(ip->dst_addr, pkt->dst.b, 16);
		memcpy(l3 + 40 + len - 4, &id, 4);
		at = 40 + l4_build(l3 + 40, pkt, true, len);
		csum = rte_ipv6_udptcp_cksum(ip, l3 + 40);
	}
	memcpy(l3 + at, &csum, 2);
}

bool rig_send(struct port *p, uint16_t queue, const struct rig_packet *pkt)
{
	bool is_v6 = !ip_is_v4(&pkt->src);
	uint16_t len = (uint16_t)(l4_len(pkt->proto) + 4);
	struct rte_mbuf *m = rte_pktmbuf_alloc(mempool_get(0));
	struct rte_ether_hdr *eth;

	assert_non_null(m);
	eth = (struct rte_ether_hdr *)rte_pktmbuf_append(
		m, (uint16_t)(L2_LEN + (is_v6 ? 40 : 20) + len));
	memset(eth, 0, m->data_len);
	eth->src_addr = p->mac;
	eth->dst_addr = p->gw_mac;
	if (p->role == PORT_ROLE_UPLINK) {
		eth->src_addr = (struct rte_ether_addr){ { 2, 0, 0, 0, 0, 0xfe } };
		eth->dst_addr = p->mac;
	}
	eth->ether_type = is_v6 ? RTE_BE16(RTE_ETHER_TYPE_IPV6) : RTE_BE16(RTE_ETHER_TYPE_IPV4);
	l3_build((uint8_t *)(eth + 1), pkt, len);
	if (ring_port_inject(p, queue, &m, 1) == 1)
		return true;
	rte_pktmbuf_free(m);
	return false;
}

bool rig_recv(struct port *p, struct rig_packet *out)
{
	struct parsed pkt;
	struct rte_mbuf *m;
	uint32_t id;

	while (ring_port_drain(p, &m, 1) == 1) {
		const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);

		if (parse_frame(m, &pkt) != DROP_NONE || pkt.l3 == PARSED_ARP || pkt.is_nd ||
			pkt.is_icmp_error) {
			rte_pktmbuf_free(m);
			continue;
		}
		assert_int_equal(csum_verify_l4(m, L2_LEN), CSUM_OK);
		memcpy(&id, data + m->data_len - 4, 4);
		*out = (struct rig_packet){ .src = pkt.src,
			.dst = pkt.dst,
			.sport = rte_be_to_cpu_16(pkt.sport),
			.dport = rte_be_to_cpu_16(pkt.dport),
			.proto = pkt.proto == IPPROTO_ICMPV6 ? IPPROTO_ICMP : pkt.proto,
			.tcp_flags = pkt.tcp_flags,
			.is_echo_reply = pkt.icmp_type == 0 || pkt.icmp_type == 129,
			.id = rte_be_to_cpu_32(id) };
		rte_pktmbuf_free(m);
		return true;
	}
	return false;
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

static bool is_idle(void)
{
	for (unsigned int i = 0; i < n_threads; i++)
		if (atomic_load_explicit(&threads[i].n_rounds, memory_order_acquire) < 2)
			return false;
	return true;
}

/* Whether any worker had something to do. */
static bool turn_all(void)
{
	bool is_any = false;

	for (unsigned int i = 0; i < n_threads; i++)
		is_any = turn(&threads[i]) || is_any;
	return is_any;
}

void rig_settle(void)
{
	time_t deadline_s = now_s() + DEADLINE_S;

	for (unsigned int i = 0; i < n_threads; i++)
		atomic_store(&threads[i].n_rounds, 0);
	rig_open();
	while (is_still ? turn_all() : !is_idle()) {
		rcu_poll();
		if (now_s() > deadline_s)
			fail_msg("workers are still busy after %d s", DEADLINE_S);
		sched_yield();
	}
	rig_close();
	route_poll();
	clock_warp_ns(CLOCK_NS_PER_MS);
}

void rig_expire(unsigned int seconds)
{
	/* a round of the sweeper at a time */
	for (unsigned int i = 0; i < seconds; i += 10) {
		clock_warp_ns(10 * CLOCK_NS_PER_S);
		rig_settle();
	}
}

uint64_t rig_drops(enum drop_reason reason)
{
	struct port *p = NULL;
	struct port_stats s;
	uint64_t n = 0;

	while ((p = port_next(p)) != NULL) {
		port_stats_sum(p, &s);
		n += s.drops[reason];
	}
	return n;
}

uint64_t rig_drops_all(void)
{
	uint64_t n = 0;

	for (int i = 0; i < DROP_N; i++)
		n += i != DROP_CONSUMED ? rig_drops((enum drop_reason)i) : 0;
	return n;
}

unsigned int rig_n_conns(const struct flowtab *t)
{
	unsigned int n = 0;

	for (uint32_t i = 0; i < flowtab_n_touched(t); i++)
		n += atomic_load(&t->conns[i].is_linked) != 0 &&
			atomic_load(&t->conns[i].state) != CONN_DEAD;
	return n;
}

unsigned int rig_n_keys(const struct flowtab *t)
{
	unsigned int n = 0;

	for (uint32_t b = 0; b < t->n_buckets; b++)
		for (unsigned int slot = 0; slot < FLOWTAB_BUCKET_LEN; slot++)
			n += atomic_load(&t->buckets[b].tag[slot]) != 0;
	return n;
}
