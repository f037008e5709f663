/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What calls have changed: kept in the store, written to the journal as one line, and undone backwards by the
 * opposite calls when a transaction fails or the line cannot be written. Control thread only.
 */
#ifndef LEAT_CHANGE_H
#define LEAT_CHANGE_H

#include <stddef.h>
#include <stdint.h>

#include "control/call.h"
#include "control/store.h"

struct change {
	char *key;
	const struct method *undo_method;
	char *undo_params; /* JSON text */
	uint64_t undo_place,
		undo_seq; /* of what was removed: call.place, store_item.seq; 0: none */
	char *del_call;	  /* {"method","params"} that removes the object, JSON text */
};

struct changes {
	struct change *items;
	size_t len, size;
};

void changes_fini(struct changes *changes);

/* Called when a changing call has succeeded: store, events; collects into call->changes, or else saves at once, and
 * turns the call into a failure if that could not be done. */
void change_record(struct call *call);

/* Writes all changes as one journal line. 0 and *out_ticket, or -errno. */
int changes_save(const struct changes *changes, uint64_t *out_ticket);

/* Undoes all, last first, in the tables and in the store. */
void changes_undo(struct changes *changes);

#endif
