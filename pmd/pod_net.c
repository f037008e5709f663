/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/pod_net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/rtnetlink.h>
#include <net/if.h>

#include "pmd/err.h"
#include "pmd/netlink.h"

#define TX_QUEUE_LEN 1000
#define GATEWAY_METRIC 1000 /* and above: of a pod's further interfaces */

static const char *gateway_text(bool is_v4)
{
	return is_v4 ? "169.254.1.1" : "fe80::1";
}

static struct ip_addr gateway_of(bool is_v4)
{
	struct ip_addr gw;

	(void)ip_parse(gateway_text(is_v4), &gw);
	return gw;
}

static struct ip_prefix default_prefix(bool is_v4)
{
	struct ip_prefix p = { .len = 0 };

	if (is_v4)
		p.addr = ip_from_v4(0);
	return p;
}

static bool has_family(const struct pod_net *net, bool is_v4)
{
	for (unsigned int i = 0; i < net->n_addrs; i++)
		if (ip_is_v4(&net->addrs[i].addr) == is_v4)
			return true;
	return false;
}

static int route_error(struct nl *nl, int ret, const struct nl_route *r, const char *ifname,
	char *errbuf, size_t errlen)
{
	char text[IP_PREFIX_STRLEN];

	return err_set(errbuf, errlen, ret, "route to %s through '%s' cannot be added: %s",
		ip_prefix_format(&r->dst, text), ifname, nl_error(nl));
}

static int route_put(struct nl *nl, int ifindex, const char *ifname, const struct pod_route *route,
	char *errbuf, size_t errlen)
{
	struct nl_route r = { .dst = route->dst,
		.ifindex = ifindex,
		.has_gw = route->has_gw,
		.gw = route->gw,
		.is_link_scope = !route->has_gw,
		.protocol = RTPROT_BOOT };
	int ret = nl_route_add(nl, &r);

	if (ret < 0 && ret != -EEXIST &&
		route->has_gw) { /* a gateway outside the link's prefixes */
		r.is_onlink = true;
		ret = nl_route_add(nl, &r);
	}
	/* another interface of the pod has it already: the first one stays in charge */
	return ret < 0 && ret != -EEXIST ? route_error(nl, ret, &r, ifname, errbuf, errlen) : 0;
}

/* 1: it is that route, whatever its metric. */
static int is_same_route(const struct nl_route *r, void *arg)
{
	const struct nl_route *want = arg;

	return r->ifindex == want->ifindex && r->dst.len == want->dst.len &&
		ip_eq(&r->dst.addr, &want->dst.addr);
}

/* The gateway is on every link of the pod, also behind another interface's: who routes by source (the CNI plugin sbr) goes through it.
 * fe80::1 is on every link anyway. */
static int gateway_put(struct nl *nl, int ifindex, const char *ifname, char *errbuf, size_t errlen)
{
	struct nl_route r = { .dst = { .addr = gateway_of(true), .len = 32 },
		.ifindex = ifindex,
		.is_link_scope = true,
		.protocol = RTPROT_BOOT };
	int ret = nl_route_add(nl, &r);

	if (ret == -EEXIST && nl_route_list(nl, is_same_route, &r) == 0) {
		r.metric = GATEWAY_METRIC + (uint32_t)ifindex;
		ret = nl_route_add(nl, &r);
	}
	return ret < 0 && ret != -EEXIST ? route_error(nl, ret, &r, ifname, errbuf, errlen) : 0;
}

static bool is_through_gateway(const struct pod_route *route)
{
	struct ip_addr gw = gateway_of(true);

	return route->has_gw && ip_eq(&route->gw, &gw);
}

