/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the service table share. Control thread, unless said otherwise. */
#ifndef LEAT_TABLE_SERVICE_IMPL_H
#define LEAT_TABLE_SERVICE_IMPL_H

#include "datapath/table/service.h"

/* Immutable; replaced as a whole by service_set(). ids: the backends in order of address and port, then the source sets. */
struct service_block {
	uint32_t n_backends;
	uint32_t n_source_sets;
	struct service_selection *selections[2][2]; /* as in the service; freed with this */
	uint32_t ids[];
};

/* A configured backend with its slot. */
struct service_member {
	struct backend_config cfg;
	uint32_t idx;
	bool is_new;
};

/* --- service_query.c: any thread --- */

/* Order of backends: by address, then port (host order). */
int service_backend_cmp(
	const struct ip_addr *a, uint16_t a_port, const struct ip_addr *b, uint16_t b_port);

/* The block's backend with this address and port (host order), or BACKEND_NONE, also for block NULL. */
uint32_t service_block_find(
	const struct service_block *block, const struct ip_addr *addr, uint16_t port);

/* --- service_frontend.c: who has which address and port --- */

int frontend_table_init(void);
void frontend_table_fini(void);

/* Whether the service (SERVICE_NONE: a new one) may have these frontends, which are normalised (frontend_normalise()): 0, -EEXIST
 * with the position of one that another service, or an earlier one of the same list, overlaps; -ENOSPC. */
int frontends_check(uint32_t service, uint16_t zone, const struct frontend_config *frontends,
	unsigned int n, unsigned int *out_frontend);

/* Enters, changes and removes what differs between old and new. Cannot fail after frontends_check(). */
void frontends_apply(uint32_t service, uint16_t zone, const struct frontend_config *old,
	unsigned int n_old, const struct frontend_config *new, unsigned int n_new);

/* 0 or -EINVAL. */
int frontend_normalise(const struct frontend_config *f, struct frontend_config *out);

/* --- service_server.c: where TCP and SCTP are served --- */

int server_table_init(void);
void server_table_fini(void);

/* Counts (or no more) where the block's backends serve behind these frontends, which are normalised. block NULL: nobody. */
void servers_count(uint16_t zone, const struct frontend_config *frontends, unsigned int n,
	const struct service_block *block, bool is_add);

/* --- service_select.c: which backend --- */

/* The tables of a service over its members, sorted. 0 or -ENOMEM. */
int selections_build(const struct service_member *members, unsigned int n,
	enum service_algorithm algorithm, struct service_selection *out[2][2]);

/* Those of a service that no reader can see, or sees no more. */
void selections_free(struct service_selection *selections[2][2]);

#endif
