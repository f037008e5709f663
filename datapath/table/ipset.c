/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "datapath/base/rcu.h"
#include "datapath/table/ipset_node.h"

#define SHARERS_MIN 2

_Atomic uint32_t ipset_gens[IPSET_GENS];
struct slots ipset_slots, ipset_member_slots, ipset_prefix_slots;
struct chainmap ipset_member_map, ipset_prefix_map;
struct ipset_lens *_Atomic ipset_zones[IPSET_ZONES];
static struct chainmap intern_map;

int ipset_table_init(void)
{
	if (slots_init(&ipset_slots, sizeof(struct ipset), IPSET_MAX) == 0 &&
		slots_init(&ipset_member_slots, sizeof(struct ipset_member), IPSET_MEMBERS_MAX) ==
			0 &&
		slots_init(&ipset_prefix_slots, sizeof(struct ipset_prefix), IPSET_MEMBERS_MAX) ==
			0 &&
		chainmap_init(&ipset_member_map, &ipset_member_slots,
			offsetof(struct ipset_member, link), offsetof(struct ipset_member, key),
			sizeof(struct ipset_member_key)) == 0 &&
		chainmap_init(&ipset_prefix_map, &ipset_prefix_slots,
			offsetof(struct ipset_prefix, link), offsetof(struct ipset_prefix, key),
			sizeof(struct ipset_prefix_key)) == 0 &&
		chainmap_init(&intern_map, &ipset_slots, offsetof(struct ipset, intern_link),
			offsetof(struct ipset, intern_key), sizeof(struct ipset_intern_key)) == 0)
		return 0;
	ipset_table_fini();
	return -ENOMEM;
}

void ipset_table_fini(void)
{
	rcu_synchronize();
	for (uint32_t i = slots_next(&ipset_slots, 0); i != SLOT_NONE;
		i = slots_next(&ipset_slots, i + 1))
		free(ipset_at(i)->lens.counts);
	for (uint32_t i = slots_next(&ipset_prefix_slots, 0); i != SLOT_NONE;
		i = slots_next(&ipset_prefix_slots, i + 1))
		free(ipset_prefix_at(i)->sharers);
	for (unsigned int zone = 0; zone < IPSET_ZONES; zone++) {
		if (ipset_zones[zone] == NULL)
			continue;
		free(ipset_zones[zone]->counts);
		free(ipset_zones[zone]);
		ipset_zones[zone] = NULL;
	}
	chainmap_fini(&intern_map);
	chainmap_fini(&ipset_prefix_map);
	chainmap_fini(&ipset_member_map);
	slots_fini(&ipset_prefix_slots);
	slots_fini(&ipset_member_slots);
	slots_fini(&ipset_slots);
}

/* Lengths in use */

