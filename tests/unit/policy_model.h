/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets and rules the obvious way, and random ones: few addresses, ports and priorities, so that much overlaps. */
#ifndef LEAT_TESTS_POLICY_MODEL_H
#define LEAT_TESTS_POLICY_MODEL_H

#include <stdlib.h>

#include "datapath/table/classifier.h"

#define MODEL_MEMBERS 12

struct model_set {
	uint32_t idx; /* IPSET_NONE: not there */
	uint16_t zone;
	unsigned int n;
	struct ip_prefix prefix[MODEL_MEMBERS];
	bool is_except[MODEL_MEMBERS];
};

struct model_rule {
	uint32_t idx; /* RULE_NONE: not there */
	uint32_t age;
	struct rule_config cfg;
};

static inline unsigned int model_rnd(unsigned int n)
{
	return (unsigned int)rand() % n;
}

/* 10.0.x.y and 2001:db8::…, x, y and their like of two bits. */
static inline struct ip_addr model_addr(void)
{
	struct ip_addr a;

	if (model_rnd(3) != 0)
		return ip_from_v4(rte_cpu_to_be_32(
			10u << 24 | model_rnd(2) << 23 | model_rnd(4) << 8 | model_rnd(4)));
	a = (struct ip_addr){ .b = { 0x20, 0x01, 0x0d, 0xb8 } };
	a.b[5] = (uint8_t)model_rnd(2);
	a.b[8] = (uint8_t)(model_rnd(2) << 7);
	a.b[15] = (uint8_t)model_rnd(4);
	return a;
}

static inline struct ip_prefix model_prefix(void)
{
	static const uint8_t len4[] = { 0, 8, 9, 22, 23, 24, 30, 31, 32, 32 };
	static const uint8_t len6[] = { 0, 1, 32, 47, 48, 63, 64, 65, 126, 127, 128, 128 };
	struct ip_prefix p = { .addr = model_addr() };

	p.len = ip_is_v4(&p.addr) ? len4[model_rnd(sizeof(len4))] : len6[model_rnd(sizeof(len6))];
	ip_prefix_mask(&p);
	return p;
}

static inline int model_set_find(const struct model_set *s, const struct ip_prefix *p)
{
	for (unsigned int i = 0; i < s->n; i++)
		if (s->prefix[i].len == p->len && ip_eq(&s->prefix[i].addr, &p->addr))
			return (int)i;
	return -1;
}

static inline bool model_contains(const struct model_set *s, const struct ip_addr *addr)
{
	int best = -1;

	for (unsigned int i = 0; i < s->n; i++)
		if (ip_prefix_covers(&s->prefix[i], addr) &&
			(best < 0 || s->prefix[i].len > s->prefix[best].len))
			best = (int)i;
	return best >= 0 && !s->is_except[best];
}

static inline const struct model_set *model_set_at(
	const struct model_set *sets, unsigned int n, uint32_t idx)
{
	for (unsigned int i = 0; i < n; i++)
		if (sets[i].idx == idx)
			return &sets[i];
	return NULL;
}

static inline bool model_side(const struct model_set *sets, unsigned int n_sets,
	const uint32_t *side, unsigned int n, const struct ip_addr *addr)
{
	for (unsigned int i = 0; i < n; i++)
		if (model_contains(model_set_at(sets, n_sets, side[i]), addr))
			return true;
	return n == 0;
}

static inline bool model_ports(
	const struct port_range *r, unsigned int n, bool has_ports, uint16_t port)
{
	for (unsigned int i = 0; i < n; i++)
		if (has_ports && port >= r[i].lo && port <= r[i].hi)
			return true;
	return n == 0;
}

