/* SPDX-License-Identifier: BSD-3-Clause */
/* What outlives a process beside the flow tables: which saved flows may run, and that numbers go to whom they were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/flowtab.h"
#include "datapath/table/path.h"
#include "datapath/table/restart.h"
#include "datapath/table/tables.h"
#include "datapath/table/tunnel.h"
#include "tests/unit/packet_util.h"

#define N_CONNS 1024

static struct flowtab t;
static char instance[32];
static const struct rte_ether_addr mac_a = { { 2, 0, 0, 0, 0, 1 } },
				   mac_b = { { 2, 0, 0, 0, 0, 2 } };

/* A process's life up to the workers' start. */
static int begin(void)
{
	const char *what;
	int ret;

	clock_init();
	assert_int_equal(tables_init(1024, 1 << 20, &what), 0);
	ret = restart_open(instance, -1);
	if (ret == 0)
		ret = flowtab_open(&t, instance, false, N_CONNS, 1, -1, &what);
	if (ret == 0)
		restart_adopted();
	return ret;
}

/* The configuration is back. */
static void ready(void)
{
	gen_publish();
	restart_gate_open();
	flowtab_settle(&t);
	restart_settle();
}

static void end(bool keep)
{
	gen_mirror(NULL);
	rcu_synchronize();
	flowtab_close(&t, keep);
	restart_close(keep);
	tables_fini();
}

/* The first process, open for business; skips the test where there are no hugepages for it. */
static void first(void)
{
	int ret;

	snprintf(instance, sizeof(instance), "test-r-%d", getpid());
	ret = begin();
	if (ret < 0) {
		print_message("skipped: no hugepages for a named region (%d)\n", ret);
		restart_close(false);
		tables_fini();
		skip();
	}
	ready();
}

static void again(void)
{
	end(true);
	assert_int_equal(begin(), 0);
}

/* A judged connection's original direction from ingress `in` over `path`: its flow. */
static uint32_t flow_add(uint16_t n, uint16_t in, uint32_t path)
{
	uint32_t conn = flowtab_alloc(&t, 0);
	struct flow4 *orig = flowtab_flow4(&t, 2 * conn), *reply = flowtab_flow4(&t, 2 * conn + 1);

	orig->key = (struct flow_key4){ .src = RTE_BE32(0x0a000001),
		.dst = RTE_BE32(0x0a000002),
		.sport = n,
		.dport = 80,
		.proto = 17 };
	reply->key = flow_key4_reverse(&orig->key);
	orig->prog.in_port = in;
	orig->prog.path = path;
	orig->prog.epoch = gen_now();
	orig->prog.flags = FLOW_F_KEEP_TTL | FLOW_F_METERED;
	reply->prog.path = PATH_NONE;
	reply->prog.flags = FLOW_F_UNJUDGED;
	t.conns[conn].proto = 17;
	t.conns[conn].state = CONN_NEW;
	assert_int_equal(flowtab_publish(&t, conn, NULL), 0);
	return 2 * conn;
}

static bool runs(uint32_t flow)
{
	uint16_t flags = flowtab_prog(&t, flow)->flags;

	assert_int_not_equal((flags & FLOW_F_ADOPTED) != 0, (flags & FLOW_F_UNJUDGED) != 0);
	return (flags & FLOW_F_ADOPTED) != 0;
}

static uint32_t path_add(uint16_t port)
{
	return path_create_plain(port, &mac_a, &mac_b, 1400, 0, SLOT_NONE);
}

static uint32_t tunnel_make(const char *name, uint32_t vni)
{
	struct tunnel proto = {
		.vni = vni, .udp_port = 4789, .remote = ip_from_v4(RTE_BE32(0xc0000201))
	};
	uint32_t idx;

	snprintf(proto.name, sizeof(proto.name), "%s", name);
	assert_int_equal(tunnel_add(&proto, &idx), 0);
	return idx;
}

static void test_restart_flow_that_was_current_runs_until_the_gate_opens(void **state)
{
	uint32_t path, flow;

	(void)state;
	first();
	assert_false(restart_is_gated());
	restart_port_save(7, "pod", 0, 0, false);
	path_add(1); /* so that the other's index is not the first */
	path = path_add(7);
	gen_publish();
	flow = flow_add(1, 7, path);
	for (int i = 0; i < 2; i++) { /* also when the process ends while the gate is shut */
		again();
		assert_true(restart_is_gated());
		assert_true(runs(flow));
		assert_false(runs(flow + 1)); /* never judged */
		assert_int_equal(flowtab_prog(&t, flow)->path, path);
		assert_int_equal(flowtab_prog(&t, flow)->flags & FLOW_F_METERED, 0);
		assert_int_not_equal(flowtab_prog(&t, flow)->flags & FLOW_F_KEEP_TTL, 0);
		assert_int_equal(path_at(path)->port_id, 7);
		assert_int_equal(path_at(path)->mtu, 1400);
		assert_memory_equal(path_at(path)->macs, &mac_a, 6);
		assert_int_not_equal(path_add(7), path);
		restart_port_save(7, "pod", 0, 0, false);
	}
	ready();
	assert_false(runs(flow));
	assert_false(path_slots.live[path]);
	/* Not judged since: it may not run in the next life. */
	again();
	assert_false(runs(flow));
	end(false);
}

