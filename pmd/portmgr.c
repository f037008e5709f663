/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/portmgr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_malloc.h>

#include "datapath/base/log.h"
#include "datapath/base/rcu.h"
#include "datapath/table/restart.h"
#include "pmd/eal.h"
#include "pmd/err.h"
#include "pmd/kind_tap.h"
#include "pmd/kinds.h"
#include "pmd/mempool.h"

#define WORKERS_MAX RTE_DIM(((struct port *)0)->stats)
#define DEFAULT_DESC 512
/* What a port without rings of its own may have in flight: a burst each way a queue. */
#define QUOTA_PER_QUEUE (PORT_BURST_MAX / 2)

struct slot {
	struct port port;
	struct rte_mempool *quota_pool;
	uint32_t quota;
	bool is_used, is_opening, is_closing, keep;
	void (*closed)(void *arg);
	void *closed_arg;
} __rte_cache_aligned;

static struct slot *slots[PORT_MAX];
static struct portmgr_config config;
static unsigned int n_ports, n_closing;
static const struct rte_ether_addr gw_mac = PORT_GW_MAC;

int portmgr_init(const struct portmgr_config *cfg)
{
	if (cfg->n_workers == 0 || cfg->n_workers >= WORKERS_MAX)
		return -EINVAL;
	config = *cfg;
	return 0;
}

void portmgr_fini(bool keep)
{
	struct port *p;

	config.slow = NULL;
	while ((p = port_next(NULL)) != NULL)
		port_destroy(p, keep);
	rcu_synchronize();
	for (unsigned int i = 0; i < PORT_MAX; i++) {
		free(slots[i]);
		slots[i] = NULL;
	}
}

unsigned int portmgr_n_workers(void)
{
	return config.n_workers;
}

struct port *port_by_id(uint16_t id)
{
	struct slot *s = id < PORT_MAX ? slots[id] : NULL;

	return s != NULL && s->is_used && !s->is_closing && !s->is_opening ? &s->port : NULL;
}

struct port *port_next(const struct port *prev)
{
	for (unsigned int i = prev != NULL ? prev->id + 1u : 0; i < PORT_MAX; i++) {
		struct port *p = port_by_id((uint16_t)i);

		if (p != NULL)
			return p;
	}
	return NULL;
}

struct port *port_by_name(const char *name)
{
	struct port *p = NULL;

	while ((p = port_next(p)) != NULL)
		if (strcmp(p->name, name) == 0)
			return p;
	return NULL;
}

unsigned int port_count(void)
{
	return n_ports;
}

/* After a restart a port gets the number that it had, and no other's: adopted flows speak of it. */
static struct slot *slot_take(const struct port_config *cfg)
{
	uint16_t had = restart_port_find(cfg->name, cfg->zone, (uint8_t)cfg->role);

	static_assert(PORT_MAX == RESTART_PORTS_MAX && PORT_NAME_LEN == RESTART_NAME_LEN, "kept");
	for (unsigned int i = 0; i < PORT_MAX; i++) {
		struct slot *s = slots[i];

		if (had != RESTART_PORTS_MAX ? i != had : restart_port_is_kept((uint16_t)i))
			continue;
		if (s == NULL) {
			s = slots[i] = aligned_alloc(RTE_CACHE_LINE_SIZE, sizeof(*s));
			if (s == NULL)
				return NULL;
			s->is_used = false;
		}
		if (s->is_used)
			continue;
		memset(s, 0, sizeof(*s));
		s->is_used = true;
		s->port.id = (uint16_t)i;
		return s;
	}
	return NULL;
}

/* One a worker, and the last for the control thread. */
static int stats_alloc(struct port *p)
{
	for (unsigned int w = 0; w <= config.n_workers; w++) {
		p->stats[w] = rte_zmalloc_socket("port_stats", sizeof(struct port_stats),
			RTE_CACHE_LINE_SIZE, (int)eal_worker_node(w));
		if (p->stats[w] == NULL)
			return -ENOMEM;
	}
	return 0;
}

static void slot_release(struct slot *s)
{
	for (unsigned int w = 0; w <= config.n_workers; w++)
		rte_free(s->port.stats[w]);
	free(s->port.ifname);
	mempool_release(s->quota_pool, s->quota);
	s->is_used = false;
	s->is_closing = false;
}

static uint32_t quota_of(const struct port_config *cfg)
{
	uint32_t n_queues = cfg->n_queues != 0 ? cfg->n_queues : 1;

	if (strcmp(cfg->kind, "ethdev") == 0)
		return n_queues * 2 * (cfg->n_desc != 0 ? cfg->n_desc : DEFAULT_DESC);
	return n_queues * QUOTA_PER_QUEUE;
}

