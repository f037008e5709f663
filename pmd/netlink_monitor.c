/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/netlink_monitor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "pmd/netlink_codec.h"

#define BUF_BYTES 65536
#define RCVBUF_BYTES (4 << 20)
#define BUCKETS 65536 /* chains stay short up to some 100,000 mirrored routes */

/* A route that the callback knows. The kernel may hold several for one prefix (metrics): the lowest metric counts. */
struct known {
	struct known *next;
	struct nl_route route;
	uint32_t round; /* dump that saw it last */
};

struct nl_route_monitor {
	struct nl_route_monitor_config cfg;
	char ifname[IFNAMSIZ];
	uint8_t protocols[16];
	struct mnl_socket *sock;
	struct nl *nl;
	int ifindex; /* of cfg.ifname; 0: all; -1: not there */
	bool is_dump_due;
	uint32_t round;
	unsigned int n_known;
	struct known *buckets[BUCKETS];
	char buf[BUF_BYTES] __rte_aligned(8);
};

static unsigned int bucket_of(const struct nl_route *r)
{
	uint64_t h = (r->dst.addr.q[0] ^ r->dst.addr.q[1] * 0x9e3779b97f4a7c15ull) *
		0xff51afd7ed558ccdull;

	return (unsigned int)((h >> 32) ^ h ^ r->dst.len) % BUCKETS;
}

static bool is_same_key(const struct nl_route *a, const struct nl_route *b)
{
	return ip_eq(&a->dst.addr, &b->dst.addr) && a->dst.len == b->dst.len &&
		a->metric == b->metric;
}

static bool is_same_path(const struct nl_route *a, const struct nl_route *b)
{
	return a->has_gw == b->has_gw && (!a->has_gw || ip_eq(&a->gw, &b->gw)) &&
		a->ifindex == b->ifindex && a->type == b->type && a->protocol == b->protocol;
}

static bool is_followed(const struct nl_route_monitor *m, const struct nl_route *r)
{
	if (r->protocol == NL_PROTO_LEAT ||
		r->table != (m->cfg.table != 0 ? m->cfg.table : RT_TABLE_MAIN))
		return false;
	if (r->type != RTN_UNICAST && r->type != RTN_BLACKHOLE && r->type != RTN_PROHIBIT &&
		r->type != RTN_UNREACHABLE)
		return false;
	if (m->ifindex != 0 && r->ifindex != m->ifindex)
		return false;
	if (m->cfg.n_protocols == 0)
		return r->protocol != RTPROT_KERNEL && r->protocol != RTPROT_BOOT &&
			r->protocol != RTPROT_RA;
	return memchr(m->protocols, r->protocol, m->cfg.n_protocols) != NULL;
}

/* The best (lowest metric) known route to the prefix, and its place for the exact key. */
static struct known *best_of(struct nl_route_monitor *m, const struct nl_route *r)
{
	struct known *best = NULL;

	for (struct known *k = m->buckets[bucket_of(r)]; k != NULL; k = k->next)
		if (ip_eq(&k->route.dst.addr, &r->dst.addr) && k->route.dst.len == r->dst.len &&
			(best == NULL || k->route.metric < best->route.metric))
			best = k;
	return best;
}

static struct known **place_of(struct nl_route_monitor *m, const struct nl_route *r)
{
	struct known **at = &m->buckets[bucket_of(r)];

	while (*at != NULL && !is_same_key(&(*at)->route, r))
		at = &(*at)->next;
	return at;
}

static void route_seen(struct nl_route_monitor *m, const struct nl_route *r)
{
	struct known **at = place_of(m, r), *k = *at;
	bool is_news = k == NULL || !is_same_path(&k->route, r);

	if (k == NULL) {
		k = calloc(1, sizeof(*k));
		if (k == NULL) {
			m->is_dump_due = true; /* again, with more memory */
			return;
		}
		*at = k;
		m->n_known++;
	}
	k->route = *r;
	k->round = m->round;
	if (is_news && best_of(m, r) == k)
		m->cfg.cb(true, r, m->cfg.arg);
}

static void route_forget(struct nl_route_monitor *m, struct known **at)
{
	struct known *k = *at, *next_best;
	bool was_best = best_of(m, &k->route) == k;

	*at = k->next;
	m->n_known--;
	next_best = best_of(m, &k->route);
	if (was_best && next_best != NULL)
		m->cfg.cb(true, &next_best->route, m->cfg.arg);
	else if (was_best)
		m->cfg.cb(false, &k->route, m->cfg.arg);
	free(k);
}

static int event_cb(const struct nlmsghdr *nlh, void *data)
{
	struct nl_route_monitor *m = data;
	struct nl_route r;

	if (nlh->nlmsg_type == RTM_NEWLINK || nlh->nlmsg_type == RTM_DELLINK) {
		struct nl_link link = { 0 };

		/* The device came, went or changed its name; IPv4 routes go with it without a message. */
		(void)nlc_link_parse(nlh, &link);
		if (m->cfg.ifname == NULL || link.ifindex == m->ifindex ||
			strcmp(link.name, m->ifname) == 0)
			m->is_dump_due = true;
		return MNL_CB_OK;
	}
	if (nlc_route_parse(nlh, &r) < 0)
		return MNL_CB_OK;
	if (nlh->nlmsg_type == RTM_NEWROUTE) {
		if (is_followed(m, &r)) {
			route_seen(m, &r);
		} else if (*place_of(m, &r) != NULL &&
			r.table == (m->cfg.table != 0 ? m->cfg.table : RT_TABLE_MAIN)) {
			/* replaced by one through another device or of another protocol */
			route_forget(m, place_of(m, &r));
		}
		return MNL_CB_OK;
	}
	if (is_followed(m, &r) && *place_of(m, &r) != NULL)
		route_forget(m, place_of(m, &r));
	return MNL_CB_OK;
}

