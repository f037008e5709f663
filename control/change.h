/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What calls have changed: kept in the store, written to the journal as one line, and undone backwards by the
 * opposite calls when a transaction fails or the line cannot be written. All that can fail for want of memory comes before the handler
 * runs (change_prepare()), but for the text of a new object. Control thread only.
 */
#ifndef LEAT_CHANGE_H
#define LEAT_CHANGE_H

#include <stddef.h>
#include <stdint.h>

#include "control/call.h"
#include "control/store.h"

struct change {
	struct change *prev, *next;
	char *key;
	bool is_set;		      /* else a removal */
	const struct method *inverse; /* of a set: the removal */
	char *key_params;	      /* JSON text that names the object */
	char *del_call;		      /* {"method","params"} that removes the object, JSON text */
	struct store_item
		*item; /* of a set: for the store; of a removal: what was taken out of it */
	const struct method *old_method;
	char *old_params; /* what a set replaced; NULL: nothing was there */
	bool was_failed;  /* … and it was not in effect */
	uint64_t place;	  /* of what was removed: call.place */
};

struct changes {
	struct change *first, *last;
	size_t len;
};

void changes_fini(struct changes *changes);

/* Takes what recording the call will need, before its handler runs. 0, -ENOMEM or -ENAMETOOLONG. */
int change_prepare(struct call *call);

/* Frees what was prepared and not recorded; NULL is accepted. */
void change_destroy(struct change *change);

/* Called when a changing call has succeeded: store, events; collects into call->changes, or else saves at once, and
 * turns the call into a failure, undone, if that could not be done. */
void change_record(struct call *call);

/* Writes all changes as one journal line. 0 and *out_ticket, or -errno. */
int changes_save(const struct changes *changes, uint64_t *out_ticket);

/* Undoes all, last first, in the tables and in the store, and forgets them. How many could not be undone (logged): these are in effect
 * and stay in the store. */
size_t changes_undo(struct changes *changes);

/* What a failed call says when it had to be undone: reason, and whether all of it was. */
void changes_tell(struct leat_error *err, size_t n_left, const char *reason);

#endif
