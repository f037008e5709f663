/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/node_routes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#include "control/instance.h"
#include "control/loop.h"
#include "control/objects.h"
#include "datapath/base/log.h"
#include "pmd/pod_net.h"
#include "pmd/portmgr.h"

struct node_route {
	RB_ENTRY(node_route) by_key;
	TAILQ_ENTRY(node_route) by_wait;
	struct ip_prefix prefix;
	uint16_t zone, mtu;
	uint32_t n_refs;
	bool is_waiting;   /* the kernel has to be told */
	bool is_installed; /* the kernel has it from us */
	bool is_yielding;  /* to another's route */
};

RB_HEAD(route_tree, node_route);
TAILQ_HEAD(route_queue, node_route);

static struct route_tree tree = RB_INITIALIZER(&tree);
static struct route_queue queue = TAILQ_HEAD_INITIALIZER(queue);
static size_t n_waiting, n_installed;
static bool is_settled; /* what an earlier leatd left in the kernel has been compared */

static int compare(struct node_route *a, struct node_route *b)
{
	if (a->zone != b->zone)
		return a->zone < b->zone ? -1 : 1;
	if (a->prefix.len != b->prefix.len)
		return a->prefix.len < b->prefix.len ? -1 : 1;
	return memcmp(a->prefix.addr.b, b->prefix.addr.b, sizeof(a->prefix.addr.b));
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
RB_GENERATE_INTERNAL(route_tree, node_route, by_key, compare, static)
#pragma GCC diagnostic pop

/* The host port if it has its device and is of the zone. */
static const struct port *way(uint16_t zone)
{
	const struct port *port = object_host_port();

	return port != NULL && port->zone == zone && !port_is_absent(port) ? port : NULL;
}

static const struct ip_addr *source_of(const struct port *port, const struct ip_prefix *prefix)
{
	for (unsigned int i = 0; i < port->n_addrs; i++)
		if (ip_is_v4(&port->addrs[i].addr) == ip_is_v4(&prefix->addr))
			return &port->addrs[i].addr;
	return NULL;
}

static void wait_add(struct node_route *r)
{
	if (r->is_waiting)
		return;
	r->is_waiting = true;
	n_waiting++;
	TAILQ_INSERT_TAIL(&queue, r, by_wait);
	loop_wake_tick();
}

static void wait_remove(struct node_route *r)
{
	if (!r->is_waiting)
		return;
	r->is_waiting = false;
	n_waiting--;
	TAILQ_REMOVE(&queue, r, by_wait);
}

static void set_installed(struct node_route *r, bool is_installed)
{
	if (r->is_installed == is_installed)
		return;
	r->is_installed = is_installed;
	n_installed += is_installed ? 1u : -1u;
}

/* Tells the kernel what is wanted. */
static void apply(struct node_route *r, const struct port *port)
{
	static struct log_limit limit = { .burst = 5 };
	char errbuf[256] = "";
	int rc = 0;

	if (r->n_refs > 0)
		rc = host_route_add(port->ifname, &r->prefix, source_of(port, &r->prefix), r->mtu,
			!r->is_yielding || r->is_installed, errbuf, sizeof(errbuf));
	else if (r->is_installed)
		rc = host_route_del(port->ifname, &r->prefix, errbuf, sizeof(errbuf));
	set_installed(r, rc == 0 && r->n_refs > 0);
	if (rc < 0 && !(rc == -ESRCH && r->n_refs == 0) && log_limit_pass(&limit))
		log_warn("kernel", "%s", errbuf);
}

static void settle(struct node_route *r)
{
	const struct port *port = way(r->zone);

	wait_remove(r);
	if (port != NULL)
		apply(r, port);
	else
		set_installed(r, false);
	if (r->n_refs > 0)
		return;
	RB_REMOVE(route_tree, &tree, r);
	free(r);
}

/* At once, so that who asked for it can use it, unless others wait: a start, a new host port. */
static void changed(struct node_route *r)
{
	wait_add(r);
	if (instance.is_ready && n_waiting == 1)
		settle(r);
}

static struct node_route *find(uint16_t zone, const struct ip_prefix *prefix)
{
	struct node_route key = { .prefix = *prefix, .zone = zone };

	return RB_FIND(route_tree, &tree, &key);
}

static struct node_route *find_or_make(uint16_t zone, const struct ip_prefix *prefix)
{
	struct node_route *r = find(zone, prefix);

	if (r != NULL)
		return r;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return NULL;
	r->prefix = *prefix;
	r->zone = zone;
	RB_INSERT(route_tree, &tree, r);
	return r;
}

static void get(uint16_t zone, const struct ip_prefix *prefix, uint16_t mtu, bool is_yielding)
{
	struct node_route *r = find_or_make(zone, prefix);

	if (r == NULL) {
		log_err("kernel", "no memory for a route of the node");
		return;
	}
	if (r->n_refs++ > 0 && r->mtu == mtu && r->is_yielding <= is_yielding)
		return;
	r->is_yielding = r->n_refs == 1 ? is_yielding : r->is_yielding && is_yielding;
	r->mtu = mtu;
	changed(r);
}

void node_route_get(uint16_t zone, const struct ip_prefix *prefix, uint16_t mtu)
{
	get(zone, prefix, mtu, false);
}

void node_route_put(uint16_t zone, const struct ip_prefix *prefix)
{
	struct node_route *r = find(zone, prefix);

	if (r == NULL || r->n_refs == 0 || --r->n_refs > 0)
		return;
	changed(r);
}

static struct ip_prefix whole(const struct ip_addr *addr)
{
	return (struct ip_prefix){ .addr = *addr, .len = ip_is_v4(addr) ? 32 : 128 };
}

void node_route_get_addr(uint16_t zone, const struct ip_addr *addr)
{
	const struct ip_prefix prefix = whole(addr);

	get(zone, &prefix, 0, true);
}

void node_route_put_addr(uint16_t zone, const struct ip_addr *addr)
{
	const struct ip_prefix prefix = whole(addr);

	node_route_put(zone, &prefix);
}

/* A route of ours that the kernel has: known now, and to be removed when nobody wants it. */
static int found(const struct ip_prefix *prefix, void *arg)
{
	const struct port *port = arg;
	struct node_route *r = find_or_make(port->zone, prefix);

	if (r == NULL)
		return -ENOMEM;
	set_installed(r, true);
	if (r->n_refs == 0)
		wait_add(r);
	return 0;
}

/* Once everything that is configured is back. */
static void compare_with_kernel(const struct port *port)
{
	is_settled = true;
	if (host_routes_list(port->ifname, found, (void *)port) < 0)
		log_warn("kernel", "the node's routes cannot be read");
}

static unsigned int tick(void)
{
	uint64_t end_ns = loop_now_ns() + LOOP_SLICE_NS / 2;
	const struct port *port = object_host_port();

	if (!instance.is_ready)
		return 0;
	if (!is_settled && port != NULL && way(port->zone) != NULL)
		compare_with_kernel(port);
	while (!TAILQ_EMPTY(&queue) && loop_now_ns() < end_ns)
		settle(TAILQ_FIRST(&queue));
	return n_waiting > 0;
}

void node_routes_init(void)
{
	loop_add_tick(tick);
}

void node_routes_host_came(void)
{
	const struct port *port = object_host_port();
	struct node_route *r;

	is_settled = false;
	RB_FOREACH(r, route_tree, &tree)
	{
		set_installed(r, false);
		if (r->zone == port->zone)
			wait_add(r);
	}
}

void node_routes_host_gone(void)
{
	const struct port *port = object_host_port();
	struct node_route *r, *next;

	if (port->ifname != NULL)
		host_routes_purge(port->ifname);
	RB_FOREACH_SAFE(r, route_tree, &tree, next)
	{
		wait_remove(r);
		set_installed(r, false);
		if (r->n_refs > 0)
			continue;
		RB_REMOVE(route_tree, &tree, r);
		free(r);
	}
}

void node_routes_fini(void)
{
	struct node_route *r, *next;

	RB_FOREACH_SAFE(r, route_tree, &tree, next)
	{
		RB_REMOVE(route_tree, &tree, r);
		free(r);
	}
	TAILQ_INIT(&queue);
	n_waiting = n_installed = 0;
	is_settled = false;
}

size_t node_routes_n_installed(void)
{
	return n_installed;
}

size_t node_routes_n_waiting(void)
{
	return n_waiting;
}
