/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The smallest switch that exercises vhost ports without the pipeline: what comes in on a port goes out on its peer.
 * vhost_rig INSTANCE N_WORKERS; commands on standard input, one answer line each:
 *   add NAME PATH server|client QUEUES [MODE UID GID]    → ok | error SENTENCE
 *   peer NAME NAME (both ways; NAME NAME: back to sender) → ok
 *   del NAME | keep NAME (leaves the socket file)        → ok
 *   stats NAME → ok {JSON: rx, tx, up, offloads, rx_flagged, drops{name: n}}
 *   describe NAME → ok key=value…        mbufs → ok in_use        sleeps → ok n        quit → bye
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_launch.h>

#include "datapath/base/clock.h"
#include "datapath/base/log.h"
#include "datapath/base/rcu.h"
#include "pmd/eal.h"
#include "pmd/mempool.h"
#include "pmd/portmgr.h"

#define BURST 64
#define IDLE_US 50
#define WORKERS_MAX 4

static _Atomic bool is_stopping;
static _Atomic uint64_t n_sleeps;
static _Atomic uint16_t peer_of[PORT_MAX]; /* id + 1; 0: none */
static _Atomic uint64_t n_flagged[PORT_MAX];
static uint32_t armed_gen[WORKERS_MAX][PORT_MAX][PORT_QUEUES_MAX];
static unsigned int n_workers;
static int wake_fds[WORKERS_MAX]; /* the set of ports has changed */

/* What the far side of out cannot take is dropped; the pipeline would finish it instead. */
static uint16_t flagged_filter(
	struct port *in, struct port *out, unsigned int w, struct rte_mbuf **pkts, uint16_t n)
{
	uint32_t offloads = atomic_load_explicit(&out->tx_offloads, memory_order_relaxed);
	uint16_t n_left = 0;

	for (uint16_t i = 0; i < n; i++) {
		uint64_t flags = pkts[i]->ol_flags;

		if (flags != 0)
			atomic_fetch_add_explicit(&n_flagged[in->id], 1, memory_order_relaxed);
		if ((flags & RTE_MBUF_F_TX_L4_MASK && !(offloads & PORT_TX_CSUM)) ||
			(flags & RTE_MBUF_F_TX_TCP_SEG &&
				!(offloads & (PORT_TX_TSO4 | PORT_TX_TSO6)))) {
			in->stats[w]->drops[DROP_TX_ERROR]++;
			rte_pktmbuf_free(pkts[i]);
		} else {
			pkts[n_left++] = pkts[i];
		}
	}
	return n_left;
}

static uint16_t port_poll(struct port *in, uint16_t queue, unsigned int w)
{
	uint16_t peer = atomic_load_explicit(&peer_of[in->id], memory_order_relaxed), n_sent = 0,
		 n_left;
	struct port *out = peer != 0 ? rcu_deref(port_table[peer - 1]) : NULL;
	struct port_stats *stats = in->stats[w];
	struct rte_mbuf *pkts[BURST];
	uint16_t n = in->ops->rx(in, queue, w, pkts, BURST);

	if (n == 0)
		return 0;
	stats->rx_pkts += n;
	for (uint16_t i = 0; i < n; i++)
		stats->rx_bytes += pkts[i]->pkt_len;
	n_left = n;
	if (out != NULL) {
		n_left = flagged_filter(in, out, w, pkts, n);
		n_sent = out->ops->tx(out, w, pkts, n_left);
		out->stats[w]->tx_pkts += n_sent;
	}
	stats->drops[out != NULL ? DROP_TX_FULL : DROP_NO_ROUTE] += (uint64_t)(n_left - n_sent);
	rte_pktmbuf_free_bulk(&pkts[n_sent], (unsigned int)(n_left - n_sent));
	return n;
}

static void sleep_on_ports(int epfd, unsigned int w)
{
	struct epoll_event events[64];
	int timeout_ms = 100;
	eventfd_t count;

	for (unsigned int i = 0; i < PORT_MAX; i++) {
		struct port *p = rcu_deref(port_table[i]);

		for (uint16_t q = 0; p != NULL && q < p->n_rxq; q++) {
			struct epoll_event ev = { .events = EPOLLIN };
			uint32_t gen;
			int fd;

			if (q % n_workers != w)
				continue;
			fd = p->ops->rx_arm(p, q, &gen);
			if (fd == -EAGAIN)
				return;
			if (fd == -ENOTSUP)
				timeout_ms = 1;
			if (fd < 0 || armed_gen[w][i][q] == gen)
				continue;
			if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) == 0)
				armed_gen[w][i][q] = gen;
		}
	}
	rcu_reader_offline(w);
	(void)epoll_wait(epfd, events, 64, timeout_ms);
	rcu_reader_online(w);
	(void)eventfd_read(wake_fds[w], &count);
	atomic_fetch_add_explicit(&n_sleeps, 1, memory_order_relaxed);
}

static int worker(void *arg)
{
	unsigned int w = (unsigned int)(uintptr_t)arg;
	uint64_t idle_since = rte_rdtsc();
	struct epoll_event ev = { .events = EPOLLIN };
	int epfd = epoll_create1(EPOLL_CLOEXEC);

	(void)epoll_ctl(epfd, EPOLL_CTL_ADD, wake_fds[w], &ev);
	rcu_reader_register(w);
	while (!atomic_load_explicit(&is_stopping, memory_order_relaxed)) {
		unsigned int n = 0;

		for (unsigned int i = 0; i < PORT_MAX; i++) {
			struct port *p = rcu_deref(port_table[i]);

			for (uint16_t q = 0; p != NULL && q < p->n_rxq; q++)
				if (q % n_workers == w)
					n += port_poll(p, q, w);
		}
		rcu_quiescent(w);
		if (n != 0)
			idle_since = rte_rdtsc();
		else if (rte_rdtsc() - idle_since > rte_get_tsc_hz() / 1000000 * IDLE_US)
			sleep_on_ports(epfd, w);
	}
	rcu_reader_unregister(w);
	close(epfd);
	return 0;
}