static int config_check(const struct port_config *cfg, char *errbuf, size_t errlen)
{
	if (cfg->name[0] == '\0' || strnlen(cfg->name, PORT_NAME_LEN) == PORT_NAME_LEN)
		return err_set(errbuf, errlen, -EINVAL, "port name must have 1 to %d characters",
			PORT_NAME_LEN - 1);
	if (kind_by_name(cfg->kind) == NULL)
		return err_set(errbuf, errlen, -EINVAL, "port kind '%s' is not known: one of %s",
			cfg->kind != NULL ? cfg->kind : "", kind_names());
	if (cfg->role >= PORT_ROLE_N)
		return err_set(errbuf, errlen, -EINVAL, "port role %d is not known", cfg->role);
	if (cfg->n_queues > PORT_QUEUES_MAX)
		return err_set(errbuf, errlen, -EINVAL,
			"%u queues asked for: at most %d are possible", cfg->n_queues,
			PORT_QUEUES_MAX);
	if (cfg->mtu != 0 && (cfg->mtu < 68 || cfg->mtu > 9216))
		return err_set(
			errbuf, errlen, -EINVAL, "MTU %u is out of range: 68 to 9216", cfg->mtu);
	if (cfg->n_addrs > PORT_ADDRS_MAX)
		return err_set(errbuf, errlen, -EINVAL,
			"%u addresses given: at most %d are possible", cfg->n_addrs,
			PORT_ADDRS_MAX);
	if (rte_is_multicast_ether_addr(&cfg->mac))
		return err_set(
			errbuf, errlen, -EINVAL, "a port's MAC address may not be multicast");
	return 0;
}

static bool is_name_closing(const char *name)
{
	for (unsigned int i = 0; i < PORT_MAX && n_closing != 0; i++)
		if (slots[i] != NULL && slots[i]->is_closing &&
			strcmp(slots[i]->port.name, name) == 0)
			return true;
	return false;
}

static void port_fill(struct port *p, const struct port_config *cfg)
{
	strcpy(p->name, cfg->name);
	p->ops = kind_by_name(cfg->kind);
	p->zone = cfg->zone;
	p->role = (uint8_t)cfg->role;
	p->endpoint_idx = UINT32_MAX;
	p->mtu = cfg->mtu != 0 ? cfg->mtu : 1500;
	p->n_rxq = cfg->n_queues != 0 ? cfg->n_queues : 1;
	p->gw_mac = gw_mac;
	p->n_addrs = cfg->n_addrs;
	memcpy(p->addrs, cfg->addrs, sizeof(p->addrs));
	p->mac = cfg->mac;
	if (rte_is_zero_ether_addr(&p->mac) && cfg->role != PORT_ROLE_UPLINK) {
		if (cfg->n_addrs != 0)
			p->mac = mac_from_ip(&cfg->addrs[0].addr);
		else
			rte_eth_random_addr(p->mac.addr_bytes);
	}
}

static bool is_name_opening(const char *name)
{
	for (unsigned int i = 0; i < PORT_MAX; i++)
		if (slots[i] != NULL && slots[i]->is_used && slots[i]->is_opening &&
			strcmp(slots[i]->port.name, name) == 0)
			return true;
	return false;
}

/* The predecessor of that name may still hold the device. */
static void wait_for_predecessor(const char *name)
{
	if (is_name_closing(name))
		rcu_synchronize();
	if (is_name_closing(name) && config.drain != NULL)
		config.drain();
}

int port_create_begin(const struct port_config *cfg, struct port **out, char *errbuf, size_t errlen)
{
	struct slot *s;
	struct port *p;
	int ret;

	ret = config_check(cfg, errbuf, errlen);
	if (ret < 0)
		return ret;
	wait_for_predecessor(cfg->name);
	if (port_by_name(cfg->name) != NULL || is_name_opening(cfg->name))
		return err_set(errbuf, errlen, -EEXIST, "port '%s' exists already", cfg->name);
	s = slot_take(cfg);
	if (s == NULL)
		return err_set(errbuf, errlen, -ENOSPC, "no more ports: %d is the limit", PORT_MAX);
	p = &s->port;
	port_fill(p, cfg);
	p->pool = mempool_get(eal_worker_node(0));
	ret = stats_alloc(p);
	if (ret < 0) {
		err_set(errbuf, errlen, ret, "no memory for the port's counters");
		goto err_release;
	}
	ret = mempool_reserve(p->pool, quota_of(cfg), errbuf, errlen);
	if (ret < 0)
		goto err_release;
	s->quota = quota_of(cfg);
	s->quota_pool = p->pool;
	/* Pools are made on this thread: a tap may be opened on another. */
	if (strcmp(cfg->kind, "tap") == 0)
		(void)mempool_get_huge((unsigned int)p->pool->socket_id);
	s->is_opening = true;
	*out = p;
	return 0;

err_release:
	slot_release(s);
	return ret;
}

int port_create_open(struct port *p, const struct port_config *cfg, char *errbuf, size_t errlen)
{
	return p->ops->open(p, cfg, errbuf, errlen);
}

