/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The smallest switch that exercises ports without the pipeline: every tap gets an address, IPv4 packets go to the port
 * that has the destination address, ARP requests are answered with the gateway's MAC. Commands on standard input,
 * one answer line each:
 *   add NAME NETNS-PATH|- IFNAME ADDR/LEN MTU QUEUES   → ok IFINDEX-FREE TEXT | error SENTENCE
 *   uplink NAME DEVICE ADDR/LEN MTU (ADDR: whose packets go out here) → as add
 *   del NAME | keep NAME (leaves the device)            → ok
 *   stats NAME → ok rx_pkts rx_bytes tx_pkts max_pkt_len drops up      describe NAME → ok key=value…
 *   purge NETNS-PATH|- IFNAME
 *   monitor IFNAME → ok (follows the kernel's routes through it)   routes → ok PREFIX,GATEWAY|- …
 *   mbufs → ok in_use reserved       wakes → ok n (times that the worker slept)      quit
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <rte_arp.h>
#include <rte_cycles.h>
#include <rte_ip.h>
#include <rte_launch.h>

#include "datapath/base/clock.h"
#include "datapath/base/log.h"
#include "datapath/base/rcu.h"
#include "pmd/eal.h"
#include "pmd/kind_tap.h"
#include "pmd/mempool.h"
#include "pmd/netlink_monitor.h"
#include "pmd/portmgr.h"

#define BURST 32
#define IDLE_US 20

static _Atomic bool is_stopping;
static _Atomic uint64_t n_sleeps;
static uint32_t max_len[PORT_MAX];
static uint32_t armed_gen[PORT_MAX][PORT_QUEUES_MAX];
static bool is_busy_poll;
static struct rte_ether_addr uplink_peer; /* source of what came in on the uplink last */

static bool arp_answer(struct port *p, struct rte_mbuf *m)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_arp_hdr *arp = (struct rte_arp_hdr *)(eth + 1);
	rte_be32_t target;

	if (p->role == PORT_ROLE_UPLINK)
		uplink_peer = eth->src_addr;
	if (m->data_len < sizeof(*eth) + sizeof(*arp) ||
		arp->arp_opcode != RTE_BE16(RTE_ARP_OP_REQUEST))
		return false;
	target = arp->arp_data.arp_tip;
	if (p->n_addrs != 0 && target == ip_v4(&p->addrs[0].addr))
		return false;
	eth->dst_addr = arp->arp_data.arp_sha;
	eth->src_addr = p->gw_mac;
	arp->arp_opcode = RTE_BE16(RTE_ARP_OP_REPLY);
	arp->arp_data.arp_tha = arp->arp_data.arp_sha;
	arp->arp_data.arp_sha = p->gw_mac;
	arp->arp_data.arp_tip = arp->arp_data.arp_sip;
	arp->arp_data.arp_sip = target;
	return true;
}

static struct port *route(struct port *in, struct rte_mbuf *m)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);

	if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP))
		return arp_answer(in, m) ? in : NULL;
	if (eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4) ||
		m->data_len < sizeof(*eth) + sizeof(*ip))
		return NULL;
	for (unsigned int i = 0; i < PORT_MAX; i++) {
		struct port *p = rcu_deref(port_table[i]);

		if (p != NULL && p->n_addrs != 0 && ip_v4(&p->addrs[0].addr) == ip->dst_addr) {
			eth->dst_addr = p->mac;
			eth->src_addr = p->gw_mac;
			if (p->role == PORT_ROLE_UPLINK)
				eth->dst_addr = uplink_peer;
			return p;
		}
	}
	return NULL;
}

static uint16_t port_poll(struct port *in, unsigned int queue)
{
	struct rte_mbuf *pkts[BURST];
	uint16_t n = in->ops->rx(in, (uint16_t)queue, 0, pkts, BURST);
	struct port_stats *stats = in->stats[0];

	for (uint16_t i = 0; i < n;) {
		struct port *out = route(in, pkts[i]);
		struct rte_mbuf *run[BURST];
		uint16_t n_run = 0, n_sent;

		/* a run to one port goes out at once */
		do {
			stats->rx_pkts++;
			stats->rx_bytes += pkts[i]->pkt_len;
			max_len[in->id] = RTE_MAX(max_len[in->id], pkts[i]->pkt_len);
			run[n_run++] = pkts[i++];
		} while (i < n && route(in, pkts[i]) == out);
		n_sent = out != NULL ? out->ops->tx(out, 0, run, n_run) : 0;
		if (out != NULL)
			out->stats[0]->tx_pkts += n_sent;
		for (; n_sent < n_run; n_sent++) {
			stats->drops[out != NULL ? DROP_TX_FULL : DROP_NO_ROUTE]++;
			rte_pktmbuf_free(run[n_sent]);
		}
	}
	return n;
}