static void test_restart_flow_that_was_not_current_waits(void **state)
{
	uint32_t flow[5], path;

	(void)state;
	first();
	restart_port_save(1, "pod", 0, 0, false);
	restart_port_save(2, "shared", 0, 0, true);
	path = path_add(1);
	gen_publish();
	flow[0] = flow_add(1, 1, path);
	flowtab_prog(&t, flow[0])->epoch--; /* not looked at since the last change */
	flow[1] = flow_add(2, 2, path);	    /* whose packet it is, only the endpoints know */
	flow[2] = flow_add(3, 3, path);	    /* from a port that is not known */
	flow[3] = flow_add(4, 1, path + 1); /* over a path that is not known */
	flow[4] = flow_add(5, 1, UINT32_MAX - 1);
	again();
	for (unsigned int i = 0; i < RTE_DIM(flow); i++) {
		assert_false(runs(flow[i]));
		assert_int_equal(flowtab_prog(&t, flow[i])->path, PATH_NONE);
	}
	end(false);
}

static void test_restart_change_without_a_look_at_the_flow_makes_it_wait(void **state)
{
	uint32_t flow, path;

	(void)state;
	first();
	restart_port_save(1, "pod", 0, 0, false);
	path = path_add(1);
	gen_publish();
	flow = flow_add(1, 1, path);
	path_add(1);
	gen_publish();
	again();
	assert_false(runs(flow));
	end(false);
}

static void test_restart_port_and_tunnel_get_their_numbers_back_in_any_order(void **state)
{
	uint32_t a, b, c, flow, path;
	struct ip_addr remote = ip_from_v4(RTE_BE32(0xc0000201));

	(void)state;
	first();
	restart_port_save(3, "x", 5, 1, false);
	a = tunnel_make("a", 1);
	b = tunnel_make("b", 2);
	c = tunnel_make("c", 3);
	path = path_add(3);
	gen_publish();
	flow = flow_add(1, (uint16_t)(FLOW_IN_TUNNEL | c), path);
	again();
	assert_true(runs(flow));
	assert_int_equal(restart_port_find("x", 5, 1), 3);
	assert_int_equal(restart_port_find("x", 6, 1), RESTART_PORTS_MAX);
	assert_int_equal(restart_port_find("x", 5, 0), RESTART_PORTS_MAX);
	assert_int_equal(restart_port_find("y", 5, 1), RESTART_PORTS_MAX);
	assert_true(restart_port_is_kept(3));
	assert_false(restart_port_is_kept(2));
	assert_int_equal(tunnel_make("c", 3), c);
	assert_false(tunnel_make("new", 9) <= c);
	assert_int_equal(tunnel_make("a", 1), a);
	assert_int_equal(restart_tunnel_find(&remote, 2, 1), SLOT_NONE);
	ready();
	assert_false(restart_port_is_kept(3));
	/* Nobody came for b's. */
	assert_int_equal(tunnel_make("newer", 10), b);
	again();
	assert_int_equal(
		restart_port_find("x", 5, 1), RESTART_PORTS_MAX); /* it had not come back */
	end(false);
}

static void test_restart_spoilt_records_are_nobodys_index(void **state)
{
	uint32_t flow, path;
	struct path bad = { .port_id = 1, .mtu = 1400, .kind = PATH_VXLAN };

	(void)state;
	first();
	restart_port_save(1, "pod", 0, 0, false);
	path = path_add(1);
	bad.vxlan.len = 200;
	restart_path_save(path, &bad);
	gen_publish();
	flow = flow_add(1, 1, path);
	again();
	assert_false(runs(flow));
	end(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restart_flow_that_was_current_runs_until_the_gate_opens),
		cmocka_unit_test(test_restart_flow_that_was_not_current_waits),
		cmocka_unit_test(test_restart_change_without_a_look_at_the_flow_makes_it_wait),
		cmocka_unit_test(test_restart_port_and_tunnel_get_their_numbers_back_in_any_order),
		cmocka_unit_test(test_restart_spoilt_records_are_nobodys_index),
	};

	return cmocka_run_group_tests_name("restart", tests, util_setup, util_teardown);
}
