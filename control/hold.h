/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets that wait for a neighbour or a tunnel, by its index; bounded each and in total. Control thread only. */
#ifndef LEAT_HOLD_H
#define LEAT_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "datapath/pipeline/punt.h"

enum hold_kind { HOLD_NEIGH, HOLD_TUNNEL, HOLD_N };

/* Takes the packet. A full queue drops it, counted on its ingress port. */
void hold_add(enum hold_kind kind, uint32_t idx, const struct punt_msg *msg);

/* Gives all packets back to the workers that sent them: they are judged again. */
void hold_release(enum hold_kind kind, uint32_t idx);

/* Drops all packets of the index. */
void hold_drop(enum hold_kind kind, uint32_t idx);

/* Drops all packets that came in on the port. */
void hold_drop_port(uint16_t port_id);

/* Drops everything. */
void hold_fini(void);

#endif
