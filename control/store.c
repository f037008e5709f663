/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/store.h"

#include <stdlib.h>
#include <string.h>

RB_HEAD(key_tree, store_item);
RB_HEAD(order_tree, store_item);

struct store {
	struct key_tree keys;
	struct order_tree order;
	uint64_t next_seq;
	size_t counts[OBJECT_N];
	size_t size; /* bytes of all methods' names and parameters */
};

static int compare_key(struct store_item *a, struct store_item *b)
{
	return strcmp(a->key, b->key);
}

static int compare_order(struct store_item *a, struct store_item *b)
{
	if (a->method->class != b->method->class)
		return a->method->class < b->method->class ? -1 : 1;
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
RB_GENERATE_INTERNAL(key_tree, store_item, by_key, compare_key, static)
RB_GENERATE_INTERNAL(order_tree, store_item, by_order, compare_order, static)
#pragma GCC diagnostic pop

struct store *store_create(void)
{
	struct store *store = calloc(1, sizeof(*store));

	if (store != NULL)
		store->next_seq = 1;
	return store;
}

static size_t item_size(const struct store_item *item)
{
	return strlen(item->method->name) + strlen(item->params);
}

static void item_take(struct store *store, struct store_item *item)
{
	RB_REMOVE(key_tree, &store->keys, item);
	RB_REMOVE(order_tree, &store->order, item);
	store->counts[item->method->class]--;
	store->size -= item_size(item);
}

void store_item_free(struct store_item *item)
{
	if (item != NULL)
		free(item->params);
	free(item);
}

static void item_free(struct store *store, struct store_item *item)
{
	item_take(store, item);
	store_item_free(item);
}

void store_destroy(struct store *store)
{
	struct store_item *item;

	if (store == NULL)
		return;
	while ((item = RB_MIN(key_tree, &store->keys)) != NULL)
		item_free(store, item);
	free(store);
}

struct store_item *store_find(struct store *store, const char *key)
{
	struct store_item *item = RB_ROOT(&store->keys);

	while (item != NULL) {
		int order = strcmp(key, item->key);

		if (order == 0)
			return item;
		item = order < 0 ? RB_LEFT(item, by_key) : RB_RIGHT(item, by_key);
	}
	return NULL;
}

void store_put(struct store *store, struct store_item *item)
{
	if (item->seq == 0)
		item->seq = store->next_seq++;
	RB_INSERT(key_tree, &store->keys, item);
	RB_INSERT(order_tree, &store->order, item);
	store->counts[item->method->class]++;
	store->size += item_size(item);
}

struct store_item *store_take(struct store *store, const char *key)
{
	struct store_item *item = store_find(store, key);

	if (item != NULL)
		item_take(store, item);
	return item;
}

char *store_exchange(
	struct store *store, struct store_item *item, const struct method *method, char *params)
{
	char *old = item->params;

	store->size -= item_size(item);
	item->params = params;
	item->method = method; /* same class: the key begins with it */
	store->size += item_size(item);
	item->is_failed = false;
	return old;
}

struct store_item *store_item_create(const char *key, const struct method *method, char *params)
{
	size_t len = strlen(key) + 1;
	struct store_item *item = calloc(1, sizeof(*item) + len);

	if (item == NULL)
		return NULL;
	memcpy(item->key, key, len);
	item->method = method;
	item->params = params;
	return item;
}

struct store_item *store_set(
	struct store *store, const char *key, const struct method *method, const char *params)
{
	struct store_item *item = store_find(store, key);
	char *copy = strdup(params);

	if (copy == NULL)
		return NULL;
	if (item != NULL) {
		free(store_exchange(store, item, method, copy));
		return item;
	}
	item = store_item_create(key, method, copy);
	if (item == NULL)
		free(copy);
	else
		store_put(store, item);
	return item;
}

bool store_del(struct store *store, const char *key)
{
	struct store_item *item = store_find(store, key);

	if (item == NULL)
		return false;
	item_free(store, item);
	return true;
}

size_t store_count(const struct store *store, enum object_class class)
{
	return store->counts[class];
}

size_t store_n_items(const struct store *store)
{
	size_t n = 0;

	for (unsigned int class = 0; class < OBJECT_N; class ++)
		n += store->counts[class];
	return n;
}

size_t store_size(const struct store *store)
{
	return store->size;
}

struct store_item *store_next(struct store *store, enum object_class class, uint64_t seq)
{
	struct store_item *item = RB_ROOT(&store->order), *best = NULL;

	while (item != NULL) {
		bool is_after = item->method->class > class ||
			(item->method->class == class && item->seq > seq);

		if (is_after)
			best = item;
		item = is_after ? RB_LEFT(item, by_order) : RB_RIGHT(item, by_order);
	}
	return best;
}
