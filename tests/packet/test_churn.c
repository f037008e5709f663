/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Real workers on threads under everything at once: mirrored and colliding packets by all queues, while the configuration changes,
 * connections are flushed, time out, and are taken over by a new process's tables. What must hold is asked in two ways: as long as
 * nothing ends a connection, each flow leaves under one tuple that no other has (strict); always, what goes in comes out or is dropped by
 * name, translated as some configuration says, and afterwards nothing is left (loose).
 * LEAT_WORKERS_ROUNDS, LEAT_WORKERS_SEED, LEAT_WORKERS_N: how long, with which numbers, how many workers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datapath/base/clock.h"
#include "datapath/base/rcu.h"
#include "datapath/pipeline/punt.h"
#include "datapath/table/endpoint.h"
#include "tests/packet/workers_rig.h"

#define N_CONNS 4096u
#define N_FLOWS 96u
#define POOL_LO 40000u
#define POOL_HI 40255u
#define PODS 3u

/* What a flow is, by its number. */
enum kind { DIRECT_UDP, DIRECT_TCP, DIRECT_ECHO, SERVICE, OUTSIDE, KIND_N };

static unsigned int n_rounds = 20, n_workers = 2;
static unsigned int seed = 1;
static struct port *pods[PODS], *up;
static struct ip_addr addrs[2][PODS], vips[2], outside[2], pool[2];
static uint64_t n_sent, n_received;
/* configuration that changes */
static unsigned int n_backends;
static bool is_shut, has_route;

static struct ip_addr ip_of(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_parse(text, &a), 0);
	return a;
}

static unsigned int dice(unsigned int n)
{
	return (unsigned int)rand_r(&seed) % n;
}

/* --- the node ------------------------------------------------------------------------------------------------------- */

static void service_add(unsigned int n)
{
	for (int f = 0; f < 2; f++)
		rig_cmd("{'cmd': 'service.add', 'name': 's%d', 'reject': false, 'frontends': "
			"[{'ip': '%s', 'proto': 'udp', 'port': 53}], 'backends': "
			"[{'ip': '%s', 'port': 5353}%s%s%s]}",
			f, f == 0 ? "10.96.0.1" : "fd00:96::1", f == 0 ? "10.244.1.3" : "fd00:1::3",
			n > 1 ? ", {'port': 5353, 'ip': '" : "",
			n < 2		 ? ""
				: f == 0 ? "10.244.1.4"
					 : "fd00:1::4",
			n > 1 ? "'}" : "");
}

static void service_del(void)
{
	rig_cmd("{'cmd': 'service.del', 'name': 's0'}");
	rig_cmd("{'cmd': 'service.del', 'name': 's1'}");
}

static void backends_set(unsigned int n)
{
	if (n_backends > 0)
		service_del();
	n_backends = n;
	if (n > 0)
		service_add(n);
}

static void shut_set(bool shut)
{
	if (is_shut != shut)
		rig_cmd("{'cmd': 'policy.%s', 'policy': 'shut', 'endpoint': 'c'}",
			shut ? "bind" : "unbind");
	is_shut = shut;
}

static int setup(void **state)
{
	(void)state;
	rig_start(N_CONNS, n_workers, false);
	for (unsigned int i = 0; i < PODS; i++) {
		char name[2] = { (char)('a' + i), '\0' };

		rig_cmd("{'cmd': 'port.add', 'name': '%s', 'role': 'pod', 'queues': 2, "
			"'mac': '0a:58:0a:f4:01:0%u'}",
			name, i + 2);
		rig_cmd("{'cmd': 'endpoint.add', 'id': '%s', 'port': '%s', "
			"'addresses': ['10.244.1.%u', 'fd00:1::%u']}",
			name, name, i + 2, i + 2);
		pods[i] = rig_port(name);
	}
	rig_cmd("{'cmd': 'port.add', 'name': 'up', 'role': 'uplink', 'mac': '02:00:00:00:00:10', "
		"'addresses': ['192.0.2.1/24', '2001:db8:1::1/64'], 'queues': 2}");
	up = rig_port("up");
	for (int f = 0; f < 2; f++) {
		const char *router = f == 0 ? "192.0.2.254" : "2001:db8:1::fe";

		rig_cmd("{'cmd': 'neigh.add', 'port': 'up', 'address': '%s', "
			"'mac': '02:00:00:00:00:fe'}",
			router);
		rig_cmd("{'cmd': 'route.add', 'prefix': '%s', 'port': 'up', 'via': '%s'}",
			f == 0 ? "0.0.0.0/0" : "::/0", router);
		vips[f] = ip_of(f == 0 ? "10.96.0.1" : "fd00:96::1");
		outside[f] = ip_of(f == 0 ? "203.0.113.9" : "2001:db8:ffff::9");
		pool[f] = ip_of(f == 0 ? "198.51.100.7" : "2001:db8:7::7");
		for (unsigned int i = 0; i < PODS; i++) {
			char text[32];

			snprintf(text, sizeof(text), f == 0 ? "10.244.1.%u" : "fd00:1::%u", i + 2);
			addrs[f][i] = ip_of(text);
		}
	}
	rig_cmd("{'cmd': 'pool.add', 'name': 'p', 'addresses': ['198.51.100.7', '2001:db8:7::7'], "
		"'port_min': %u, 'port_max': %u}",
		POOL_LO, POOL_HI);
	rig_cmd("{'cmd': 'snat.add', 'name': 'all', 'pool': 'p'}");
	rig_cmd("{'cmd': 'policy.add', 'name': 'shut', 'ingress': 'deny'}");
	is_shut = has_route = false;
	n_backends = 0;
	backends_set(2);
	n_sent = n_received = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_stop();
	return 0;
}