static int default_routes_put(
	struct nl *nl, int ifindex, const struct pod_net *net, char *errbuf, size_t errlen)
{
	for (int is_v4 = 1; is_v4 >= 0; is_v4--) {
		struct pod_route via = {
			.dst = default_prefix(is_v4), .has_gw = true, .gw = gateway_of(is_v4)
		};
		int ret = 0;

		if (!has_family(net, is_v4))
			continue;
		if (is_v4)
			ret = gateway_put(nl, ifindex, net->ifname, errbuf, errlen);
		if (ret == 0)
			ret = route_put(nl, ifindex, net->ifname, &via, errbuf, errlen);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int addrs_put(
	struct nl *nl, int ifindex, const struct pod_net *net, char *errbuf, size_t errlen)
{
	char text[IP_ADDR_STRLEN];

	for (unsigned int i = 0; i < net->n_addrs; i++) {
		int ret = nl_addr_add(nl, ifindex, &net->addrs[i].addr, net->addrs[i].len);

		if (ret < 0 && ret != -EEXIST)
			return err_set(errbuf, errlen, ret,
				"address %s/%u cannot be given to '%s': %s",
				ip_format(&net->addrs[i].addr, text), net->addrs[i].len,
				net->ifname, nl_error(nl));
	}
	return 0;
}

static void sysctls_set(int netns_fd, const struct pod_net *net)
{
	char name[64];

	/* Routes are given, so nothing is solicited; a namespace may have IPv6 off by default. Best effort: a kernel
	 * without IPv6 has none of these, and then an IPv6 address fails with its own sentence. */
	if (has_family(net, false)) {
		snprintf(name, sizeof(name), "ipv6/conf/%s/disable_ipv6", net->ifname);
		(void)nl_sysctl_write(netns_fd, name, "0");
		/* IPv4 addresses stay with a link that is set down and up; these would go */
		snprintf(name, sizeof(name), "ipv6/conf/%s/keep_addr_on_down", net->ifname);
		(void)nl_sysctl_write(netns_fd, name, "1");
	}
	snprintf(name, sizeof(name), "ipv6/conf/%s/accept_ra", net->ifname);
	(void)nl_sysctl_write(netns_fd, name, "0");
}

static int configure(
	struct nl *nl, int netns_fd, const struct pod_net *net, char *errbuf, size_t errlen)
{
	struct nl_link_change change = {
		.mtu = net->mtu, .txqlen = TX_QUEUE_LEN, .up = -1, .alias = net->alias
	};
	struct nl_link_change up = { .up = 1 };
	struct nl_link link, lo;
	int ret;

	ret = nl_link_get(nl, net->ifname, &link);
	if (ret < 0)
		return err_set(errbuf, errlen, ret, "interface '%s' is not in the namespace: %s",
			net->ifname, nl_error(nl));
	if (!rte_is_same_ether_addr(&link.mac, &net->mac))
		change.mac = &net->mac;
	ret = nl_link_change(nl, link.ifindex, &change);
	if (ret < 0)
		return err_set(errbuf, errlen, ret,
			"MAC address and MTU %u of '%s' cannot be set: %s", net->mtu, net->ifname,
			nl_error(nl));
	sysctls_set(netns_fd, net);
	if (netns_fd >= 0 && nl_link_get(nl, "lo", &lo) == 0 && (lo.flags & IFF_UP) == 0) {
		ret = nl_link_change(nl, lo.ifindex, &up);
		if (ret < 0)
			return err_set(
				errbuf, errlen, ret, "'lo' cannot be set up: %s", nl_error(nl));
	}
	ret = nl_link_change(nl, link.ifindex, &up);
	if (ret < 0)
		return err_set(errbuf, errlen, ret, "'%s' cannot be set up: %s", net->ifname,
			nl_error(nl));
	ret = addrs_put(nl, link.ifindex, net, errbuf, errlen);
	if (ret == 0 && net->has_default_gateway)
		ret = default_routes_put(nl, link.ifindex, net, errbuf, errlen);
	for (unsigned int i = 0; ret == 0 && i < net->n_routes; i++)
		ret = route_put(nl, link.ifindex, net->ifname, &net->routes[i], errbuf, errlen);
	return ret;
}

static struct nl *open_or_say(int netns_fd, int *ret, char *errbuf, size_t errlen)
{
	struct nl *nl = nl_open(netns_fd, ret);

	if (nl == NULL)
		err_set(errbuf, errlen, *ret, "the network namespace cannot be entered: %s",
			strerror(-*ret));
	return nl;
}

int pod_net_configure(int netns_fd, const struct pod_net *net, char *errbuf, size_t errlen)
{
	int ret;
	struct nl *nl = open_or_say(netns_fd, &ret, errbuf, errlen);

	if (nl == NULL)
		return ret;
	ret = configure(nl, netns_fd, net, errbuf, errlen);
	nl_close(nl);
	return ret;
}

int pod_net_add_routes(int netns_fd, const char *ifname, const struct pod_route *routes,
	unsigned int n, char *errbuf, size_t errlen)
{
	struct nl_link link;
	int ret;
	struct nl *nl = open_or_say(netns_fd, &ret, errbuf, errlen);

	if (nl == NULL)
		return ret;
	ret = nl_link_get(nl, ifname, &link);
	if (ret < 0)
		err_set(errbuf, errlen, ret, "interface '%s' is not in the namespace: %s", ifname,
			nl_error(nl));
	for (unsigned int i = 0; ret == 0 && i < n; i++) {
		if (is_through_gateway(&routes[i]))
			ret = gateway_put(nl, link.ifindex, ifname, errbuf, errlen);
		if (ret == 0)
			ret = route_put(nl, link.ifindex, ifname, &routes[i], errbuf, errlen);
	}
	nl_close(nl);
	return ret;
}

/* --- check --- */

struct check {
	const struct pod_net *net;
	int ifindex;
	bool has_addr[PORT_ADDRS_MAX];
	bool has_default[2]; /* IPv6, IPv4 */
	bool has_route[POD_NET_ROUTES_MAX];
};

static int check_addr(const struct nl_addr *addr, void *arg)
{
	struct check *c = arg;

	for (unsigned int i = 0; i < c->net->n_addrs && i < PORT_ADDRS_MAX; i++)
		if (ip_eq(&addr->addr, &c->net->addrs[i].addr) && addr->len == c->net->addrs[i].len)
			c->has_addr[i] = true;
	return 0;
}

/* The plugin sbr leaves of an interface's routes the default one, in a table of its own. */
static bool leads_to(const struct nl_route *r, const struct ip_prefix *dst)
{
	bool is_whole = r->dst.len == 0 && r->table != RT_TABLE_MAIN &&
		ip_is_v4(&r->gw) == ip_is_v4(&dst->addr);

	return is_whole || (ip_eq(&r->dst.addr, &dst->addr) && r->dst.len == dst->len);
}

static int check_route(const struct nl_route *r, void *arg)
{
	struct check *c = arg;

	/* the default route may be another interface's */
	if (r->dst.len == 0 && r->has_gw) {
		bool is_v4 = ip_is_v4(&r->gw);
		struct ip_addr gw = gateway_of(is_v4);

		if (ip_eq(&r->gw, &gw))
			c->has_default[is_v4] = true;
	}
	if (r->ifindex != c->ifindex)
		return 0;
	for (unsigned int i = 0; i < c->net->n_routes && i < POD_NET_ROUTES_MAX; i++) {
		const struct pod_route *want = &c->net->routes[i];

		if (leads_to(r, &want->dst) && r->has_gw == want->has_gw &&
			(!r->has_gw || ip_eq(&r->gw, &want->gw)))
			c->has_route[i] = true;
	}
	return 0;
}

static int check_link(
	struct nl *nl, const struct pod_net *net, struct nl_link *link, char *errbuf, size_t errlen)
{
	char have[MAC_STRLEN], want[MAC_STRLEN];
	int ret = nl_link_get(nl, net->ifname, link);

	if (ret < 0)
		return err_set(errbuf, errlen, -ENOENT, "interface '%s' is missing", net->ifname);
	if ((link->flags & IFF_UP) == 0)
		return err_set(errbuf, errlen, -EINVAL, "interface '%s' is down", net->ifname);
	/* a smaller one is the pod's own affair: what comes is taken in whatever its size */
	if (net->mtu != 0 && link->mtu > net->mtu)
		return err_set(errbuf, errlen, -EINVAL,
			"interface '%s' has MTU %u, more than the %u that leat carries for it",
			net->ifname, link->mtu, net->mtu);
	if (!rte_is_zero_ether_addr(&net->mac) && !rte_is_same_ether_addr(&link->mac, &net->mac))
		return err_set(errbuf, errlen, -EINVAL,
			"interface '%s' has MAC address %s instead of %s, which leat pins: ask "
			"for an address when the pod is attached",
			net->ifname, mac_format(&link->mac, have), mac_format(&net->mac, want));
	return 0;
}

static int check_result(const struct check *c, char *errbuf, size_t errlen)
{
	char text[IP_PREFIX_STRLEN];

	for (unsigned int i = 0; i < c->net->n_addrs && i < PORT_ADDRS_MAX; i++)
		if (!c->has_addr[i])
			return err_set(errbuf, errlen, -ENOENT, "address %s/%u is missing on '%s'",
				ip_format(&c->net->addrs[i].addr, text), c->net->addrs[i].len,
				c->net->ifname);
	for (int is_v4 = 0; c->net->has_default_gateway && is_v4 < 2; is_v4++)
		if (has_family(c->net, is_v4) && !c->has_default[is_v4])
			return err_set(errbuf, errlen, -ENOENT,
				"default route through %s is missing on '%s'", gateway_text(is_v4),
				c->net->ifname);
	for (unsigned int i = 0; i < c->net->n_routes && i < POD_NET_ROUTES_MAX; i++)
		if (!c->has_route[i])
			return err_set(errbuf, errlen, -ENOENT, "route to %s is missing on '%s'",
				ip_prefix_format(&c->net->routes[i].dst, text), c->net->ifname);
	return 0;
}

int pod_net_check(int netns_fd, const struct pod_net *net, char *errbuf, size_t errlen)
{
	struct check c = { .net = net };
	struct nl_link link;
	int ret;
	struct nl *nl = open_or_say(netns_fd, &ret, errbuf, errlen);

	if (nl == NULL)
		return ret;
	ret = check_link(nl, net, &link, errbuf, errlen);
	if (ret == 0) {
		c.ifindex = link.ifindex;
		ret = nl_addr_list(nl, link.ifindex, check_addr, &c);
		if (ret == 0)
			ret = nl_route_list(nl, check_route, &c);
		if (ret < 0)
			err_set(errbuf, errlen, ret, "the namespace cannot be read: %s",
				nl_error(nl));
		else
			ret = check_result(&c, errbuf, errlen);
	}
	nl_close(nl);
	return ret;
}

/* --- the node's routes --- */

/* One socket for all of them: thousands of endpoints may come at once. */
static struct nl *host_nl;

static int host_route_change(const char *ifname, struct nl_route *r,
	int (*change)(struct nl *nl, const struct nl_route *route), const char *what, char *errbuf,
	size_t errlen)
{
	char text[IP_PREFIX_STRLEN];
	int ret = 0;

	r->ifindex = (int)if_nametoindex(ifname);
	r->is_link_scope = true;
	r->protocol = NL_PROTO_LEAT;
	if (host_nl == NULL)
		host_nl = open_or_say(-1, &ret, errbuf, errlen);
	if (host_nl == NULL)
		return ret;
	ret = r->ifindex != 0 ? change(host_nl, r) : -ENODEV;
	if (ret < 0)
		err_set(errbuf, errlen, ret, "the node's route to %s through '%s' cannot be %s: %s",
			ip_prefix_format(&r->dst, text), ifname, what,
			ret == -ENODEV ? strerror(ENODEV) : nl_error(host_nl));
	return ret;
}

int host_route_add(const char *ifname, const struct ip_prefix *dst, const struct ip_addr *src,
	uint16_t mtu, bool may_replace, char *errbuf, size_t errlen)
{
	struct nl_route r = { .dst = *dst, .mtu = mtu };

	if (src != NULL)
		r.src = *src;
	return host_route_change(
		ifname, &r, may_replace ? nl_route_put : nl_route_add, "added", errbuf, errlen);
}

int host_route_del(const char *ifname, const struct ip_prefix *dst, char *errbuf, size_t errlen)
{
	struct nl_route r = { .dst = *dst };

	return host_route_change(ifname, &r, nl_route_del, "removed", errbuf, errlen);
}

struct listing {
	int ifindex;
	int (*fn)(const struct ip_prefix *dst, void *arg);
	void *arg;
};

static int list_cb(const struct nl_route *r, void *arg)
{
	const struct listing *l = arg;

	return r->protocol == NL_PROTO_LEAT && r->ifindex == l->ifindex ? l->fn(&r->dst, l->arg)
									: 0;
}

int host_routes_list(
	const char *ifname, int (*fn)(const struct ip_prefix *dst, void *arg), void *arg)
{
	struct listing l = { .ifindex = (int)if_nametoindex(ifname), .fn = fn, .arg = arg };
	struct nl *nl;
	int ret;

	if (l.ifindex == 0)
		return -ENODEV;
	nl = nl_open(-1, &ret);
	if (nl == NULL)
		return ret;
	ret = nl_route_list(nl, list_cb, &l);
	nl_close(nl);
	return ret;
}

struct purge {
	int ifindex;
	struct nl_route *routes;
	unsigned int n, n_max;
};

static int purge_collect(const struct nl_route *r, void *arg)
{
	struct purge *p = arg;

	if (r->protocol != NL_PROTO_LEAT || (p->ifindex != 0 && r->ifindex != p->ifindex))
		return 0;
	if (p->n == p->n_max) {
		unsigned int n_max = p->n_max != 0 ? p->n_max * 2 : 64;
		struct nl_route *more = realloc(p->routes, n_max * sizeof(*more));

		if (more == NULL)
			return -ENOMEM;
		p->routes = more;
		p->n_max = n_max;
	}
	p->routes[p->n++] = *r;
	return 0;
}

int host_routes_purge(const char *ifname)
{
	struct purge p = { 0 };
	struct nl_link link;
	int ret, n_removed = 0;
	struct nl *nl = nl_open(-1, &ret);

	if (nl == NULL)
		return ret;
	if (ifname != NULL) {
		ret = nl_link_get(nl, ifname, &link);
		if (ret < 0)
			goto out;
		p.ifindex = link.ifindex;
	}
	ret = nl_route_list(nl, purge_collect, &p);
	for (unsigned int i = 0; ret == 0 && i < p.n; i++)
		n_removed += nl_route_del(nl, &p.routes[i]) == 0;
out:
	free(p.routes);
	nl_close(nl);
	return ret < 0 ? ret : n_removed;
}