static inline bool model_rule_matches(const struct model_set *sets, unsigned int n_sets,
	const struct rule_config *cfg, const struct rule_packet *pkt)
{
	return (!cfg->has_proto || cfg->proto == pkt->proto) &&
		model_side(sets, n_sets, cfg->src, cfg->n_src, &pkt->src) &&
		model_side(sets, n_sets, cfg->dst, cfg->n_dst, &pkt->dst) &&
		model_ports(cfg->sport, cfg->n_sport, pkt->has_ports, pkt->sport) &&
		model_ports(cfg->dport, cfg->n_dport, pkt->has_ports, pkt->dport);
}

static inline bool model_rule_before(const struct model_rule *a, const struct model_rule *b)
{
	return a->cfg.priority != b->cfg.priority ? a->cfg.priority < b->cfg.priority
						  : a->age < b->age;
}

/* The first of the rules that matches behind `after` (NULL: from the start), or NULL. */
static inline const struct model_rule *model_match(const struct model_set *sets,
	unsigned int n_sets, const struct model_rule *rules, unsigned int n_rules,
	const struct rule_packet *pkt, const struct model_rule *after)
{
	const struct model_rule *best = NULL;

	for (unsigned int i = 0; i < n_rules; i++) {
		const struct model_rule *r = &rules[i];

		if (r->idx != RULE_NONE && (after == NULL || model_rule_before(after, r)) &&
			(best == NULL || model_rule_before(r, best)) &&
			model_rule_matches(sets, n_sets, &r->cfg, pkt))
			best = r;
	}
	return best;
}

static inline uint16_t model_port(void)
{
	static const uint16_t ports[] = { 0, 1, 22, 79, 80, 81, 443, 1023, 1024, 32767, 32768,
		8 << 8, 8 << 8 | 255, 65534, 65535 };

	return ports[model_rnd(sizeof(ports) / sizeof(ports[0]))];
}

static inline uint8_t model_proto(void)
{
	static const uint8_t protos[] = { 1, 6, 17, 58, 132 };

	return protos[model_rnd(sizeof(protos))];
}

static inline uint8_t model_ranges(struct port_range *r)
{
	uint8_t n = model_rnd(2) == 0 ? 0 : (uint8_t)(1 + model_rnd(3));

	for (unsigned int i = 0; i < n; i++) {
		uint16_t a = model_port(), b = model_rnd(3) == 0 ? a : model_port();

		r[i] = (struct port_range){ .lo = RTE_MIN(a, b), .hi = RTE_MAX(a, b) };
	}
	if (n == 1 && model_rnd(4) == 0)
		r[0] = (struct port_range){ .lo = 0, .hi = 65535 };
	return n;
}

/* n sets to choose from; each side names up to three. */
static inline struct rule_config model_rule(const struct model_set *sets, unsigned int n)
{
	struct rule_config cfg = { .priority = model_rnd(8),
		.action = (uint8_t)model_rnd(RULE_SNAT) };

	cfg.has_proto = model_rnd(2) == 0;
	cfg.proto = model_proto();
	cfg.flags = model_rnd(8) == 0 ? RULE_F_LOG : 0;
	cfg.n_src = (uint8_t)model_rnd(4);
	cfg.n_dst = (uint8_t)model_rnd(4);
	for (unsigned int i = 0; i < 4; i++) {
		cfg.src[i] = sets[model_rnd(n)].idx;
		cfg.dst[i] = sets[model_rnd(n)].idx;
	}
	cfg.n_sport = model_rnd(3) == 0 ? model_ranges(cfg.sport) : 0;
	cfg.n_dport = model_ranges(cfg.dport);
	return cfg;
}

static inline struct rule_packet model_packet(uint16_t zone)
{
	struct rule_packet pkt = { .zone = zone, .proto = model_proto() };

	pkt.src = model_addr();
	do
		pkt.dst = model_addr();
	while (ip_is_v4(&pkt.src) != ip_is_v4(&pkt.dst));
	pkt.has_ports = model_rnd(5) != 0;
	if (pkt.has_ports) {
		pkt.sport = model_port();
		pkt.dport = model_port();
	}
	return pkt;
}

#endif