static void cmd_add(const char *args)
{
	struct port_config cfg = {
		.kind = "vhost", .netns_fd = -1, .tap_fd = -1, .socket_uid = -1, .socket_gid = -1
	};
	char path[256], role[16], err[256] = "";
	unsigned int n_queues;
	struct port *p;
	int n;

	n = sscanf(args, "%63s %255s %15s %u %o %d %d", cfg.name, path, role, &n_queues,
		&cfg.socket_mode, &cfg.socket_uid, &cfg.socket_gid);
	if (n != 4 && n != 7) {
		puts("error usage");
		return;
	}
	cfg.socket_path = path;
	cfg.is_vhost_client = strcmp(role, "client") == 0;
	cfg.n_queues = (uint16_t)n_queues;
	if (port_create(&cfg, &p, err, sizeof(err)) < 0)
		printf("error %s\n", err);
	else
		puts("ok");
	for (unsigned int w = 0; w < n_workers; w++)
		(void)eventfd_write(wake_fds[w], 1);
}

static void cmd_stats(const struct port *p)
{
	struct port_stats s;
	const char *comma = "";

	port_stats_sum(p, &s);
	printf("ok {\"rx\": %lu, \"rx_bytes\": %lu, \"tx\": %lu, \"up\": %s, \"offloads\": %u, "
	       "\"rx_flagged\": %lu, \"drops\": {",
		s.rx_pkts, s.rx_bytes, s.tx_pkts, p->ops->is_up(p) ? "true" : "false",
		atomic_load(&p->tx_offloads), atomic_load(&n_flagged[p->id]));
	for (int i = 0; i < DROP_N; i++) {
		if (s.drops[i] == 0)
			continue;
		printf("%s\"%s\": %lu", comma, drop_name((enum drop_reason)i), s.drops[i]);
		comma = ", ";
	}
	puts("}}");
}

static void cmd_port(const char *cmd, const char *name, const char *other)
{
	struct port *p = port_by_name(name), *o = other != NULL ? port_by_name(other) : NULL;
	char text[1024];

	if (p == NULL || (other != NULL && o == NULL)) {
		puts("error no such port");
	} else if (strcmp(cmd, "stats") == 0) {
		cmd_stats(p);
	} else if (strcmp(cmd, "describe") == 0) {
		p->ops->describe(p, text, sizeof(text));
		printf("ok %s\n", text);
	} else if (strcmp(cmd, "peer") == 0 && o != NULL) {
		atomic_store(&peer_of[p->id], (uint16_t)(o->id + 1));
		atomic_store(&peer_of[o->id], (uint16_t)(p->id + 1));
		puts("ok");
	} else if (strcmp(cmd, "del") == 0 || strcmp(cmd, "keep") == 0) {
		atomic_store(&peer_of[p->id], 0);
		port_destroy(p, strcmp(cmd, "keep") == 0);
		while (rcu_poll() != 0)
			usleep(100); /* poll interval */
		puts("ok");
	} else {
		puts("error usage");
	}
}

static void command(char *line)
{
	char *save = NULL, *cmd = strtok_r(line, " \n", &save), *name, *other;
	struct mempool_usage usage;

	if (cmd == NULL) {
		puts("error usage");
	} else if (strcmp(cmd, "mbufs") == 0) {
		mempool_usage_read(&usage);
		printf("ok %u\n", usage.in_use);
	} else if (strcmp(cmd, "sleeps") == 0) {
		printf("ok %lu\n", atomic_load(&n_sleeps));
	} else if (strcmp(cmd, "add") == 0) {
		cmd_add(save);
	} else {
		name = strtok_r(NULL, " \n", &save);
		other = strtok_r(NULL, " \n", &save);
		if (name == NULL)
			puts("error usage");
		else
			cmd_port(cmd, name, other);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned int cores[WORKERS_MAX] = { 0 };
	struct mempool_config pools = { .n_mbufs = 32768 };
	struct eal_config eal = {
		.instance = argc > 1 ? argv[1] : "rig", .worker_cores = cores, .no_huge = true
	};
	struct portmgr_config ports = { 0 };
	char line[512], err[256];

	n_workers = argc > 2 ? (unsigned int)atoi(argv[2]) : 1;
	if (n_workers == 0 || n_workers > WORKERS_MAX)
		return 1;
	for (unsigned int i = 0; i < n_workers; i++) {
		wake_fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		cores[i] = i % (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	}
	ports.n_workers = eal.n_workers = n_workers;
	if (eal_start(&eal, err, sizeof(err)) < 0 || mempool_init(&pools, err, sizeof(err)) < 0) {
		printf("error %s\n", err);
		return 1;
	}
	clock_init();
	if (rcu_init() < 0 || portmgr_init(&ports) < 0)
		return 1;
	for (unsigned int i = 0; i < n_workers; i++)
		rte_eal_remote_launch(worker, (void *)(uintptr_t)i, eal_worker_lcore(i));
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL && strcmp(line, "quit\n") != 0)
		command(line);
	portmgr_fini(false);
	atomic_store(&is_stopping, true);
	for (unsigned int i = 0; i < n_workers; i++)
		rte_eal_wait_lcore(eal_worker_lcore(i));
	mempool_fini();
	rcu_fini();
	eal_stop();
	puts("bye");
	return 0;
}
