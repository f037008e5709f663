/* SPDX-License-Identifier: BSD-3-Clause */
/* The writer's side of struct list_filter. */
#include "datapath/table/classifier_node.h"

/* What a filter will be. */
struct filter_bits {
	uint64_t set[LEVEL_N][2];
	uint64_t port[2];
};

static void bit_set(uint64_t words[2], unsigned int bit)
{
	words[bit / 64] |= UINT64_C(1) << bit % 64;
}

static void set_bit(uint64_t words[2], uint32_t set)
{
	bit_set(words, set == IPSET_NONE ? FILTER_ANY : filter_bit(set));
}

static void port_bits(uint64_t words[2], uint32_t port, unsigned int len)
{
	if (len < FILTER_PORT_LEN_MIN || len == PORT_LEN_ANY) {
		bit_set(words, FILTER_ANY);
		return;
	}
	for (uint32_t end = port + (1u << (16 - len)); port < end; port++)
		bit_set(words, filter_bit(port));
}

static void bits_add(
	struct filter_bits *bits, uint32_t src, uint32_t dst, const struct entry_key *key)
{
	set_bit(bits->set[LEVEL_SRC], src);
	set_bit(bits->set[LEVEL_DST], dst);
	port_bits(bits->port, key->dport, key->dlen);
}

static void words_publish(_Atomic uint64_t words[2], const uint64_t bits[2], bool is_added)
{
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t old = atomic_load_explicit(&words[i], memory_order_relaxed);

		/* Relaxed: a reader that must see the rule has seen a generation that was touched after this. */
		atomic_store_explicit(
			&words[i], is_added ? old | bits[i] : bits[i], memory_order_relaxed);
	}
}

static void filter_publish(
	struct list_filter *filter, const struct filter_bits *bits, bool is_added)
{
	for (unsigned int level = 0; level < LEVEL_N; level++)
		words_publish(filter->set[level], bits->set[level], is_added);
	words_publish(filter->port, bits->port, is_added);
}

void filter_add(struct rulelist *list, uint32_t src, uint32_t dst, const struct entry_key *key)
{
	struct filter_bits bits = { 0 };

	bits_add(&bits, src, dst, key);
	filter_publish(&list->filter, &bits, true);
}

void filter_rule_gone(struct rulelist *list)
{
	struct filter_bits bits = { 0 };

	if (list->n_items > FILTER_REMAKE_MAX)
		return;
	for (uint32_t r = list->first_rule; r != RULE_NONE; r = rule_at(r)->next) {
		for (uint32_t i = rule_at(r)->first_item; i != SLOT_NONE;
			i = item_at(i)->next_of_rule) {
			const struct entry_key *key = &entry_at(item_at(i)->entry)->key;
			const struct step *node = &node_at(key->node)->step;

			bits_add(&bits, branch_at(node->key.parent)->step.key.set, node->key.set,
				key);
		}
	}
	filter_publish(&list->filter, &bits, false);
}
