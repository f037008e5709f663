/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The readers' half of ipset.h. A lookup probes the prefix lengths in use, longest first; the heads of all chains are prefetched
 * before the first is followed. It is not a snapshot: of several changes made meanwhile it may see some. A flow judged by
 * such an answer is older than these changes and is judged again.
 */
#include "datapath/base/rcu.h"
#include "datapath/table/ipset_node.h"

struct hit {
	uint8_t len;
	uint32_t prefix;
};

/* Lengths in use, longest first. */
static unsigned int lens_list(
	const struct ipset_lens *lens, bool is_v6, uint8_t out_len[IPSET_LENS_MAX])
{
	unsigned int n = 0;

	for (int word = is_v6 ? 3 : 0; word >= (is_v6 ? 1 : 0); word--) {
		/* acquire: pairs with the release in lens_get(); what has this length is found */
		uint64_t used = atomic_load_explicit(&lens->used[word], memory_order_acquire);
		unsigned int base = is_v6 ? 64 * ((unsigned int)word - 1) : 0;

		while (used != 0) {
			unsigned int bit = 63 - (unsigned int)__builtin_clzll(used);

			out_len[n++] = (uint8_t)(base + bit);
			used ^= UINT64_C(1) << bit;
		}
	}
	return n;
}

static bool lens_have(const struct ipset_lens *lens, bool is_v6, unsigned int len)
{
	unsigned int bit = ipset_len_bit(is_v6, len);

	return atomic_load_explicit(&lens->used[bit / 64], memory_order_acquire) >> bit % 64 & 1;
}

static uint64_t mask64(unsigned int n_bits)
{
	return n_bits == 0 ? 0 : rte_cpu_to_be_64(UINT64_MAX << (64 - n_bits));
}

static struct ip_addr masked(const struct ip_addr *addr, bool is_v6, unsigned int len)
{
	unsigned int keep = is_v6 ? len : 96 + len;

	return (struct ip_addr){ .q = { addr->q[0] & mask64(keep < 64 ? keep : 64),
					 addr->q[1] & mask64(keep < 64 ? 0 : keep - 64) } };
}

bool ipset_contains(uint32_t set_idx, const struct ip_addr *addr)
{
	struct ipset_member_key keys[IPSET_LENS_MAX];
	uint64_t hashes[IPSET_LENS_MAX];
	uint8_t lens[IPSET_LENS_MAX];
	bool is_v6 = !ip_is_v4(addr);
	unsigned int n = lens_list(&ipset_at(set_idx)->lens, is_v6, lens);

	for (unsigned int i = 0; i < n; i++) {
		keys[i] = (struct ipset_member_key){
			.addr = masked(addr, is_v6, lens[i]), .set = set_idx, .len = lens[i]
		};
		hashes[i] = chainmap_hash(&ipset_member_map, &keys[i]);
		chainmap_prefetch(&ipset_member_map, hashes[i]);
	}
	for (unsigned int i = 0; i < n; i++) {
		uint32_t member = chainmap_find_hashed(&ipset_member_map, &keys[i], hashes[i]);

		if (member != SLOT_NONE)
			return !ipset_member_at(member)->is_except;
	}
	return false;
}

/* Prefixes of the zone that cover the address, longest first. */
static unsigned int covering(
	uint16_t zone, const struct ip_addr *addr, bool is_v6, struct hit out_hits[IPSET_LENS_MAX])
{
	const struct ipset_lens *zone_lens = rcu_deref(ipset_zones[zone]);
	struct ipset_prefix_key keys[IPSET_LENS_MAX];
	uint64_t hashes[IPSET_LENS_MAX];
	uint8_t lens[IPSET_LENS_MAX];
	unsigned int n, n_hits = 0;

	if (zone_lens == NULL)
		return 0;
	n = lens_list(zone_lens, is_v6, lens);
	for (unsigned int i = 0; i < n; i++) {
		keys[i] = (struct ipset_prefix_key){
			.addr = masked(addr, is_v6, lens[i]), .zone = zone, .len = lens[i]
		};
		hashes[i] = chainmap_hash(&ipset_prefix_map, &keys[i]);
		chainmap_prefetch(&ipset_prefix_map, hashes[i]);
	}
	for (unsigned int i = 0; i < n; i++) {
		uint32_t prefix = chainmap_find_hashed(&ipset_prefix_map, &keys[i], hashes[i]);

		if (prefix != SLOT_NONE)
			out_hits[n_hits++] = (struct hit){ .len = lens[i], .prefix = prefix };
	}
	return n_hits;
}

/* Whether the set has one of the first n hits itself: then that member decided. */
static bool is_decided(uint32_t set_idx, bool is_v6, const struct hit *hits, unsigned int n)
{
	const struct ipset_lens *lens = &ipset_at(set_idx)->lens;

	for (unsigned int i = 0; i < n; i++) {
		struct ipset_member_key key;

		if (!lens_have(lens, is_v6, hits[i].len))
			continue;
		key = (struct ipset_member_key){ .addr = ipset_prefix_at(hits[i].prefix)->key.addr,
			.set = set_idx,
			.len = hits[i].len };
		if (chainmap_find(&ipset_member_map, &key) != SLOT_NONE)
			return true;
	}
	return false;
}

void ipset_foreach(
	uint16_t zone, const struct ip_addr *addr, bool (*fn)(void *arg, uint32_t set), void *arg)
{
	struct hit hits[IPSET_LENS_MAX];
	bool is_v6 = !ip_is_v4(addr);
	unsigned int n_hits = covering(zone, addr, is_v6, hits);

	for (unsigned int i = 0; i < n_hits; i++) {
		const struct ipset_sharers *s = rcu_deref(ipset_prefix_at(hits[i].prefix)->sharers);

		for (uint32_t k = 0; k < s->max; k++) {
			/* acquire: pairs with the release in prefix_share() */
			uint32_t sharer = atomic_load_explicit(&s->sharer[k], memory_order_acquire);

			if (sharer == IPSET_SHARER_NONE || (sharer & 1) != 0 ||
				is_decided(sharer >> 1, is_v6, hits, i))
				continue;
			if (!fn(arg, sharer >> 1))
				return;
		}
	}
}
