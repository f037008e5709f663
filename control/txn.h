/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transactions: calls are validated when they are added and applied by txn.commit in slices, one transaction after
 * another; the first that fails undoes all before it. Owned by the connection that began them. Control thread only.
 */
#ifndef LEAT_TXN_H
#define LEAT_TXN_H

#include "control/call.h"

#define TXN_CALLS_MAX 1000000u
#define TXN_PER_CONN_MAX 4u

int txn_init(void);
void txn_fini(void);

/* Forgets what a connection has begun; a commit under way goes on. */
void txn_conn_closed(const struct conn *conn);

extern const struct api_handler api_txn[];

#endif
