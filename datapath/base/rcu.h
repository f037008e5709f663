/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Read-copy-update for the workers (quiescent-state based, on rte_rcu_qsbr).
 *
 * Readers are workers, by worker id. A reader holds no reference across rcu_quiescent(); a sleeping
 * worker is offline and counts as quiescent. Writers publish with rcu_assign(), unlink, and hand the old
 * memory to rcu_defer(); rcu_poll() on the control thread runs what is due. Nothing on either side blocks
 * except rcu_synchronize(), which is for shutdown and tests.
 */
#ifndef LEAT_BASE_RCU_H
#define LEAT_BASE_RCU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_rcu_qsbr.h>

#define RCU_MAX_READERS 64
#define RCU_READER_CONTROL                                                                         \
	RCU_MAX_READERS /* the control thread, where it walks what workers free */

extern struct rte_rcu_qsbr *rcu_qsbr;

/* Called once per process, before any other; repeatable. 0 or -ENOMEM. */
int rcu_init(void);

/* Runs every deferred callback after a last grace period and frees the state. No reader may be left. */
void rcu_fini(void);

/* Registers the calling worker as reader `id` (< RCU_MAX_READERS), online. */
void rcu_reader_register(unsigned int id);
void rcu_reader_unregister(unsigned int id);

/* The calling reader holds no reference now. Once a burst. */
static inline void rcu_quiescent(unsigned int id)
{
	rte_rcu_qsbr_quiescent(rcu_qsbr, id);
}

/* Around a sleep. */
static inline void rcu_reader_offline(unsigned int id)
{
	rte_rcu_qsbr_thread_offline(rcu_qsbr, id);
}

static inline void rcu_reader_online(unsigned int id)
{
	rte_rcu_qsbr_thread_online(rcu_qsbr, id);
}

/* Around the control thread's own look at objects that workers retire (connections). Short: no grace period ends meanwhile,
 * so nothing in between may wait for one. */
void rcu_control_enter(void);
void rcu_control_leave(void);

/* Starts a grace period. Any thread. */
static inline uint64_t rcu_token(void)
{
	return rte_rcu_qsbr_start(rcu_qsbr);
}

/* Whether all readers have passed a quiescent state since rcu_token() returned `token`. Never blocks. */
static inline bool rcu_token_done(uint64_t token)
{
	return rte_rcu_qsbr_check(rcu_qsbr, token, false) == 1;
}

/* Runs fn(arg) on the control thread after a grace period. Control thread only. */
void rcu_defer(void (*fn)(void *arg), void *arg);

/* Runs due callbacks. Control thread only, each time around its loop. Number still waiting. */
size_t rcu_poll(void);

/* Waits for a grace period and runs everything deferred so far. Control thread; shutdown and tests. */
void rcu_synchronize(void);

/* acquire: pairs with the release in rcu_assign() */
#define rcu_deref(p) atomic_load_explicit(&(p), memory_order_acquire)
/* release: pairs with the acquire in rcu_deref() */
#define rcu_assign(p, v) atomic_store_explicit(&(p), (v), memory_order_release)

#endif