/* --- flows ------------------------------------------------------------------------------------------------------------- */

static enum kind kind_of(unsigned int flow)
{
	return (enum kind)(flow / 2 % KIND_N);
}

/* Who sends. Flows to the outside come in pairs that want the same port. */
static unsigned int sender_of(unsigned int flow)
{
	return kind_of(flow) == OUTSIDE ? flow / 2 / KIND_N % PODS : 0;
}

static struct rig_packet packet_of(unsigned int flow, bool is_mirrored)
{
	unsigned int f = flow & 1, from = sender_of(flow);
	uint16_t port = (uint16_t)(1024 + flow / 2);
	struct rig_packet p = { .src = addrs[f][from],
		.dst = addrs[f][1],
		.sport = port,
		.dport = port,
		.proto = IPPROTO_UDP,
		.id = flow };

	switch (kind_of(flow)) {
	case DIRECT_TCP:
		p.proto = IPPROTO_TCP;
		p.tcp_flags = CONN_TCP_SYN;
		break;
	case DIRECT_ECHO:
		p.proto = IPPROTO_ICMP;
		break;
	case SERVICE:
		p.dst = vips[f];
		p.dport = 53;
		break;
	case OUTSIDE:
		p.dst = outside[f];
		p.sport = (uint16_t)(POOL_LO + flow % 8);
		p.dport = 443;
		p.src = addrs[f][from];
		/* three pods, and few ports */
		p.sport = (uint16_t)(p.sport + flow / 2 / KIND_N / PODS);
		break;
	default:
		break;
	}
	if (is_mirrored && kind_of(flow) <= DIRECT_ECHO) {
		struct ip_addr src = p.src;

		p.src = p.dst;
		p.dst = src;
		p.id |= 1u << 16;
	}
	return p;
}

static void flow_send(unsigned int flow, bool is_mirrored, uint16_t queue)
{
	struct rig_packet p = packet_of(flow, is_mirrored);
	bool is_b = is_mirrored && kind_of(flow) <= DIRECT_ECHO;

	n_sent += rig_send(is_b ? pods[1] : pods[sender_of(flow)], queue, &p);
}

/* --- what came out ------------------------------------------------------------------------------------------------------ */

/* The source that each flow left with, in the strict phase; sport 0: none yet. */
static struct rig_packet seen[N_FLOWS];

static bool is_own(const struct rig_packet *p, const struct rig_packet *want)
{
	return ip_eq(&p->src, &want->src) && p->sport == want->sport;
}

/* Whether some configuration lets the flow leave by that port like that. */
static void check_loose(const struct port *p, const struct rig_packet *got, unsigned int flow)
{
	const struct rig_packet want = packet_of(flow, (got->id >> 16 & 1) != 0);
	bool is_ok;

	switch (kind_of(flow)) {
	case SERVICE:
		is_ok = is_own(got, &want) && (p == pods[1] || p == pods[2]) && got->dport == 5353;
		/* without the service it is somebody on the internet */
		is_ok = is_ok || (p == up && ip_eq(&got->dst, &want.dst) && got->dport == 53);
		break;
	case OUTSIDE:
		is_ok = p == up && ip_eq(&got->src, &pool[flow & 1]) && got->sport >= POOL_LO &&
			got->sport <= POOL_HI && ip_eq(&got->dst, &want.dst) && got->dport == 443;
		break;
	default:
		is_ok = p == pods[(got->id >> 16 & 1) == 0] && is_own(got, &want) &&
			ip_eq(&got->dst, &want.dst) && got->dport == want.dport;
		break;
	}
	if (!is_ok)
		fail_msg("flow %u left by %s as %u -> %u", flow, p->name, got->sport, got->dport);
}

static void check_strict(const struct port *p, const struct rig_packet *got, unsigned int flow)
{
	if (kind_of(flow) == SERVICE)
		assert_ptr_not_equal(p, up);
	if ((got->id >> 16 & 1) != 0)
		return;
	if (seen[flow].sport == 0)
		seen[flow] = *got;
	if (!is_own(got, &seen[flow]) || !ip_eq(&got->dst, &seen[flow].dst))
		fail_msg("flow %u left from port %u and from port %u", flow, seen[flow].sport,
			got->sport);
}

static void receive(bool is_strict)
{
	for (unsigned int i = 0; i <= PODS; i++) {
		struct port *p = i < PODS ? pods[i] : up;
		struct rig_packet got;

		while (rig_recv(p, &got)) {
			unsigned int flow = got.id & 0xffff;

			assert_true(flow < N_FLOWS);
			n_received++;
			check_loose(p, &got, flow);
			if (is_strict)
				check_strict(p, &got, flow);
		}
	}
}