/* Room for one length more, so that lens_get() cannot fail. 0 or -ENOMEM. */
static int lens_reserve(struct ipset_lens *lens)
{
	struct ipset_len_count *grown;
	uint8_t max;

	if (lens->n_counts < lens->counts_max)
		return 0;
	max = lens->counts_max + 2;
	grown = realloc(lens->counts, max * sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	lens->counts = grown;
	lens->counts_max = max;
	return 0;
}

static struct ipset_len_count *lens_find(struct ipset_lens *lens, unsigned int bit)
{
	for (unsigned int i = 0; i < lens->n_counts; i++)
		if (lens->counts[i].bit == bit)
			return &lens->counts[i];
	return NULL;
}

static void lens_get(struct ipset_lens *lens, unsigned int bit)
{
	struct ipset_len_count *c = lens_find(lens, bit);

	if (c != NULL) {
		c->n++;
		return;
	}
	lens->counts[lens->n_counts++] = (struct ipset_len_count){ .n = 1, .bit = (uint8_t)bit };
	/* release: what has the length is there; pairs with the acquire in lens_list() */
	atomic_fetch_or_explicit(
		&lens->used[bit / 64], UINT64_C(1) << bit % 64, memory_order_release);
}

static void lens_put(struct ipset_lens *lens, unsigned int bit)
{
	struct ipset_len_count *c = lens_find(lens, bit);

	if (--c->n > 0)
		return;
	*c = lens->counts[--lens->n_counts];
	atomic_fetch_and_explicit(
		&lens->used[bit / 64], ~(UINT64_C(1) << bit % 64), memory_order_relaxed);
}

/* Made on demand, kept until the end: a zone without members costs nothing but these bytes. */
static struct ipset_lens *zone_lens(uint16_t zone)
{
	struct ipset_lens *lens = ipset_zones[zone];

	if (lens == NULL) {
		lens = calloc(1, sizeof(*lens));
		rcu_assign(ipset_zones[zone], lens);
	}
	return lens;
}

/* Prefixes and the sets that share them */

static uint32_t sharer_find(const struct ipset_sharers *s, uint32_t sharer, uint32_t from)
{
	for (uint32_t n = 0, i = from; n < s->max; n++, i = i + 1 < s->max ? i + 1 : 0)
		if (atomic_load_explicit(&s->sharer[i], memory_order_relaxed) == sharer)
			return i;
	return SLOT_NONE;
}

/* Replaces the array by one of max places. 0 or -ENOMEM: nothing changed. */
static int sharers_resize(struct ipset_prefix *p, uint32_t max)
{
	struct ipset_sharers *old = p->sharers, *s;
	uint32_t n = 0;

	s = malloc(sizeof(*s) + max * sizeof(s->sharer[0]));
	if (s == NULL)
		return -ENOMEM;
	s->max = max;
	for (uint32_t i = 0; old != NULL && i < old->max; i++)
		if (old->sharer[i] != IPSET_SHARER_NONE)
			atomic_init(&s->sharer[n++], old->sharer[i]);
	while (n < max)
		atomic_init(&s->sharer[n++], IPSET_SHARER_NONE);
	rcu_assign(p->sharers, s);
	if (old != NULL)
		rcu_defer(free, old);
	return 0;
}

/* The prefix with room for one sharer more, SLOT_NONE when memory is full. A new one has none and is not in the map yet. */
static uint32_t prefix_reserve(const struct ipset_prefix_key *key)
{
	uint32_t idx = chainmap_find(&ipset_prefix_map, key);
	struct ipset_prefix *p;

	if (idx != SLOT_NONE) {
		p = ipset_prefix_at(idx);
		return p->n_sharers < p->sharers->max || sharers_resize(p, 2 * p->n_sharers) == 0
			? idx
			: SLOT_NONE;
	}
	idx = slots_alloc(&ipset_prefix_slots);
	if (idx == SLOT_NONE)
		return SLOT_NONE;
	p = ipset_prefix_at(idx);
	p->key = *key;
	if (sharers_resize(p, SHARERS_MIN) == 0)
		return idx;
	slots_free(&ipset_prefix_slots, idx);
	return SLOT_NONE;
}

static void prefix_free(uint32_t idx)
{
	rcu_defer(free, ipset_prefix_at(idx)->sharers);
	slots_free(&ipset_prefix_slots, idx);
}

static void prefix_share(uint32_t idx, uint32_t sharer)
{
	struct ipset_prefix *p = ipset_prefix_at(idx);
	uint32_t at = sharer_find(p->sharers, IPSET_SHARER_NONE, p->n_sharers);

	/* release: the member is there; pairs with the acquire in ipset_foreach() */
	atomic_store_explicit(&p->sharers->sharer[at], sharer, memory_order_release);
	if (p->n_sharers++ == 0)
		chainmap_insert(&ipset_prefix_map, idx);
}

static void prefix_unshare(uint32_t idx, uint32_t sharer)
{
	struct ipset_prefix *p = ipset_prefix_at(idx);

	atomic_store_explicit(&p->sharers->sharer[sharer_find(p->sharers, sharer, 0)],
		IPSET_SHARER_NONE, memory_order_relaxed);
	if (--p->n_sharers == 0) {
		chainmap_remove(&ipset_prefix_map, idx);
		prefix_free(idx);
	} else if (p->sharers->max > 8 && p->n_sharers < p->sharers->max / 4) {
		/* Without memory it stays as large as it was. */
		(void)sharers_resize(p, p->sharers->max / 2);
	}
}

/* Members */

static struct ipset_member_key member_key(uint32_t set, const struct ip_prefix *p)
{
	return (struct ipset_member_key){ .addr = p->addr, .set = set, .len = p->len };
}

static struct ipset_prefix_key prefix_key(uint16_t zone, const struct ip_prefix *p)
{
	return (struct ipset_prefix_key){ .addr = p->addr, .zone = zone, .len = p->len };
}

static unsigned int prefix_len_bit(const struct ip_prefix *p)
{
	return ipset_len_bit(!ip_is_v4(&p->addr), p->len);
}

static void member_touch(const struct ip_prefix *p)
{
	if (p->len == (ip_is_v4(&p->addr) ? 32 : 128))
		gen_touch(ipset_addr_gen(&p->addr));
}

static void member_link(uint32_t set_idx, uint32_t idx)
{
	struct ipset *set = ipset_at(set_idx);
	struct ipset_member *m = ipset_member_at(idx);

	m->next = set->first_member;
	m->prev = SLOT_NONE;
	if (m->next != SLOT_NONE)
		ipset_member_at(m->next)->prev = idx;
	set->first_member = idx;
	set->n_members++;
}

static void member_unlink(uint32_t set_idx, uint32_t idx)
{
	struct ipset *set = ipset_at(set_idx);
	const struct ipset_member *m = ipset_member_at(idx);

	if (m->next != SLOT_NONE)
		ipset_member_at(m->next)->prev = m->prev;
	if (m->prev != SLOT_NONE)
		ipset_member_at(m->prev)->next = m->next;
	else
		set->first_member = m->next;
	set->n_members--;
}

/* Published from the member to the zone's lengths and taken back in reverse, so that ipset_foreach(), which goes the other
 * way, finds in the set what it saw in the prefix. */
static int member_insert(uint32_t set_idx, const struct ip_prefix *p, bool is_except)
{
	struct ipset *set = ipset_at(set_idx);
	struct ipset_member_key key = member_key(set_idx, p);
	struct ipset_prefix_key pkey = prefix_key(set->zone, p);
	struct ipset_lens *zone = zone_lens(set->zone);
	uint32_t idx, prefix;

	assert(p->len <= (ip_is_v4(&p->addr) ? 32 : 128));
	if (chainmap_find(&ipset_member_map, &key) != SLOT_NONE)
		return -EEXIST;
	if (zone == NULL || lens_reserve(zone) < 0 || lens_reserve(&set->lens) < 0)
		return -ENOSPC;
	idx = slots_alloc(&ipset_member_slots);
	if (idx == SLOT_NONE)
		return -ENOSPC;
	prefix = prefix_reserve(&pkey);
	if (prefix == SLOT_NONE) {
		slots_free(&ipset_member_slots, idx);
		return -ENOSPC;
	}
	ipset_member_at(idx)->key = key;
	ipset_member_at(idx)->is_except = is_except;
	member_link(set_idx, idx);
	chainmap_insert(&ipset_member_map, idx);
	lens_get(&set->lens, prefix_len_bit(p));
	prefix_share(prefix, set_idx << 1 | is_except);
	lens_get(zone, prefix_len_bit(p));
	member_touch(p);
	return 0;
}

static void member_remove(uint32_t set_idx, uint32_t idx)
{
	struct ipset *set = ipset_at(set_idx);
	const struct ipset_member *m = ipset_member_at(idx);
	struct ip_prefix p = { .addr = m->key.addr, .len = (uint8_t)m->key.len };
	struct ipset_prefix_key pkey = prefix_key(set->zone, &p);

	lens_put(ipset_zones[set->zone], prefix_len_bit(&p));
	prefix_unshare(chainmap_find(&ipset_prefix_map, &pkey), set_idx << 1 | m->is_except);
	lens_put(&set->lens, prefix_len_bit(&p));
	chainmap_remove(&ipset_member_map, idx);
	member_unlink(set_idx, idx);
	slots_free(&ipset_member_slots, idx);
	member_touch(&p);
}

int ipset_member_add(uint32_t set, const struct ip_prefix *prefix, bool is_except)
{
	assert(!ipset_at(set)->is_interned);
	return member_insert(set, prefix, is_except);
}

int ipset_member_del(uint32_t set, const struct ip_prefix *prefix)
{
	struct ipset_member_key key = member_key(set, prefix);
	uint32_t idx = chainmap_find(&ipset_member_map, &key);

	assert(!ipset_at(set)->is_interned);
	if (idx == SLOT_NONE)
		return -ENOENT;
	member_remove(set, idx);
	return 0;
}

uint32_t ipset_n_members(uint32_t set)
{
	return ipset_at(set)->n_members;
}

bool ipset_member_next(
	uint32_t set, uint64_t *cursor, struct ip_prefix *out_prefix, bool *out_is_except)
{
	const struct ipset_member *m;
	uint32_t idx = ipset_at(set)->first_member;

	if (*cursor != 0) {
		uint32_t last = (uint32_t)*cursor - 1;

		/* that member went meanwhile */
		if (!ipset_member_slots.live[last] || ipset_member_at(last)->key.set != set)
			return false;
		idx = ipset_member_at(last)->next;
	}
	if (idx == SLOT_NONE)
		return false;
	m = ipset_member_at(idx);
	*out_prefix = (struct ip_prefix){ .addr = m->key.addr, .len = (uint8_t)m->key.len };
	*out_is_except = m->is_except;
	*cursor = (uint64_t)idx + 1;
	return true;
}

/* Sets */

uint32_t ipset_create(uint16_t zone)
{
	uint32_t idx = slots_alloc(&ipset_slots);
	struct ipset *set;

	if (idx == SLOT_NONE)
		return IPSET_NONE;
	set = ipset_at(idx);
	set->zone = zone;
	set->n_refs = 1;
	set->first_member = SLOT_NONE;
	return idx;
}

bool ipset_is_in_zone(uint32_t set, uint16_t zone)
{
	return set < IPSET_MAX && ipset_slots.live[set] && ipset_at(set)->zone == zone;
}

void ipset_get(uint32_t set)
{
	ipset_at(set)->n_refs++;
}

void ipset_put(uint32_t idx)
{
	struct ipset *set;

	if (idx == IPSET_NONE)
		return;
	set = ipset_at(idx);
	if (--set->n_refs > 0)
		return;
	if (set->is_interned)
		chainmap_remove(&intern_map, idx);
	while (set->first_member != SLOT_NONE)
		member_remove(idx, set->first_member);
	free(set->lens.counts);
	slots_free(&ipset_slots, idx);
}

/* Interned sets */

struct content {
	struct ip_prefix prefix;
	bool is_except;
};

static int content_cmp(const void *a, const void *b)
{
	const struct content *x = a, *y = b;
	int order = memcmp(&x->prefix.addr, &y->prefix.addr, sizeof(x->prefix.addr));

	if (order == 0)
		order = x->prefix.len - y->prefix.len;
	/* the exception first: it is the one that stays */
	return order != 0 ? order : y->is_except - x->is_except;
}

/* The prefix and its exceptions sorted, each prefix once; their number. NULL without memory. */
static struct content *content_create(const struct ip_prefix *prefix,
	const struct ip_prefix *except, unsigned int n_except, unsigned int *out_n)
{
	struct content *c = calloc(n_except + 1, sizeof(*c));
	unsigned int n = 1;

	if (c == NULL)
		return NULL;
	c[0].prefix = *prefix;
	for (unsigned int i = 0; i < n_except; i++)
		c[i + 1] = (struct content){ .prefix = except[i], .is_except = true };
	qsort(c, n_except + 1, sizeof(*c), content_cmp);
	for (unsigned int i = 1; i <= n_except; i++)
		if (c[i].prefix.len != c[n - 1].prefix.len ||
			!ip_eq(&c[i].prefix.addr, &c[n - 1].prefix.addr))
			c[n++] = c[i];
	*out_n = n;
	return c;
}

static uint64_t content_hash(uint16_t zone, const struct content *c, unsigned int n)
{
	uint64_t hash = zone;

	for (unsigned int i = 0; i < n; i++) {
		struct ipset_member_key key = member_key(c[i].is_except, &c[i].prefix);

		hash = (hash ^ chainmap_hash(&ipset_member_map, &key)) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 32;
	}
	return hash;
}

static bool content_is_of(uint32_t set_idx, uint16_t zone, const struct content *c, unsigned int n)
{
	const struct ipset *set = ipset_at(set_idx);

	if (set->zone != zone || set->n_members != n)
		return false;
	for (unsigned int i = 0; i < n; i++) {
		struct ipset_member_key key = member_key(set_idx, &c[i].prefix);
		uint32_t idx = chainmap_find(&ipset_member_map, &key);

		if (idx == SLOT_NONE || ipset_member_at(idx)->is_except != c[i].is_except)
			return false;
	}
	return true;
}

static uint32_t content_set_create(
	uint16_t zone, const struct ipset_intern_key *key, const struct content *c, unsigned int n)
{
	uint32_t idx = ipset_create(zone);

	if (idx == IPSET_NONE)
		return IPSET_NONE;
	for (unsigned int i = 0; i < n; i++) {
		if (member_insert(idx, &c[i].prefix, c[i].is_except) < 0) {
			ipset_put(idx);
			return IPSET_NONE;
		}
	}
	ipset_at(idx)->is_interned = true;
	ipset_at(idx)->intern_key = *key;
	chainmap_insert(&intern_map, idx);
	return idx;
}

uint32_t ipset_intern(uint16_t zone, const struct ip_prefix *prefix, const struct ip_prefix *except,
	unsigned int n)
{
	struct ipset_intern_key key;
	struct content *c;
	unsigned int n_content;
	uint64_t hash;
	uint32_t idx;

	c = content_create(prefix, except, n, &n_content);
	if (c == NULL)
		return IPSET_NONE;
	/* Other content with this hash sits on it: the next one. If that goes first, its successor is not found, and made twice. */
	for (hash = content_hash(zone, c, n_content);; hash++) {
		key = (struct ipset_intern_key){ { (uint32_t)hash, (uint32_t)(hash >> 32) } };
		idx = chainmap_find(&intern_map, &key);
		if (idx == SLOT_NONE) {
			idx = content_set_create(zone, &key, c, n_content);
			break;
		}
		if (content_is_of(idx, zone, c, n_content)) {
			ipset_get(idx);
			break;
		}
	}
	free(c);
	return idx;
}