int port_create_end(struct port *p, int ret, char *errbuf, size_t errlen)
{
	struct slot *s = slots[p->id];

	s->is_opening = false;
	if (ret < 0)
		goto err_release;
	restart_port_save(p->id, p->name, p->zone, p->role, false);
	rcu_assign(port_table[p->id], p);
	n_ports++;
	if (config.attach != NULL) {
		ret = config.attach(p, errbuf, errlen);
		if (ret < 0)
			goto err_unpublish;
	}
	return 0;

err_unpublish:
	restart_port_forget(p->id);
	n_ports--;
	rcu_assign(port_table[p->id], NULL);
	rcu_synchronize();
	p->ops->close(p, p->is_adopted);
err_release:
	slot_release(s);
	return ret;
}

bool port_is_absent(const struct port *p)
{
	return kind_is_absent(p->ops);
}

void port_create_absent(struct port *p, const struct port_config *cfg)
{
	p->ops = kind_absent(cfg->kind);
	p->priv = NULL;
	if (p->ifname == NULL && strcmp(cfg->kind, "tap") == 0)
		p->ifname = strdup(tap_ifname(cfg));
}

/* No worker has the port any more. */
static void port_unpublish(struct port *p)
{
	if (config.detach != NULL)
		config.detach(p);
	rcu_assign(port_table[p->id], NULL);
	rcu_synchronize();
}

static int port_publish(struct port *p, char *errbuf, size_t errlen)
{
	rcu_assign(port_table[p->id], p);
	return config.attach != NULL ? config.attach(p, errbuf, errlen) : 0;
}

void port_suspend(struct port *p, const struct port_config *cfg)
{
	port_unpublish(p);
	p->ops->close(p, false);
	port_create_absent(p, cfg);
	rcu_assign(port_table[p->id], p); /* for those who send: their packets are counted */
}

int port_resume(struct port *p, const struct port_config *cfg, char *errbuf, size_t errlen)
{
	struct rte_ether_addr mac = p->mac;
	char *ifname = p->ifname;
	int ret;

	port_unpublish(p);
	p->ops = kind_by_name(cfg->kind);
	p->n_rxq = cfg->n_queues != 0 ? cfg->n_queues : 1;
	p->pool = slots[p->id]->quota_pool;
	p->ifname = NULL;
	p->is_adopted = false;
	if (p->role == PORT_ROLE_UPLINK)
		p->mac = cfg->mac;
	ret = p->ops->open(p, cfg, errbuf, errlen);
	if (ret == 0) {
		ret = port_publish(p, errbuf, errlen);
		if (ret == 0) {
			free(ifname);
			return 0;
		}
		port_unpublish(p);
		p->ops->close(p, false);
	}
	free(p->ifname);
	p->ifname = ifname;
	p->mac = mac;
	port_create_absent(p, cfg);
	rcu_assign(port_table[p->id], p);
	return ret;
}

int port_create(const struct port_config *cfg, struct port **out, char *errbuf, size_t errlen)
{
	int ret = port_create_begin(cfg, out, errbuf, errlen);

	if (ret < 0)
		return ret;
	return port_create_end(*out, port_create_open(*out, cfg, errbuf, errlen), errbuf, errlen);
}

static void device_close(void *arg)
{
	struct slot *s = arg;

	s->port.ops->close(&s->port, s->keep);
}

static void device_closed(void *arg)
{
	struct slot *s = arg;
	void (*closed)(void *) = s->closed;
	void *closed_arg = s->closed_arg;

	slot_release(s);
	n_closing--;
	if (closed != NULL)
		closed(closed_arg);
}

static void port_close_cb(void *arg)
{
	struct slot *s = arg;

	if (config.slow != NULL && !s->keep && strcmp(s->port.ops->kind, "tap") == 0 &&
		config.slow(device_close, device_closed, s) == 0)
		return;
	device_close(s);
	device_closed(s);
}

void port_destroy(struct port *p, bool keep)
{
	port_destroy_then(p, keep, NULL, NULL);
}

void port_abandon(struct port *p)
{
	port_destroy(p, p->is_adopted);
}

void port_destroy_then(struct port *p, bool keep, void (*closed)(void *arg), void *arg)
{
	struct slot *s;

	if (p == NULL)
		return;
	s = slots[p->id];
	if (!keep)
		restart_port_forget(p->id);
	if (config.detach != NULL)
		config.detach(p);
	rcu_assign(port_table[p->id], NULL);
	s->is_closing = true;
	s->keep = keep;
	s->closed = closed;
	s->closed_arg = arg;
	n_closing++;
	n_ports--;
	rcu_defer(port_close_cb, s);
}

void port_stats_sum(const struct port *p, struct port_stats *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned int w = 0; w <= config.n_workers; w++) {
		const volatile struct port_stats *s = p->stats[w];

		out->rx_pkts += s->rx_pkts;
		out->rx_bytes += s->rx_bytes;
		out->tx_pkts += s->tx_pkts;
		out->tx_bytes += s->tx_bytes;
		for (unsigned int i = 0; i < DROP_N; i++)
			out->drops[i] += s->drops[i];
	}
}