static void check_strict_end(void)
{
	for (unsigned int i = 0; i < N_FLOWS; i++)
		for (unsigned int j = 0; j < i; j++)
			if (seen[i].sport != 0 && is_own(&seen[i], &seen[j]) &&
				ip_eq(&seen[i].dst, &seen[j].dst) &&
				seen[i].dport == seen[j].dport && seen[i].proto == seen[j].proto)
				fail_msg("flows %u and %u have both left from port %u", i, j,
					seen[i].sport);
	memset(seen, 0, sizeof(seen));
}

/* --- always ----------------------------------------------------------------------------------------------------------------- */

static void check_mailbox(void)
{
	struct pollfd p = { .fd = punt_fd(), .events = POLLIN };
	struct punt_msg msg;
	bool is_woken = poll(&p, 1, 0) == 1;
	unsigned int n = 0;

	while (punt_receive(&msg, 1) == 1) {
		rte_pktmbuf_free(msg.m);
		n++;
	}
	if (n > 0 && !is_woken)
		fail_msg("%u messages in the box, and nobody was woken", n);
}

static void check_books(void)
{
	assert_int_equal(rig_drops(DROP_FLOW_TABLE_FULL) + rig_drops(DROP_NAT_EXHAUSTED) +
			rig_drops(DROP_NO_PATH) + rig_drops(DROP_FLOW_RACE),
		0);
	assert_int_equal(n_sent, n_received + rig_drops_all());
	check_mailbox();
}

static void flush(void)
{
	struct flowtab *tables[] = { &harness_ft4, &harness_ft6 };

	rcu_control_enter();
	for (int f = 0; f < 2; f++)
		for (uint32_t i = 0; i < flowtab_n_touched(tables[f]); i++)
			flowtab_unlink(tables[f], i);
	rcu_control_leave();
}

/* Everything is ended: nothing is left, in any book. */
static void check_empty(void)
{
	struct flowtab *tables[] = { &harness_ft4, &harness_ft6 };

	flush();
	rig_expire(60);
	for (int f = 0; f < 2; f++) {
		assert_int_equal(rig_n_conns(tables[f]), 0);
		assert_int_equal(rig_n_keys(tables[f]), 0);
		assert_int_equal(flowtab_zone_n_conns(tables[f], 0), 0);
		assert_int_equal(flowtab_n_used(tables[f]), 0);
	}
	for (unsigned int i = 0; i < PODS; i++)
		assert_int_equal(
			endpoint_at(endpoint_by_id((char[2]){ (char)('a' + i) }))->n_conns, 0);
}

/* --- what happens ------------------------------------------------------------------------------------------------------------ */

/* Every flow by every queue, from both ends, three times, the first time all at once. */
static void strict_phase(void)
{
	for (int turn = 0; turn < 3; turn++) {
		for (unsigned int flow = 0; flow < N_FLOWS; flow++)
			for (uint16_t q = 0; q < 2; q++) {
				flow_send(flow, false, q);
				flow_send(flow, true, q);
			}
		rig_settle();
		receive(true);
		check_books();
	}
	check_strict_end();
}

static void change(void)
{
	switch (dice(6)) {
	case 0:
		shut_set(!is_shut);
		break;
	case 1:
		backends_set(dice(3));
		break;
	case 2:
		rig_cmd(has_route
				? "{'cmd': 'route.del', 'prefix': '203.0.113.0/24'}"
				: "{'cmd': 'route.add', 'prefix': '203.0.113.0/24', 'port': 'up', "
				  "'via': '192.0.2.254'}");
		has_route = !has_route;
		break;
	case 3:
		flush();
		break;
	case 4:
		clock_warp_ns((1 + dice(40)) * CLOCK_NS_PER_S);
		break;
	default:
		break;
	}
	rcu_poll();
}

static void loose_phase(void)
{
	rig_open();
	for (int step = 0; step < 60; step++) {
		for (unsigned int n = dice(40); n > 0; n--)
			flow_send(dice(N_FLOWS), dice(2), (uint16_t)dice(2));
		change();
		receive(false);
	}
	rig_settle();
	receive(false);
	check_books();
	shut_set(false);
	backends_set(2);
}

static void test_churn_of_everything_on_several_workers(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < n_rounds; round++) {
		loose_phase();
		check_empty();
		strict_phase();
	}
}

static unsigned int number(const char *name, unsigned int def)
{
	const char *text = getenv(name);

	return text != NULL ? (unsigned int)atoi(text) : def;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_churn_of_everything_on_several_workers, setup, teardown),
	};
	char instance[32];
	int failed;

	n_rounds = number("LEAT_WORKERS_ROUNDS", n_rounds);
	n_workers = number("LEAT_WORKERS_N", n_workers);
	seed = number("LEAT_WORKERS_SEED", seed);
	snprintf(instance, sizeof(instance), "churn%d", (int)getpid());
	node_start(instance);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	node_stop();
	return failed;
}
