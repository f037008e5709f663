/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "datapath/base/clock.h"
#include "datapath/base/rcu.h"
#include "pmd/eal.h"
#include "pmd/kind_ring.h"
#include "pmd/kinds.h"
#include "pmd/mempool.h"
#include "pmd/portmgr.h"

static char err[256];
static int n_attached;

static int attach(struct port *p, char *errbuf, size_t errlen)
{
	if (strcmp(p->name, "refused") == 0) {
		snprintf(errbuf, errlen, "no worker wants it");
		return -EBUSY;
	}
	n_attached++;
	return 0;
}

static void detach(struct port *p)
{
	(void)p;
	n_attached--;
}

static int setup(void **state)
{
	const struct portmgr_config ports = { .n_workers = 2, .attach = attach, .detach = detach };
	const struct mempool_config pools = { .n_mbufs = 4095 };
	struct eal_config eal = { .no_huge = true, .mem_mb = 64 };
	char name[32];

	(void)state;
	snprintf(name, sizeof(name), "unit-%d", getpid());
	eal.instance = name;
	if (eal_start(&eal, err, sizeof(err)) < 0 || mempool_init(&pools, err, sizeof(err)) < 0) {
		fprintf(stderr, "%s\n", err);
		return -1;
	}
	clock_init();
	return rcu_init() < 0 ? -1 : portmgr_init(&ports);
}

static int teardown(void **state)
{
	struct mempool_usage usage;

	(void)state;
	portmgr_fini(false);
	mempool_usage_read(&usage);
	assert_int_equal(usage.in_use, 0);
	assert_int_equal(usage.reserved, 0);
	mempool_fini();
	rcu_fini();
	eal_stop();
	return 0;
}

static struct port_config ring_config(const char *name)
{
	struct port_config cfg = { .kind = "ring", .netns_fd = -1, .tap_fd = -1 };

	snprintf(cfg.name, sizeof(cfg.name), "%s", name);
	return cfg;
}

static struct port *ring_create(const char *name)
{
	struct port_config cfg = ring_config(name);
	struct port *p = NULL;

	assert_int_equal(port_create(&cfg, &p, err, sizeof(err)), 0);
	return p;
}

static void test_port_create_publishes_and_destroy_frees_after_grace(void **state)
{
	struct port *p = ring_create("a");
	uint16_t id = p->id;

	(void)state;
	assert_ptr_equal(rcu_deref(port_table[id]), p);
	assert_ptr_equal(port_by_name("a"), p);
	assert_int_equal(n_attached, 1);
	assert_int_equal(p->mtu, 1500);
	assert_false(rte_is_zero_ether_addr(&p->mac));
	port_destroy(p, false);
	assert_null(rcu_deref(port_table[id]));
	assert_null(port_by_name("a"));
	assert_int_equal(n_attached, 0);
	rcu_synchronize();
	p = ring_create("b");
	assert_int_equal(p->id, id);
	port_destroy(p, false);
	rcu_synchronize();
}

static void test_port_create_same_name_is_refused_until_destroyed(void **state)
{
	struct port_config cfg = ring_config("a");
	struct port *p = ring_create("a"), *other;

	(void)state;
	assert_int_equal(port_create(&cfg, &other, err, sizeof(err)), -EEXIST);
	assert_non_null(strstr(err, "'a'"));
	port_destroy(p, false);
	p = ring_create("a"); /* while the old one is still closing */
	port_destroy(p, false);
	rcu_synchronize();
}

static void test_port_create_refused_by_workers_leaves_nothing(void **state)
{
	struct port_config cfg = ring_config("refused");
	struct mempool_usage before, after;
	struct port *p;

	(void)state;
	mempool_usage_read(&before);
	assert_int_equal(port_create(&cfg, &p, err, sizeof(err)), -EBUSY);
	assert_string_equal(err, "no worker wants it");
	assert_int_equal(port_count(), 0);
	assert_null(port_by_name("refused"));
	mempool_usage_read(&after);
	assert_int_equal(before.reserved, after.reserved);
}

static void test_port_create_bad_config_names_the_field(void **state)
{
	struct port_config cfg = ring_config("a");
	struct port *p;

	(void)state;
	cfg.kind = "bridge";
	assert_int_equal(port_create(&cfg, &p, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "bridge"));
	cfg = ring_config("a");
	cfg.mtu = 65000;
	assert_int_equal(port_create(&cfg, &p, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "65000"));
	cfg = ring_config("a");
	cfg.n_queues = PORT_QUEUES_MAX + 1;
	assert_int_equal(port_create(&cfg, &p, err, sizeof(err)), -EINVAL);
	cfg = ring_config("");
	assert_int_equal(port_create(&cfg, &p, err, sizeof(err)), -EINVAL);
}

