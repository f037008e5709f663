/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/slow/nat.h"

#include <netinet/in.h>

#include "datapath/base/hash.h"
#include "datapath/packet/csum.h"
#include "datapath/slow/tuple.h"
#include "datapath/table/snat.h"

#include "datapath/fast/poison.h"

/* More would make a pool that runs out cost every new connection dearly; at a fill of 99 % one in 30,000 is refused early. */
#define TRIES_MAX 1024u
#define TRIES_EXHAUSTED 64u
#define REMAP_PORT_LO 1024u

static bool is_icmp(const struct parsed *pkt)
{
	return pkt->proto == (pkt->l3 == PARSED_IP6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

void nat_ports_init(struct nat_ports *ports, const struct slow_ctx *ctx, uint64_t hash)
{
	uint32_t lo = REMAP_PORT_LO, hi = 65535, own = rte_be_to_cpu_16(ctx->now.sport);

	*ports = (struct nat_ports){
		.n_tries = TRIES_MAX, .wanted = ctx->now.sport, .has_wanted = true
	};
	if (!ctx->pkt->has_l4)
		return;
	if (ctx->snat == SNAT_POOL || ctx->snat == SNAT_HAIRPIN) {
		const struct snat_range *range = snat_pool_range(
			snat_pool_at(ctx->snat == SNAT_POOL ? ctx->pool : SNAT_POOL_NODE));

		lo = range->port_lo;
		hi = range->port_hi;
		ports->has_wanted = is_icmp(ctx->pkt) || (own >= lo && own <= hi);
	}
	ports->lo = (uint16_t)lo;
	ports->n = (uint16_t)(hi - lo + 1);
	ports->hash = hash;
}

/* Of all that a reply's key has but the port that is looked for. */
static uint64_t tuple_hash(const struct slow_ctx *ctx)
{
	uint64_t hash = hash_addr(hash_addr(0, &ctx->now.src), &ctx->now.dst);

	return hash_word(
		hash, (uint64_t)ctx->zone << 32 | (uint32_t)ctx->pkt->proto << 16 | ctx->now.dport);
}

void nat_ports_limit(struct nat_ports *ports, const struct worker *w, const struct slow_ctx *ctx)
{
	uint64_t hash = tuple_hash(ctx);
	const struct nat_exhausted *e = &w->nat_exhausted[hash % WORKER_NAT_EXHAUSTED];

	if (unlikely(e->tuple_hash == hash && w->now_ns < e->until_ns))
		ports->n_tries = TRIES_EXHAUSTED;
}

void nat_ports_note(struct worker *w, const struct slow_ctx *ctx)
{
	uint64_t hash = tuple_hash(ctx);
	struct nat_exhausted *e = &w->nat_exhausted[hash % WORKER_NAT_EXHAUSTED];

	if (e->tuple_hash != hash || w->now_ns >= e->until_ns)
		*e = (struct nat_exhausted){ .tuple_hash = hash,
			.until_ns = w->now_ns + NAT_EXHAUSTED_NS };
}

/* Clients with ports in a row have hashes in a row, too, before they are mixed once more. */
static void shuffle_begin(struct nat_ports *ports)
{
	uint64_t mixed = hash_word(hash_word(ports->hash, ports->lo), HASH_MULTIPLIER);

	ports->mask = rte_align32pow2(ports->n) - 1;
	ports->shift = (uint8_t)(__builtin_popcount(ports->mask) / 2 + 1);
	ports->at = (uint32_t)(mixed >> 32);
	ports->stride = (uint32_t)mixed | 1;
}

/* A permutation of 0 … mask: each step can be undone. */
static uint32_t shuffled(const struct nat_ports *ports, uint32_t x)
{
	x &= ports->mask;
	x ^= x >> ports->shift;
	x = x * 0x9e3779b1u & ports->mask;
	x ^= x >> ports->shift;
	x = x * 0x85ebca6bu & ports->mask;
	return x ^ x >> ports->shift;
}

/* An odd stride visits every offset once; the shuffle keeps rows of taken ports from being met in a row. */
bool nat_ports_next(struct nat_ports *ports, rte_be16_t *out_port)
{
	if (ports->has_wanted) {
		ports->has_wanted = false;
		*out_port = ports->wanted;
		return true;
	}
	if (ports->n == 0 || ports->n_tries == 0)
		return false;
	if (ports->n_steps == 0)
		shuffle_begin(ports);
	while (ports->n_steps <= ports->mask) {
		uint32_t offset = shuffled(ports, ports->at + ports->n_steps++ * ports->stride);

		if (offset < ports->n) {
			ports->n_tries--;
			*out_port = rte_cpu_to_be_16((uint16_t)(ports->lo + offset));
			return true;
		}
	}
	return false;
}

bool nat_is_needed(const struct slow_ctx *ctx, const struct translation *final)
{
	return !ip_eq(&ctx->pkt->src, &final->src) || !ip_eq(&ctx->pkt->dst, &final->dst) ||
		ctx->pkt->sport != final->sport || ctx->pkt->dport != final->dport;
}

/* An echo has one identifier for both ports. */
static struct flow_key4 key4(const struct slow_ctx *ctx, const struct translation *t, uint8_t kind)
{
	return (struct flow_key4){ .src = ip_v4(&t->src),
		.dst = ip_v4(&t->dst),
		.sport = t->sport,
		.dport = kind >= FLOW_KEY_ICMP ? t->sport : t->dport,
		.zone = ctx->zone,
		.proto = ctx->pkt->proto,
		.kind = kind };
}

static struct flow_key6 key6(const struct slow_ctx *ctx, const struct translation *t, uint8_t kind)
{
	struct flow_key6 key = { .sport = t->sport,
		.dport = kind >= FLOW_KEY_ICMP ? t->sport : t->dport,
		.zone = ctx->zone,
		.proto = ctx->pkt->proto,
		.kind = kind };

	memcpy(key.src, t->src.b, 16);
	memcpy(key.dst, t->dst.b, 16);
	return key;
}

uint32_t nat_reply_flow(const struct slow_ctx *ctx, const struct translation *final, uint8_t kind)
{
	if (!ctx->ft->is_v6) {
		const struct flow_key4 key = key4(ctx, final, kind),
				       reply = flow_key4_reverse(&key);

		return flowtab_find4(ctx->ft, &reply);
	}
	const struct flow_key6 key = key6(ctx, final, kind), reply = flow_key6_reverse(&key);

	return flowtab_find6(ctx->ft, &reply);
}

/* Which parts of the key are in the transport checksum: ports (or identifier) always, addresses by the pseudo header. */
static uint16_t ports_delta(uint8_t kind, const rte_be16_t old[2], const rte_be16_t new[2])
{
	uint16_t delta = csum_delta16(old[0], new[0]);

	return kind >= FLOW_KEY_ICMP ? delta : csum_delta_add(delta, csum_delta16(old[1], new[1]));
}

static void program4(struct flow4 *f, const struct flow_key4 *out)
{
	const rte_be16_t old[2] = { f->key.sport, f->key.dport },
			 new[2] = { out->sport, out->dport };
	uint16_t ports = ports_delta(f->key.kind, old, new);

	f->new_src = out->src;
	f->new_dst = out->dst;
	f->new_sport = out->sport;
	f->new_dport = out->dport;
	f->l3_delta = csum_delta_add(
		csum_delta32(f->key.src, out->src), csum_delta32(f->key.dst, out->dst));
	f->l4_delta = f->key.kind >= FLOW_KEY_ICMP ? ports : csum_delta_add(f->l3_delta, ports);
}

static void program6(struct flow6 *f, const struct flow_key6 *out)
{
	const rte_be16_t old[2] = { f->key.sport, f->key.dport },
			 new[2] = { out->sport, out->dport };

	memcpy(f->new_src, out->src, 16);
	memcpy(f->new_dst, out->dst, 16);
	f->new_sport = out->sport;
	f->new_dport = out->dport;
	f->l3_delta = csum_delta_add(
		csum_delta_ip6(f->key.src, out->src), csum_delta_ip6(f->key.dst, out->dst));
	f->l4_delta = csum_delta_add(f->l3_delta, ports_delta(f->key.kind, old, new));
}

static void programs4(struct flowtab *t, uint32_t conn, const struct slow_ctx *ctx,
	const struct translation *client, const struct translation *final, uint8_t kind,
	bool is_translated)
{
	struct flow4 *orig = flowtab_flow4(t, 2 * conn), *reply = flowtab_flow4(t, 2 * conn + 1);
	const struct flow_key4 in = key4(ctx, client, kind), out = key4(ctx, final, kind);
	const struct flow_key4 back = flow_key4_reverse(&in);

	orig->key = in;
	reply->key = flow_key4_reverse(&out);
	if (!is_translated)
		return;
	program4(orig, &out);
	program4(reply, &back);
}

static void programs6(struct flowtab *t, uint32_t conn, const struct slow_ctx *ctx,
	const struct translation *client, const struct translation *final, uint8_t kind,
	bool is_translated)
{
	struct flow6 *orig = flowtab_flow6(t, 2 * conn), *reply = flowtab_flow6(t, 2 * conn + 1);
	const struct flow_key6 in = key6(ctx, client, kind), out = key6(ctx, final, kind);
	const struct flow_key6 back = flow_key6_reverse(&in);

	orig->key = in;
	reply->key = flow_key6_reverse(&out);
	if (!is_translated)
		return;
	program6(orig, &out);
	program6(reply, &back);
}

bool nat_conn_fill(struct flowtab *t, uint32_t conn, const struct slow_ctx *ctx,
	const struct translation *final, uint8_t kind)
{
	const struct translation client = { .src = ctx->pkt->src,
		.dst = ctx->pkt->dst,
		.sport = ctx->pkt->sport,
		.dport = ctx->pkt->dport };

	bool is_translated = nat_is_needed(ctx, final);

	(t->is_v6 ? programs6 : programs4)(t, conn, ctx, &client, final, kind, is_translated);
	return is_translated;
}