static int dump_cb(const struct nl_route *r, void *arg)
{
	struct nl_route_monitor *m = arg;

	if (is_followed(m, r))
		route_seen(m, r);
	return 0;
}

static int dump(struct nl_route_monitor *m)
{
	struct nl_link link;
	int ret;

	m->is_dump_due = false;
	m->round++;
	if (m->cfg.ifname != NULL)
		m->ifindex = nl_link_get(m->nl, m->ifname, &link) == 0 ? link.ifindex : -1;
	ret = m->ifindex < 0 ? 0 : nl_route_list(m->nl, dump_cb, m);
	if (ret < 0) {
		m->is_dump_due = true;
		return ret;
	}
	for (unsigned int i = 0; i < BUCKETS; i++)
		for (struct known **at = &m->buckets[i]; *at != NULL;) {
			if ((*at)->round != m->round)
				route_forget(m, at);
			else
				at = &(*at)->next;
		}
	return 0;
}

static struct mnl_socket *events_open(int netns_fd, int *out_err)
{
	static const int groups[] = { RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_LINK };
	int saved = netns_enter(netns_fd), rcvbuf = RCVBUF_BYTES;
	struct mnl_socket *sock;

	*out_err = saved;
	if (saved < 0)
		return NULL;
	sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	*out_err = -errno;
	netns_leave(saved);
	if (sock == NULL)
		return NULL;
	(void)setsockopt(
		mnl_socket_get_fd(sock), SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf));
	if (mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID) < 0)
		goto err_close;
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (mnl_socket_setsockopt(sock, NETLINK_ADD_MEMBERSHIP, (void *)&groups[i],
			    sizeof(groups[i])) < 0)
			goto err_close;
	*out_err = 0;
	return sock;

err_close:
	*out_err = -errno;
	mnl_socket_close(sock);
	return NULL;
}

struct nl_route_monitor *nl_route_monitor_open(
	const struct nl_route_monitor_config *cfg, int *out_err)
{
	struct nl_route_monitor *m = calloc(1, sizeof(*m));

	*out_err = -ENOMEM;
	if (m == NULL)
		return NULL;
	*out_err = -EINVAL;
	if (cfg->n_protocols > sizeof(m->protocols) ||
		(cfg->ifname != NULL && strlen(cfg->ifname) >= IFNAMSIZ))
		goto err_free;
	m->cfg = *cfg;
	if (cfg->n_protocols != 0)
		memcpy(m->protocols, cfg->protocols, cfg->n_protocols);
	if (cfg->ifname != NULL)
		strcpy(m->ifname, cfg->ifname);
	m->is_dump_due = true;
	/* Listen before the dump, so that nothing falls between. */
	m->sock = events_open(cfg->netns_fd, out_err);
	if (m->sock == NULL)
		goto err_free;
	m->nl = nl_open(cfg->netns_fd, out_err);
	if (m->nl == NULL)
		goto err_close;
	return m;

err_close:
	mnl_socket_close(m->sock);
err_free:
	free(m);
	return NULL;
}

void nl_route_monitor_close(struct nl_route_monitor *m)
{
	if (m == NULL)
		return;
	for (unsigned int i = 0; i < BUCKETS; i++)
		for (struct known *k = m->buckets[i], *next; k != NULL; k = next) {
			next = k->next;
			free(k);
		}
	nl_close(m->nl);
	mnl_socket_close(m->sock);
	free(m);
}

void nl_route_monitor_replay(struct nl_route_monitor *m)
{
	for (unsigned int i = 0; i < BUCKETS; i++)
		for (struct known *k = m->buckets[i]; k != NULL; k = k->next)
			if (best_of(m, &k->route) == k)
				m->cfg.cb(true, &k->route, m->cfg.arg);
}

int nl_route_monitor_fd(const struct nl_route_monitor *m)
{
	return mnl_socket_get_fd(m->sock);
}

unsigned int nl_route_monitor_count(const struct nl_route_monitor *m)
{
	return m->n_known;
}

int nl_route_monitor_run(struct nl_route_monitor *m)
{
	int ret = m->is_dump_due ? dump(m) : 0;

	for (int i = 0; ret == 0 && i < 64; i++) { /* the loop has others to serve */
		ssize_t n = mnl_socket_recvfrom(m->sock, m->buf, sizeof(m->buf));

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			m->is_dump_due = true;
			continue;
		}
		if (n < 0)
			return -errno;
		mnl_cb_run(m->buf, (size_t)n, 0, 0, event_cb, m);
	}
	return ret == 0 && m->is_dump_due ? dump(m) : ret;
}
