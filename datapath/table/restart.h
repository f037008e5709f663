/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Over a restart: which of the adopted flows may run while the saved configuration is brought back, and nothing else.
 *
 * While the gate is shut no packet is judged: the configuration is only partly there. A flow that was current when its process ended
 * (its epoch is the saved one) runs its saved program at once, since what it refers to keeps its number: the paths themselves, the
 * ports by name and the tunnels by remote end and VNI are kept beside the flow tables, in `leat-INSTANCE-restart`. When the gate opens
 * all adopted flows are marked unjudged (flowtab_settle()), and the kept paths go.
 *
 * Writer: control thread. Workers read the gate only. Without restart_open() (tests, benchmarks) the gate is open and nothing is kept.
 */
#ifndef LEAT_TABLE_RESTART_H
#define LEAT_TABLE_RESTART_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "datapath/base/addr.h"

struct path;

#define RESTART_NAME_LEN 64
#define RESTART_PORTS_MAX 1024u
#define RESTART_TUNNELS_MAX (1u << 14)
#define RESTART_PATHS_MAX (1u << 14) /* flows with a path beyond wait for the gate */

/* Whether the gate is shut. Use restart_is_gated(). */
extern _Atomic bool restart_gate;

/* Whether packets may not be judged yet. Any thread. */
static inline bool restart_is_gated(void)
{
	/* acquire: pairs with the release in restart_gate_open(): who sees it open sees the configuration */
	return atomic_load_explicit(&restart_gate, memory_order_acquire);
}

/* Shuts the gate, and opens what the last process kept: its paths are there again under their indexes. Before the flow tables are
 * opened and the workers started. instance NULL: keeps nothing. 0 or as region_open(). */
int restart_open(const char *instance, int node);

/* keep: for the next process. */
void restart_close(bool keep);

/* The configuration is back: packets are judged from now on. Then flowtab_settle() of each table, then restart_settle(). */
void restart_gate_open(void);

/* After the last adopted flow was marked: kept paths go, and so do numbers that nobody came for. */
void restart_settle(void);

/* Epoch that a flow had if it was current when its process ended; 0: not known, or it was adopted and not judged since. */
uint32_t restart_epoch(void);

/* All saved flows have been looked at: those that may run have epoch 0 now. */
void restart_adopted(void);

/* Whether a saved flow's ingress and path are known, so that its program may run. */
bool restart_may_run(uint16_t in, uint32_t path);

/* The number that the port had, or RESTART_PORTS_MAX; and whether a number is kept for the port that had it. */
uint16_t restart_port_find(const char *name, uint16_t zone, uint8_t role);
bool restart_port_is_kept(uint16_t id);

/* Remembers what a port's number stands for, or that it stands for none. is_shared: several endpoints behind it. */
void restart_port_save(uint16_t id, const char *name, uint16_t zone, uint8_t role, bool is_shared);
void restart_port_forget(uint16_t id);

/* The kept number of a tunnel, or SLOT_NONE. */
uint32_t restart_tunnel_find(const struct ip_addr *remote, uint32_t vni, uint16_t zone);
void restart_tunnel_save(uint32_t idx, const struct ip_addr *remote, uint32_t vni, uint16_t zone);
void restart_tunnel_forget(uint32_t idx);

/* For path.c alone. */
void restart_path_save(uint32_t idx, const struct path *path);
void restart_path_forget(uint32_t idx);

#endif
