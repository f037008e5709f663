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

#include <rte_ethdev.h>

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

/* --- a burst of which the device's driver refuses a packet --------------------------------------------------------- */

#define BURST 8
static uint32_t refused_mask; /* by the packet's first byte */
static unsigned int device_room, n_taken;
static uint8_t taken[BURST];

static uint16_t device_prepare(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	(void)queue;
	for (uint16_t i = 0; i < n; i++)
		if ((refused_mask >> *rte_pktmbuf_mtod(pkts[i], uint8_t *) & 1) != 0)
			return i;
	return n;
}

static uint16_t device_burst(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t i;

	(void)queue;
	for (i = 0; i < n && device_room > 0; i++, device_room--) {
		taken[n_taken++] = *rte_pktmbuf_mtod(pkts[i], uint8_t *);
		rte_pktmbuf_free(pkts[i]);
	}
	return i;
}

/* Sends BURST packets, told apart by their first byte, and gives back those that the driver left. */
static uint16_t burst_send(struct port *p, uint32_t refused, unsigned int room)
{
	struct rte_mbuf *m[BURST];
	uint16_t n;

	refused_mask = refused;
	device_room = room;
	n_taken = 0;
	memset(p->stats[0], 0, sizeof(*p->stats[0]));
	for (uint8_t i = 0; i < BURST; i++) {
		m[i] = rte_pktmbuf_alloc(p->pool);
		assert_non_null(m[i]);
		*(uint8_t *)rte_pktmbuf_append(m[i], 60) = i;
		m[i]->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM;
	}
	n = p->ops->tx(p, 0, m, BURST);
	for (uint16_t i = n; i < BURST; i++)
		assert_int_equal(*rte_pktmbuf_mtod(m[i], uint8_t *), i);
	rte_pktmbuf_free_bulk(m + n, BURST - n);
	return n;
}

static void test_ethdev_burst_goes_on_behind_refused_packets(void **state)
{
	struct port_config cfg = { .kind = "ethdev",
		.name = "eth",
		.device = "net_null0",
		.role = PORT_ROLE_UPLINK,
		.netns_fd = -1,
		.tap_fd = -1 };
	static const struct {
		uint32_t refused;
		unsigned int room, n_gone, n_taken;
	} cases[] = {
		{ 0, BURST, BURST, BURST },
		{ 1u << 0, BURST, BURST, BURST - 1 },
		{ 1u << 3, BURST, BURST, BURST - 1 },
		{ 1u << (BURST - 1), BURST, BURST, BURST - 1 },
		{ 0x96, BURST, BURST, BURST - 4 },
		{ 0xff, BURST, BURST, 0 },
		/* the queue is full before, at and behind the refused one: what is left is the caller's */
		{ 1u << 3, 2, 2, 2 },
		{ 1u << 3, 3, 4, 3 },
		{ 1u << 3, 5, 6, 5 },
	};
	struct rte_eth_fp_ops *ops;
	struct port *p = NULL;
	uint16_t id;

	(void)state;
	assert_int_equal(port_create(&cfg, &p, err, sizeof(err)), 0);
	assert_int_equal(rte_eth_dev_get_port_by_name("net_null0", &id), 0);
	ops = &rte_eth_fp_ops[id];
	ops->tx_pkt_prepare = device_prepare;
	ops->tx_pkt_burst = device_burst;
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		assert_int_equal(burst_send(p, cases[i].refused, cases[i].room), cases[i].n_gone);
		assert_int_equal(n_taken, cases[i].n_taken);
		assert_int_equal(
			p->stats[0]->drops[DROP_TX_ERROR], cases[i].n_gone - cases[i].n_taken);
		for (unsigned int k = 0, from = 0; k < n_taken; k++, from++) {
			while ((cases[i].refused >> from & 1) != 0)
				from++;
			assert_int_equal(taken[k], from);
		}
	}
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
		cmocka_unit_test(test_ethdev_burst_goes_on_behind_refused_packets),
		cmocka_unit_test(test_port_create_refused_by_workers_leaves_nothing),
		cmocka_unit_test(test_port_create_bad_config_names_the_field),
		cmocka_unit_test(test_port_create_until_mbufs_are_promised_fails_cleanly),
		cmocka_unit_test(test_ring_port_carries_packets_both_ways_in_order),
		cmocka_unit_test(test_ring_port_armed_wakes_once_a_packet_comes),
		cmocka_unit_test(test_port_stats_sum_adds_workers),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
