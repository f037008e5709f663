/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two workers at once, on threads: first packets that mirror each other or collide, with what must hold whoever is first. Each
 * scenario goes round a few hundred times; LEAT_WORKERS_ROUNDS asks for more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/packet/workers_rig.h"

#define N_CONNS 4096u
#define BURST 16u

static unsigned int n_rounds = 200;

static struct ip_addr ip_of(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_parse(text, &a), 0);
	return a;
}

/* Pods a and b, neighbours on two workers. */
static int setup(void **state)
{
	(void)state;
	rig_start(N_CONNS, 2, false);
	for (int i = 0; i < 2; i++) {
		rig_cmd("{'cmd': 'port.add', 'name': '%c', 'role': 'pod', 'mac': "
			"'0a:58:0a:f4:01:0%d'}",
			'a' + i, i + 2);
		rig_cmd("{'cmd': 'endpoint.add', 'id': '%c', 'port': '%c', "
			"'addresses': ['10.244.1.%d', 'fd00:1::%d']}",
			'a' + i, 'a' + i, i + 2, i + 2);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_stop();
	return 0;
}

static bool is_same(const struct rig_packet *a, const struct rig_packet *b)
{
	return ip_eq(&a->src, &b->src) && ip_eq(&a->dst, &b->dst) && a->sport == b->sport &&
		a->dport == b->dport && a->proto == b->proto;
}

static void expect(struct port *p, const struct rig_packet *want)
{
	struct rig_packet got;

	if (!rig_recv(p, &got))
		fail_msg("nothing came out of %s: %u -> %u", p->name, want->sport, want->dport);
	if (!is_same(&got, want) || got.id != want->id)
		fail_msg("%s: %u -> %u came out as %u -> %u", p->name, want->sport, want->dport,
			got.sport, got.dport);
}

/* a and b send the first packets of the same connections to each other at the same time. */
static void mirrored(const char *a, const char *b, uint8_t proto, uint16_t dport)
{
	struct port *ports[2] = { rig_port("a"), rig_port("b") };
	struct ip_addr addrs[2] = { ip_of(a), ip_of(b) };
	struct rig_packet pkts[2][BURST];
	const struct flowtab *t = ip_is_v4(&addrs[0]) ? &harness_ft4 : &harness_ft6;

	for (unsigned int round = 0; round < n_rounds; round++) {
		for (unsigned int i = 0; i < BURST; i++)
			for (unsigned int d = 0; d < 2; d++) {
				uint16_t port = (uint16_t)(1024 + (round * BURST + i) % 60000);

				pkts[d][i] = (struct rig_packet){ .src = addrs[d],
					.dst = addrs[!d],
					.sport = d == 0 || dport == 0 ? port : dport,
					.dport = d == 1 || dport == 0 ? port : dport,
					.proto = proto,
					.tcp_flags = proto == IPPROTO_TCP ? CONN_TCP_SYN : 0,
					.id = round << 8 | d << 7 | i };
				assert_true(rig_send(ports[d], 0, &pkts[d][i]));
			}
		rig_settle();
		assert_int_equal(rig_drops_all(), 0);
		/* two echo requests are two questions, whatever their identifiers */
		assert_int_equal(rig_n_conns(t), proto == IPPROTO_ICMP ? 2 * BURST : BURST);
		for (unsigned int i = 0; i < BURST; i++)
			for (unsigned int d = 0; d < 2; d++)
				expect(ports[!d], &pkts[d][i]);
		rig_expire(320);
		assert_int_equal(rig_n_conns(t), 0);
	}
}

static void test_workers_mirrored_udp_is_one_connection(void **state)
{
	(void)state;
	mirrored("10.244.1.2", "10.244.1.3", IPPROTO_UDP, 0);
	mirrored("fd00:1::2", "fd00:1::3", IPPROTO_UDP, 0);
	mirrored("10.244.1.2", "10.244.1.3", IPPROTO_UDP, 53);
}

static void test_workers_mirrored_echoes_are_two_connections(void **state)
{
	(void)state;
	mirrored("10.244.1.2", "10.244.1.3", IPPROTO_ICMP, 0);
	mirrored("fd00:1::2", "fd00:1::3", IPPROTO_ICMP, 0);
}

static void test_workers_simultaneous_open_is_one_connection(void **state)
{
	(void)state;
	mirrored("10.244.1.2", "10.244.1.3", IPPROTO_TCP, 0);
	mirrored("fd00:1::2", "fd00:1::3", IPPROTO_TCP, 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_workers_mirrored_udp_is_one_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_workers_mirrored_echoes_are_two_connections, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_workers_simultaneous_open_is_one_connection, setup, teardown),
	};
	const char *rounds = getenv("LEAT_WORKERS_ROUNDS");
	char instance[32];
	int failed;

	if (rounds != NULL)
		n_rounds = (unsigned int)atoi(rounds);
	snprintf(instance, sizeof(instance), "workers%d", (int)getpid());
	node_start(instance);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	node_stop();
	return failed;
}
