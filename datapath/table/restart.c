/* SPDX-License-Identifier: BSD-3-Clause */
/* The kept records are hostile input, as the saved flows are: each is checked before it is used, and torn ones are not live. */
#include "datapath/table/restart.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/base/gen.h"
#include "datapath/base/region.h"
#include "datapath/table/flowtab.h"
#include "datapath/table/path.h"
#include "datapath/table/tunnel.h"

#define RESTART_MAGIC 0x6c65617472657374ull /* "leatrest" */
#define RESTART_VERSION 1u

/* A record is live only while it is whole: taken out before it is written, put in afterwards. */
struct kept_port {
	_Atomic uint32_t is_live;
	uint16_t zone;
	uint8_t role;
	uint8_t is_shared;
	char name[RESTART_NAME_LEN];
};

struct kept_tunnel {
	_Atomic uint32_t is_live;
	uint32_t vni;
	struct ip_addr remote;
	uint16_t zone;
	uint8_t pad[6];
};

struct kept_path {
	_Atomic uint32_t is_live;
	struct path path;
};

struct kept {
	uint64_t magic;
	uint32_t version, size;
	_Atomic uint32_t
		epoch; /* published last; 0 while adopted flows have not been judged again */
	struct kept_port ports[RESTART_PORTS_MAX];
	struct kept_tunnel tunnels[RESTART_TUNNELS_MAX];
	struct kept_path paths[RESTART_PATHS_MAX];
};

_Atomic bool restart_gate;

static struct region region;
static struct kept *kept;

/* What the last process had, as long as the gate is shut. */
static struct kept_port *old_ports;
static uint32_t n_old_tunnels, next_tunnel; /* where the next one is looked for first */
static uint8_t *old_paths;		    /* by index: adopted */
static bool is_port_here[RESTART_PORTS_MAX], is_tunnel_here[RESTART_TUNNELS_MAX];

static bool is_live(const _Atomic uint32_t *mark)
{
	return atomic_load_explicit(mark, memory_order_relaxed) == 1;
}

