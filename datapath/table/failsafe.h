/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports of the node itself that no policy closes, so that a wrong one does not lock its author out. Control thread sets, workers read. */
#ifndef LEAT_TABLE_FAILSAFE_H
#define LEAT_TABLE_FAILSAFE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "datapath/table/policy.h"

/* proto: TCP, UDP or SCTP; port in host order. false: another protocol. */
bool failsafe_set(enum policy_dir dir, uint8_t proto, uint16_t port, bool is_on);
bool failsafe_has(enum policy_dir dir, uint8_t proto, uint16_t port);

/* Next port at or after *port of the protocol; false: none. For listing. */
bool failsafe_next(enum policy_dir dir, uint8_t proto, uint32_t *port);

#endif
