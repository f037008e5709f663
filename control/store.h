/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration as canonical calls: one item an object, by key ("route 10.0.0.0/8 0"), in classes that are built up
 * in order. What config.dump shows and what the journal saves. Control thread only.
 */
#ifndef LEAT_STORE_H
#define LEAT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bsd/sys/tree.h>

#include "control/client/schema.h"

#define STORE_KEY_MAX 256

struct store_item {
	RB_ENTRY(store_item) by_key, by_order;
	const struct method *method; /* the one that creates the object */
	uint64_t seq;		     /* order of creation */
	bool is_in_line;	     /* for changes_save() */
	bool is_failed; /* could not be brought back at start; kept until it is removed */
	char *params;	/* JSON text */
	char key[];
};

struct store;

struct store *store_create(void);
void store_destroy(struct store *store);

/* Adds or replaces; params is JSON text, copied. NULL when memory ran out. */
struct store_item *store_set(
	struct store *store, const char *key, const struct method *method, const char *params);

/* An item that is not in a store yet; params is taken over. NULL when memory ran out (then it is not). For store_put(). */
struct store_item *store_item_create(const char *key, const struct method *method, char *params);

/* Takes an item out without freeing it (NULL: there is none), and puts it back in its old place of the order of creation (a new
 * one: last). */
struct store_item *store_take(struct store *store, const char *key);
void store_put(struct store *store, struct store_item *item);

/* Frees an item that was taken out; NULL is accepted. */
void store_item_free(struct store_item *item);

/* Changes what an item says; params (from malloc()) is taken over, the old text returned. */
char *store_exchange(
	struct store *store, struct store_item *item, const struct method *method, char *params);

/* Whether there was one. */
bool store_del(struct store *store, const char *key);

struct store_item *store_find(struct store *store, const char *key);
size_t store_count(const struct store *store, enum object_class class);

/* Items of all classes, and the bytes of their methods' names and parameters. */
size_t store_n_items(const struct store *store);
size_t store_size(const struct store *store);

/* Next item in order of class and creation after (class, seq); NULL at the end. { 0, 0 } is the start. */
struct store_item *store_next(struct store *store, enum object_class class, uint64_t seq);

#endif
