/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two workers whose steps are interleaved on purpose, on one thread: at a point of the first one's way (datapath/base/race.h) the
 * second one does its whole turn. So each case is met exactly, every time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "datapath/base/clock.h"
#include "datapath/base/race.h"
#include "datapath/pipeline/punt.h"
#include "tests/packet/workers_rig.h"

#define N_CONNS 1024u

static enum race_point at;
static void (*meanwhile)(void); /* happens once, at that point */

static void hook(enum race_point point)
{
	void (*fn)(void) = meanwhile;

	if (point != at || fn == NULL)
		return;
	meanwhile = NULL;
	fn();
}

static void when(enum race_point point, void (*fn)(void))
{
	at = point;
	meanwhile = fn;
}

static struct ip_addr ip_of(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_parse(text, &a), 0);
	return a;
}

/* Pods a (worker 0) and b (worker 1), an uplink with two queues. */
static int setup(void **state)
{
	(void)state;
	race_hook = hook;
	meanwhile = NULL;
	rig_start(N_CONNS, 2, true);
	for (int i = 0; i < 2; i++) {
		rig_cmd("{'cmd': 'port.add', 'name': '%c', 'role': 'pod', 'queues': 2, "
			"'mac': '0a:58:0a:f4:01:0%d'}",
			'a' + i, i + 2);
		rig_cmd("{'cmd': 'endpoint.add', 'id': '%c', 'port': '%c', "
			"'addresses': ['10.244.1.%d', 'fd00:1::%d']}",
			'a' + i, 'a' + i, i + 2, i + 2);
	}
	rig_cmd("{'cmd': 'port.add', 'name': 'up', 'role': 'uplink', 'mac': '02:00:00:00:00:10', "
		"'addresses': ['192.0.2.1/24', '2001:db8:1::1/64'], 'queues': 2}");
	for (int i = 0; i < 2; i++) {
		const char *router = i == 0 ? "192.0.2.254" : "2001:db8:1::fe";

		rig_cmd("{'cmd': 'neigh.add', 'port': 'up', 'address': '%s', "
			"'mac': '02:00:00:00:00:fe'}",
			router);
		rig_cmd("{'cmd': 'route.add', 'prefix': '%s', 'port': 'up', 'via': '%s'}",
			i == 0 ? "0.0.0.0/0" : "::/0", router);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	race_hook = NULL;
	rig_stop();
	return 0;
}

static struct rig_packet packet(
	const char *src, uint16_t sport, const char *dst, uint16_t dport, uint8_t proto)
{
	static uint32_t id;

	return (struct rig_packet){ .src = ip_of(src),
		.dst = ip_of(dst),
		.sport = sport,
		.dport = dport,
		.proto = proto,
		.tcp_flags = proto == IPPROTO_TCP ? CONN_TCP_SYN : 0,
		.id = ++id };
}

/* The packet comes out of the port, as it went in but for what `want` says. */
static void expect(const char *port, const struct rig_packet *want)
{
	struct rig_packet got;
	char a[IP_ADDR_STRLEN], b[IP_ADDR_STRLEN];

	if (!rig_recv(rig_port(port), &got))
		fail_msg("nothing came out of %s", port);
	if (!ip_eq(&got.src, &want->src) || !ip_eq(&got.dst, &want->dst) ||
		got.sport != want->sport || got.dport != want->dport || got.id != want->id)
		fail_msg("%s: packet %u came out of %s, as packet %u %s:%u -> %s:%u", "wrong",
			want->id, port, got.id, ip_format(&got.src, a), got.sport,
			ip_format(&got.dst, b), got.dport);
}

static void expect_nothing_else(unsigned int n_conns)
{
	static const char *const names[] = { "a", "b", "up" };
	struct rig_packet got;

	for (unsigned int i = 0; i < 3; i++)
		assert_false(rig_recv(rig_port(names[i]), &got));
	assert_int_equal(rig_drops_all(), 0);
	assert_int_equal(rig_n_conns(&harness_ft4) + rig_n_conns(&harness_ft6), n_conns);
	assert_null(meanwhile);
}

static void other_worker(void)
{
	rig_turn(1);
}

/* b's first packet is judged and sent while a's, of the same connection, waits to be published. */
static void mirrored(const char *a, const char *b, uint8_t proto, uint16_t sport, uint16_t dport)
{
	struct rig_packet ab = packet(a, sport, b, dport, proto),
			  ba = packet(b, dport, a, sport, proto), again = ab;
	const struct flowtab *t = ip_is_v4(&ab.src) ? &harness_ft4 : &harness_ft6;
	unsigned int before = rig_n_conns(t);

	assert_true(rig_send(rig_port("a"), 0, &ab) && rig_send(rig_port("b"), 0, &ba));
	when(RACE_COMMIT, other_worker);
	rig_turn(0);
	expect("a", &ba);
	expect("b", &ab);
	/* two echo requests are two questions, whatever their identifiers */
	assert_int_equal(rig_n_conns(t), before + (proto == IPPROTO_ICMP ? 2 : 1));
	/* what follows is hits */
	again.tcp_flags = CONN_TCP_ACK;
	for (int i = 0; i < 3; i++) {
		assert_true(rig_send(rig_port("a"), 0, &again));
		rig_settle();
		expect("b", &again);
	}
}

static void test_races_mirrored_first_packets_are_one_connection(void **state)
{
	static const char *const a[] = { "10.244.1.2", "fd00:1::2" },
				 *const b[] = { "10.244.1.3", "fd00:1::3" };
	static const uint8_t protos[] = { IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMP };

	(void)state;
	for (int family = 0; family < 2; family++)
		for (int i = 0; i < 3; i++) {
			mirrored(a[family], b[family], protos[i], 4000, 4000);
			if (protos[i] != IPPROTO_ICMP)
				mirrored(a[family], b[family], protos[i], 4001, 53);
		}
	expect_nothing_else(6 * 2);
}

/* A packet of a backend, from the service's port to the client, while the client's first packet to the service is on its way. */
static void test_races_backend_speaks_first_and_its_client_too(void **state)
{
	static const char *const vip[] = { "10.96.0.1", "fd00:96::1" },
				 *const a[] = { "10.244.1.2", "fd00:1::2" },
				 *const b[] = { "10.244.1.3", "fd00:1::3" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct rig_packet to_vip = packet(a[i], 5000, vip[i], 80, IPPROTO_UDP),
				  want = to_vip, back = packet(b[i], 8080, a[i], 5000, IPPROTO_UDP),
				  want_back = back;

		rig_cmd("{'cmd': 'service.add', 'name': 's%d', "
			"'frontends': [{'ip': '%s', 'proto': 'udp', 'port': 80}], "
			"'backends': [{'ip': '%s', 'port': 8080}]}",
			i, vip[i], b[i]);
		want.dst = ip_of(b[i]);
		want.dport = 8080;
		want_back.src = ip_of(vip[i]);
		want_back.sport = 80;
		/* The client is first. */
		assert_true(
			rig_send(rig_port("a"), 1, &to_vip) && rig_send(rig_port("b"), 1, &back));
		when(RACE_COMMIT, other_worker);
		rig_turn(0); /* b's second queue */
		expect("b", &want);
		expect("a", &want_back);
		/* The backend is first, and speaks for itself: the client's connection gets another port. */
		back.sport = to_vip.sport = back.dport = 6000;
		back.sport = 8080;
		assert_true(
			rig_send(rig_port("a"), 0, &to_vip) && rig_send(rig_port("b"), 0, &back));
		when(RACE_COMMIT, other_worker);
		rig_turn(0);
		expect("a", &back);
		assert_true(rig_recv(rig_port("b"), &want));
		assert_int_equal(want.dport, 8080);
		assert_int_not_equal(want.sport, 6000);
	}
	expect_nothing_else(6);
}

/* Both pods want one and the same source port, or one pod's two queues one connection. */
static void test_races_colliding_sources_leave_under_tuples_of_their_own(void **state)
{
	static const char *const dst[] = { "203.0.113.9", "2001:db8:ffff::9" },
				 *const a[] = { "10.244.1.2", "fd00:1::2" },
				 *const b[] = { "10.244.1.3", "fd00:1::3" };
	struct rig_packet got[2];

	(void)state;
	rig_cmd("{'cmd': 'snat.add', 'name': 'all'}");
	for (int i = 0; i < 2; i++) {
		struct rig_packet from_a = packet(a[i], 50000, dst[i], 53, IPPROTO_UDP),
				  from_b = packet(b[i], 50000, dst[i], 53, IPPROTO_UDP);

		assert_true(
			rig_send(rig_port("a"), 0, &from_a) && rig_send(rig_port("b"), 0, &from_b));
		when(RACE_COMMIT, other_worker);
		rig_turn(0);
		for (int k = 0; k < 2; k++)
			assert_true(rig_recv(rig_port("up"), &got[k]));
		assert_int_equal(got[0].id, from_b.id);
		assert_int_equal(got[0].sport, 50000);
		assert_int_not_equal(got[1].sport, 50000);
		/* the same again: hits, under the same ports */
		assert_true(
			rig_send(rig_port("a"), 0, &from_a) && rig_send(rig_port("b"), 0, &from_b));
		rig_settle();
		got[1].id = from_a.id;
		expect("up", &got[1]);
		expect("up", &got[0]);
		/* One connection by both queues. */
		from_a.sport = 50001;
		assert_true(
			rig_send(rig_port("a"), 0, &from_a) && rig_send(rig_port("a"), 1, &from_a));
		when(RACE_COMMIT, other_worker);
		rig_turn(0);
		for (int k = 0; k < 2; k++) {
			assert_true(rig_recv(rig_port("up"), &got[k]));
			assert_int_equal(got[k].sport, 50001);
		}
	}
	expect_nothing_else(6);
}

/* A connection is swept while its next packets come on another worker: late ones go its way, then there is a new one. */
static void test_races_packet_of_a_connection_that_is_being_swept_is_not_lost(void **state)
{
	struct rig_packet ab = packet("10.244.1.2", 7000, "10.244.1.3", 53, IPPROTO_UDP), ba;

	(void)state;
	ba = packet("10.244.1.3", 53, "10.244.1.2", 7000, IPPROTO_UDP);
	assert_true(rig_send(rig_port("a"), 0, &ab));
	rig_settle();
	expect("b", &ab);
	/* one by its flow, one that nobody has judged: a connection of the other direction, with the same keys */
	assert_true(rig_send(rig_port("a"), 1, &ab) && rig_send(rig_port("b"), 0, &ba));
	when(RACE_SWEEP, other_worker);
	clock_warp_ns(130 * CLOCK_NS_PER_S);
	rig_turn(0);
	expect("b", &ab);
	expect("a", &ba);
	for (int i = 0; i < 3; i++)
		rig_settle();
	assert_int_equal(rig_n_conns(&harness_ft4), 1);
	assert_true(rig_send(rig_port("a"), 0, &ab) && rig_send(rig_port("b"), 0, &ba));
	rig_settle();
	expect("b", &ab);
	expect("a", &ba);
	expect_nothing_else(1);
}

/* --- the mailboxes ------------------------------------------------------------------------------------------------ */

static bool is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void send_punt(void)
{
	const struct punt_msg msg = { .kind = PUNT_PROBE };

	assert_true(punt_send(&msg));
}

static void send_inject(void)
{
	const struct inject_msg msg = { .kind = INJECT_TX };

	assert_true(inject_send(1, &msg));
}

static void receive_punt(void)
{
	struct punt_msg msgs[2];

	assert_true(punt_receive(msgs, 2) > 0);
}

static void test_races_two_senders_at_once_wake_the_reader(void **state)
{
	struct punt_msg punts[8];
	struct inject_msg injects[8];

	(void)state;
	for (int i = 0; i < 3; i++) {
		when(RACE_MAILBOX, send_punt);
		send_punt();
		assert_true(is_readable(punt_fd()));
		assert_int_equal(punt_receive(punts, 8), 2);
		assert_false(is_readable(punt_fd()));
		when(RACE_MAILBOX, send_inject);
		send_inject();
		assert_true(is_readable(inject_fd(1)));
		assert_int_equal(inject_receive(1, injects, 8), 2);
		assert_false(is_readable(inject_fd(1)));
	}
}

static void test_races_reader_that_is_faster_than_the_wake_up_is_woken_next_time(void **state)
{
	struct inject_msg injects[8];

	(void)state;
	/* The message is read before its sender has woken anybody: an empty box, a readable descriptor. */
	when(RACE_MAILBOX, receive_punt);
	send_punt();
	assert_true(is_readable(punt_fd()));
	assert_int_equal(punt_receive(&(struct punt_msg){ 0 }, 1), 0);
	assert_false(is_readable(punt_fd()));
	send_punt();
	assert_true(is_readable(punt_fd()));
	receive_punt();
	/* A worker is woken and finds its box empty. */
	send_inject();
	assert_int_equal(inject_receive(1, injects, 8), 1);
	send_inject();
	inject_woken(1);
	assert_int_equal(inject_receive(1, injects, 8), 1);
	inject_woken(1);
	assert_int_equal(inject_receive(1, injects, 8), 0);
	send_inject();
	assert_true(is_readable(inject_fd(1)));
	assert_int_equal(inject_receive(1, injects, 8), 1);
}

static void test_races_reader_that_leaves_some_is_woken_for_the_rest(void **state)
{
	struct punt_msg punts[2];

	(void)state;
	for (int i = 0; i < 5; i++)
		send_punt();
	for (int left = 5; left > 0; left -= 2) {
		assert_true(is_readable(punt_fd()));
		assert_int_equal(punt_receive(punts, 2), left > 1 ? 2 : 1);
	}
	assert_false(is_readable(punt_fd()));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_races_mirrored_first_packets_are_one_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_races_backend_speaks_first_and_its_client_too, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_races_colliding_sources_leave_under_tuples_of_their_own, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_races_packet_of_a_connection_that_is_being_swept_is_not_lost, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_races_two_senders_at_once_wake_the_reader, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_races_reader_that_is_faster_than_the_wake_up_is_woken_next_time, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_races_reader_that_leaves_some_is_woken_for_the_rest, setup, teardown),
	};
	char instance[32];
	int failed;

	snprintf(instance, sizeof(instance), "races%d", (int)getpid());
	node_start(instance);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	node_stop();
	return failed;
}