static void test_port_create_until_mbufs_are_promised_fails_cleanly(void **state)
{
	struct port *ports[PORT_MAX], *p;
	struct mempool_usage usage;
	char name[16];
	int n = 0, ret = 0;

	(void)state;
	while (n < PORT_MAX) {
		struct port_config cfg;

		snprintf(name, sizeof(name), "p%d", n);
		cfg = ring_config(name);
		cfg.n_desc = 16;
		cfg.n_queues = 2;
		ret = port_create(&cfg, &p, err, sizeof(err));
		if (ret < 0)
			break;
		ports[n++] = p;
	}
	assert_int_equal(ret, -ENOBUFS);
	assert_non_null(strstr(err, "packet buffers"));
	assert_int_equal(n, (4095 - 4095 / 8) / 64);
	assert_int_equal(port_count(), n);
	while (n > 0)
		port_destroy(ports[--n], false);
	rcu_synchronize();
	mempool_usage_read(&usage);
	assert_int_equal(usage.reserved, 0);
}

static void test_ring_port_carries_packets_both_ways_in_order(void **state)
{
	struct port *p = ring_create("r");
	struct rte_mbuf *in[40], *out[64];

	(void)state;
	assert_int_equal(rte_pktmbuf_alloc_bulk(p->pool, in, 40), 0);
	assert_int_equal(ring_port_inject(p, 0, in, 40), 40);
	assert_int_equal(p->ops->rx(p, 0, 0, out, 32), 32);
	assert_memory_equal(in, out, 32 * sizeof(in[0]));
	assert_int_equal(p->ops->tx(p, 1, out, 32), 32);
	assert_int_equal(ring_port_drain(p, out, 64), 32);
	assert_memory_equal(in, out, 32 * sizeof(in[0]));
	rte_pktmbuf_free_bulk(out, 32);
	ring_port_set_up(p, false);
	assert_false(p->ops->is_up(p));
	assert_int_equal(p->ops->rx(p, 0, 0, out, 32), 8);
	assert_int_equal(p->ops->tx(p, 0, out, 8), 0);
	ring_port_set_up(p, true);
	assert_int_equal(p->ops->tx(p, 0, out, 8), 8);
	port_destroy(p, false); /* frees what nobody drained: teardown counts */
	rcu_synchronize();
}

static void test_ring_port_armed_wakes_once_a_packet_comes(void **state)
{
	struct port *p = ring_create("r");
	struct rte_mbuf *m = rte_pktmbuf_alloc(p->pool), *out[4];
	struct pollfd pfd = { .events = POLLIN };
	uint32_t gen;

	(void)state;
	pfd.fd = p->ops->rx_arm(p, 0, &gen);
	assert_true(pfd.fd >= 0);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	assert_int_equal(ring_port_inject(p, 0, &m, 1), 1);
	assert_int_equal(poll(&pfd, 1, 0), 1);
	p->ops->rx_disarm(p, 0);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	assert_int_equal(p->ops->rx_arm(p, 0, &gen), -EAGAIN);
	assert_int_equal(p->ops->rx(p, 0, 0, out, 4), 1);
	rte_pktmbuf_free(out[0]);
	port_destroy(p, false);
	rcu_synchronize();
}

static void test_port_stats_sum_adds_workers(void **state)
{
	struct port *p = ring_create("r");
	struct port_stats sum;

	(void)state;
	p->stats[0]->rx_pkts = 3;
	p->stats[1]->rx_pkts = 4;
	p->stats[1]->drops[DROP_NO_ROUTE] = 5;
	port_stats_sum(p, &sum);
	assert_int_equal(sum.rx_pkts, 7);
	assert_int_equal(sum.drops[DROP_NO_ROUTE], 5);
	port_destroy(p, false);
	rcu_synchronize();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_port_create_publishes_and_destroy_frees_after_grace),
		cmocka_unit_test(test_port_create_same_name_is_refused_until_destroyed),
		cmocka_unit_test(test_port_create_refused_by_workers_leaves_nothing),
		cmocka_unit_test(test_port_create_bad_config_names_the_field),
		cmocka_unit_test(test_port_create_until_mbufs_are_promised_fails_cleanly),
		cmocka_unit_test(test_ring_port_carries_packets_both_ways_in_order),
		cmocka_unit_test(test_ring_port_armed_wakes_once_a_packet_comes),
		cmocka_unit_test(test_port_stats_sum_adds_workers),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