static void mark_set(_Atomic uint32_t *mark, bool live)
{
	/* release, and a fence behind it: the process may end between any two stores */
	atomic_store_explicit(mark, live, memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
}

static bool path_is_good(const struct path *p)
{
	if (p->port_id >= RESTART_PORTS_MAX || p->mtu < 68 || p->kind > PATH_VXLAN)
		return false;
	return p->kind == PATH_PLAIN ||
		p->vxlan.len == (p->vxlan.is_v6 ? VXLAN_HEADERS_LEN6 : VXLAN_HEADERS_LEN4);
}

static void paths_adopt(void)
{
	for (uint32_t i = PATH_NONE + 1; i < RESTART_PATHS_MAX; i++) {
		struct path p;

		if (!is_live(&kept->paths[i].is_live))
			continue;
		memcpy(&p, &kept->paths[i].path, sizeof(p));
		p.endpoint_idx = p.tunnel_idx = SLOT_NONE;
		if (!path_is_good(&p)) {
			mark_set(&kept->paths[i].is_live, false);
			continue;
		}
		path_restore(i, &p);
		old_paths[i] = 1;
	}
}

static void tunnels_adopt(void)
{
	for (uint32_t i = 0; i < RESTART_TUNNELS_MAX; i++)
		if (is_live(&kept->tunnels[i].is_live)) {
			slots_reserve(&tunnel_slots, i);
			n_old_tunnels = i + 1;
		}
}

static void ports_adopt(void)
{
	memcpy(old_ports, kept->ports, sizeof(kept->ports));
	for (uint32_t i = 0; i < RESTART_PORTS_MAX; i++)
		old_ports[i].name[RESTART_NAME_LEN - 1] = '\0';
}

int restart_open(const char *instance, int node)
{
	int ret;

	atomic_store_explicit(&restart_gate, true, memory_order_release);
	if (instance == NULL)
		return 0;
	ret = region_open(&region, instance, "restart", sizeof(*kept), node);
	if (ret < 0)
		return ret;
	old_ports = calloc(RESTART_PORTS_MAX, sizeof(*old_ports));
	old_paths = calloc(RESTART_PATHS_MAX, 1);
	if (old_ports == NULL || old_paths == NULL) {
		restart_close(true);
		return -ENOMEM;
	}
	kept = region.addr;
	n_old_tunnels = next_tunnel = 0;
	if (region.is_adopted && kept->magic == RESTART_MAGIC && kept->version == RESTART_VERSION &&
		kept->size == sizeof(*kept)) {
		ports_adopt();
		tunnels_adopt();
		paths_adopt();
		return 0;
	}
	memset(kept, 0, sizeof(*kept));
	kept->version = RESTART_VERSION;
	kept->size = sizeof(*kept);
	kept->magic = RESTART_MAGIC;
	return 0;
}

void restart_close(bool keep)
{
	gen_mirror(NULL);
	free(old_ports);
	free(old_paths);
	old_ports = NULL;
	old_paths = NULL;
	if (region.addr != NULL)
		region_close(&region, keep);
	kept = NULL;
	memset(is_port_here, 0, sizeof(is_port_here));
	memset(is_tunnel_here, 0, sizeof(is_tunnel_here));
	atomic_store_explicit(&restart_gate, false, memory_order_release);
}

void restart_gate_open(void)
{
	/* release: pairs with the acquire in restart_is_gated() */
	atomic_store_explicit(&restart_gate, false, memory_order_release);
}

void restart_settle(void)
{
	if (kept == NULL)
		return;
	for (uint32_t i = 0; i < RESTART_PORTS_MAX; i++)
		if (!is_port_here[i])
			mark_set(&kept->ports[i].is_live, false);
	for (uint32_t i = 0; i < n_old_tunnels; i++)
		if (is_live(&kept->tunnels[i].is_live) && !is_tunnel_here[i]) {
			mark_set(&kept->tunnels[i].is_live, false);
			slots_unreserve(&tunnel_slots, i);
		}
	for (uint32_t i = 0; i < RESTART_PATHS_MAX; i++)
		if (old_paths[i] != 0) {
			old_paths[i] = 0;
			path_destroy(i);
		}
	gen_publish();
	gen_mirror(&kept->epoch);
}

uint32_t restart_epoch(void)
{
	return kept != NULL ? atomic_load_explicit(&kept->epoch, memory_order_relaxed) : 0;
}

void restart_adopted(void)
{
	if (kept != NULL)
		atomic_store_explicit(&kept->epoch, 0, memory_order_relaxed);
}

bool restart_may_run(uint16_t in, uint32_t path)
{
	uint32_t idx = in & (FLOW_IN_TUNNEL - 1);

	if (kept == NULL || path >= RESTART_PATHS_MAX || old_paths[path] == 0)
		return false;
	if ((in & FLOW_IN_TUNNEL) != 0)
		return idx < RESTART_TUNNELS_MAX && is_live(&kept->tunnels[idx].is_live);
	/* Behind a shared port the MAC says whose packet it is, which no saved flow knows. */
	return in < RESTART_PORTS_MAX && is_live(&old_ports[in].is_live) &&
		old_ports[in].is_shared == 0;
}

bool restart_port_is_kept(uint16_t id)
{
	return kept != NULL && restart_is_gated() && is_live(&old_ports[id].is_live);
}

uint16_t restart_port_find(const char *name, uint16_t zone, uint8_t role)
{
	for (uint16_t i = 0; i < RESTART_PORTS_MAX && kept != NULL; i++)
		if (restart_port_is_kept(i) && strcmp(old_ports[i].name, name) == 0 &&
			old_ports[i].zone == zone && old_ports[i].role == role)
			return i;
	return RESTART_PORTS_MAX;
}

void restart_port_save(uint16_t id, const char *name, uint16_t zone, uint8_t role, bool is_shared)
{
	struct kept_port *port;

	if (kept == NULL)
		return;
	port = &kept->ports[id];
	is_port_here[id] = true;
	mark_set(&port->is_live, false);
	port->zone = zone;
	port->role = role;
	port->is_shared = is_shared;
	snprintf(port->name, sizeof(port->name), "%s", name);
	mark_set(&port->is_live, true);
}

void restart_port_forget(uint16_t id)
{
	if (kept == NULL)
		return;
	is_port_here[id] = false;
	if (!restart_is_gated()) /* else a second restart still needs it; restart_settle() takes it away */
		mark_set(&kept->ports[id].is_live, false);
}

uint32_t restart_tunnel_find(const struct ip_addr *remote, uint32_t vni, uint16_t zone)
{
	if (kept == NULL || !restart_is_gated())
		return SLOT_NONE;
	/* They come back in much the order that they had. */
	for (uint32_t n = 0; n < n_old_tunnels; n++) {
		uint32_t i = (next_tunnel + n) % n_old_tunnels;
		const struct kept_tunnel *t = &kept->tunnels[i];

		if (!is_live(&t->is_live) || is_tunnel_here[i] || t->vni != vni ||
			t->zone != zone || !ip_eq(&t->remote, remote))
			continue;
		next_tunnel = i + 1;
		return i;
	}
	return SLOT_NONE;
}

void restart_tunnel_save(uint32_t idx, const struct ip_addr *remote, uint32_t vni, uint16_t zone)
{
	struct kept_tunnel *t;

	if (kept == NULL)
		return;
	t = &kept->tunnels[idx];
	is_tunnel_here[idx] = true;
	mark_set(&t->is_live, false);
	t->vni = vni;
	t->remote = *remote;
	t->zone = zone;
	mark_set(&t->is_live, true);
}

void restart_tunnel_forget(uint32_t idx)
{
	if (kept == NULL)
		return;
	is_tunnel_here[idx] = false;
	mark_set(&kept->tunnels[idx].is_live, false);
}

void restart_path_save(uint32_t idx, const struct path *path)
{
	struct kept_path *p;

	if (kept == NULL || idx >= RESTART_PATHS_MAX)
		return;
	p = &kept->paths[idx];
	mark_set(&p->is_live, false);
	memcpy(&p->path, path, sizeof(*path));
	mark_set(&p->is_live, true);
}

void restart_path_forget(uint32_t idx)
{
	if (kept != NULL && idx < RESTART_PATHS_MAX)
		mark_set(&kept->paths[idx].is_live, false);
}