/* Sleeps until a port has packets, a millisecond at most. */
static void sleep_on_ports(int epfd)
{
	struct epoll_event events[64];
	bool is_empty = true;
	int timeout_ms = 1;

	for (unsigned int i = 0; i < PORT_MAX && is_empty; i++) {
		struct port *p = rcu_deref(port_table[i]);

		for (uint16_t q = 0; p != NULL && q < p->n_rxq; q++) {
			struct epoll_event ev = { .events = EPOLLIN };
			uint32_t gen;
			int fd = p->ops->rx_arm(p, q, &gen);

			if (fd == -EAGAIN)
				is_empty = false;
			if (fd < 0 || armed_gen[i][q] == gen)
				continue;
			if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) == 0)
				armed_gen[i][q] = gen;
		}
	}
	if (!is_empty)
		return;
	rcu_reader_offline(0);
	(void)epoll_wait(epfd, events, 64, timeout_ms);
	rcu_reader_online(0);
	atomic_fetch_add_explicit(&n_sleeps, 1, memory_order_relaxed);
	for (unsigned int i = 0; i < PORT_MAX; i++) {
		struct port *p = rcu_deref(port_table[i]);

		if (p != NULL && p->ops->rx_disarm != NULL)
			p->ops->rx_disarm(p, 0);
	}
}

static int worker(void *arg)
{
	uint64_t idle_since = 0;
	int epfd = epoll_create1(0);

	(void)arg;
	rcu_reader_register(0);
	while (!atomic_load_explicit(&is_stopping, memory_order_relaxed)) {
		unsigned int n = 0;

		for (unsigned int i = 0; i < PORT_MAX; i++) {
			struct port *p = rcu_deref(port_table[i]);

			for (uint16_t q = 0; p != NULL && q < p->n_rxq; q++)
				n += port_poll(p, q);
		}
		rcu_quiescent(0);
		if (n != 0) {
			idle_since = rte_rdtsc();
			continue;
		}
		if (!is_busy_poll &&
			rte_rdtsc() - idle_since > rte_get_tsc_hz() / 1000000 * IDLE_US)
			sleep_on_ports(epfd);
	}
	rcu_reader_unregister(0);
	close(epfd);
	return 0;
}

static void create(struct port_config *cfg)
{
	char err[256] = "";
	struct port *p;

	if (port_create(cfg, &p, err, sizeof(err)) < 0)
		printf("error %s\n", err);
	else
		printf("ok %u\n", p->id);
}

static bool parse_addr(char *addr, struct port_config *cfg)
{
	char *slash = strchr(addr, '/');

	cfg->n_addrs = 1;
	if (slash == NULL)
		return false;
	*slash = '\0';
	cfg->addrs[0].len = (uint8_t)atoi(slash + 1);
	return ip_parse(addr, &cfg->addrs[0].addr) == 0;
}

static void cmd_uplink(char *args)
{
	struct port_config cfg = {
		.kind = "ethdev", .netns_fd = -1, .tap_fd = -1, .role = PORT_ROLE_UPLINK
	};
	char device[256], addr[64];
	unsigned int mtu;

	if (sscanf(args, "%63s %255s %63s %u", cfg.name, device, addr, &mtu) != 4 ||
		!parse_addr(addr, &cfg)) {
		puts("error usage");
		return;
	}
	cfg.device = device;
	cfg.mtu = (uint16_t)mtu;
	create(&cfg);
}

static void cmd_purge(char *args)
{
	char netns[256], ifname[32], err[256] = "";
	int netns_fd = -1;

	if (sscanf(args, "%255s %31s", netns, ifname) != 2) {
		puts("error usage");
		return;
	}
	if (strcmp(netns, "-") != 0)
		netns_fd = open(netns, O_RDONLY | O_CLOEXEC);
	if (tap_purge(netns_fd, ifname, err, sizeof(err)) < 0)
		printf("error %s\n", err);
	else
		puts("ok");
	if (netns_fd >= 0)
		close(netns_fd);
}

static void cmd_add(char *args)
{
	struct port_config cfg = {
		.kind = "tap", .netns_fd = -1, .tap_fd = -1, .is_gateway_default = true
	};
	char netns[256], ifname[32], addr[64];
	unsigned int mtu, n_queues;

	if (sscanf(args, "%63s %255s %31s %63s %u %u", cfg.name, netns, ifname, addr, &mtu,
		    &n_queues) != 6 ||
		!parse_addr(addr, &cfg)) {
		puts("error usage");
		return;
	}
	cfg.ifname = ifname;
	cfg.mtu = (uint16_t)mtu;
	cfg.n_queues = (uint16_t)n_queues;
	if (strcmp(netns, "-") == 0) {
		cfg.role = PORT_ROLE_HOST;
		cfg.is_gateway_default = false;
	} else {
		cfg.netns_fd = open(netns, O_RDONLY | O_CLOEXEC);
	}
	create(&cfg);
	if (cfg.netns_fd >= 0)
		close(cfg.netns_fd);
}

#define ROUTES_MAX 256
static struct nl_route_monitor *monitor;
static struct nl_route mirrored[ROUTES_MAX];
static unsigned int n_mirrored;

static void route_cb(bool is_add, const struct nl_route *route, void *arg)
{
	unsigned int i = 0;

	(void)arg;
	while (i < n_mirrored &&
		(!ip_eq(&mirrored[i].dst.addr, &route->dst.addr) ||
			mirrored[i].dst.len != route->dst.len))
		i++;
	if (is_add && i < ROUTES_MAX) {
		mirrored[i] = *route;
		n_mirrored += i == n_mirrored;
	} else if (!is_add && i < n_mirrored) {
		mirrored[i] = mirrored[--n_mirrored];
	}
}

static void cmd_monitor(const char *ifname)
{
	struct nl_route_monitor_config cfg = { .netns_fd = -1, .ifname = ifname, .cb = route_cb };
	int ret;

	nl_route_monitor_close(monitor);
	n_mirrored = 0;
	monitor = nl_route_monitor_open(&cfg, &ret);
	puts(monitor != NULL ? "ok" : "error cannot open the monitor");
}

static void cmd_routes(void)
{
	char dst[IP_PREFIX_STRLEN], gw[IP_ADDR_STRLEN];

	if (monitor == NULL || nl_route_monitor_run(monitor) < 0) {
		puts("error no monitor");
		return;
	}
	printf("ok");
	for (unsigned int i = 0; i < n_mirrored; i++)
		printf(" %s,%s", ip_prefix_format(&mirrored[i].dst, dst),
			mirrored[i].has_gw ? ip_format(&mirrored[i].gw, gw) : "-");
	putchar('\n');
}

static void cmd_port(const char *cmd, char *name)
{
	struct port *p;
	struct port_stats s;
	char text[512];
	uint64_t drops = 0;

	name[strcspn(name, "\n")] = '\0';
	p = port_by_name(name);
	if (p == NULL) {
		puts("error no such port");
		return;
	}
	if (strcmp(cmd, "stats") == 0) {
		port_stats_sum(p, &s);
		for (int i = 0; i < DROP_N; i++)
			drops += s.drops[i];
		printf("ok %lu %lu %lu %u %lu %d\n", s.rx_pkts, s.rx_bytes, s.tx_pkts,
			max_len[p->id], drops, p->ops->is_up(p));
	} else if (strcmp(cmd, "describe") == 0) {
		p->ops->describe(p, text, sizeof(text));
		printf("ok %s\n", text);
	} else {
		port_destroy(p, strcmp(cmd, "keep") == 0);
		rcu_synchronize();
		puts("ok");
	}
}

static void command(char *line)
{
	char *args = strchr(line, ' ');
	struct mempool_usage usage;

	line[strcspn(line, "\n")] = '\0';
	if (args != NULL)
		*args++ = '\0';
	if (strcmp(line, "mbufs") == 0) {
		mempool_usage_read(&usage);
		printf("ok %u %u\n", usage.in_use, usage.reserved);
	} else if (strcmp(line, "wakes") == 0) {
		printf("ok %lu\n", atomic_load(&n_sleeps));
	} else if (strcmp(line, "routes") == 0) {
		cmd_routes();
	} else if (args == NULL) {
		puts("error usage");
	} else if (strcmp(line, "monitor") == 0) {
		cmd_monitor(args);
	} else if (strcmp(line, "add") == 0) {
		cmd_add(args);
	} else if (strcmp(line, "purge") == 0) {
		cmd_purge(args);
	} else if (strcmp(line, "uplink") == 0) {
		cmd_uplink(args);
	} else {
		cmd_port(line, args);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct portmgr_config ports = { .n_workers = 1 };
	struct mempool_config pools = { .n_mbufs = 16384 };
	unsigned int core = argc > 2 ? (unsigned int)atoi(argv[2]) : 0;
	struct eal_config eal = {
		.instance = argc > 1 ? argv[1] : "rig", .worker_cores = &core, .n_workers = 1
	};
	char line[512], err[256];

	is_busy_poll = argc > 3 && strcmp(argv[3], "busy") == 0;
	if (eal_start(&eal, err, sizeof(err)) < 0 || mempool_init(&pools, err, sizeof(err)) < 0) {
		printf("error %s\n", err);
		return 1;
	}
	clock_init();
	if (rcu_init() < 0 || portmgr_init(&ports) < 0)
		return 1;
	rte_eal_remote_launch(worker, NULL, eal_worker_lcore(0));
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL && strcmp(line, "quit\n") != 0)
		command(line);
	nl_route_monitor_close(monitor);
	portmgr_fini(false);
	atomic_store(&is_stopping, true);
	rte_eal_wait_lcore(eal_worker_lcore(0));
	mempool_fini();
	rcu_fini();
	eal_stop();
	puts("bye");
	return 0;
}
