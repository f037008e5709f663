/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf/pipeline/rules.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include <rte_byteorder.h>

#include "datapath/table/policy.h"
#include "datapath/table/service.h"

#define PORT_FIRST 0x2000
#define PORT_LAST 0x5fff
#define OTHER_NETS 0xc6120000u /* 198.18.0.0/15: nobody here */

int services_fill(uint32_t n, struct ip_addr backend)
{
	const struct backend_config to = { .addr = backend,
		.weight = 1,
		.flags = BACKEND_F_READY | BACKEND_F_SERVING | BACKEND_F_LOCAL };
	int ret = 0;

	for (uint32_t i = 0; i < n && !ret; i++) {
		struct ip_addr vip = ip_from_v4(rte_cpu_to_be_32(RULES_VIP_FIRST + i));
		const struct frontend_config at[] = {
			{ .kind = FRONTEND_CLUSTER,
				.proto = IPPROTO_UDP,
				.has_addr = true,
				.addr = vip,
				.port = PORT_FIRST,
				.port_end = PORT_LAST },
			{ .kind = FRONTEND_CLUSTER,
				.proto = IPPROTO_TCP,
				.has_addr = true,
				.addr = vip,
				.port = PORT_FIRST,
				.port_end = PORT_LAST },
		};
		char name[32];
		struct service_config cfg = { .name = name,
			.flags = SERVICE_F_REJECT,
			.frontends = at,
			.n_frontends = RTE_DIM(at),
			.backends = &to,
			.n_backends = 1 };
		uint32_t idx;
		unsigned int frontend;

		snprintf(name, sizeof(name), "svc-%u", i);
		ret = service_set(&cfg, &idx, &frontend);
	}
	return ret;
}

/* Allows one prefix of others to ports of its own: four prefix lengths, single ports and ranges in turn. */
static int other_rule(uint32_t policy, uint32_t i)
{
	static const uint8_t lengths[] = { 32, 28, 24, 20 };
	struct ip_prefix from = { ip_from_v4(rte_cpu_to_be_32(OTHER_NETS + ((i << 12) & 0x1f000))),
		lengths[i % RTE_DIM(lengths)] };
	uint16_t first = (uint16_t)(1024 + i % 30000), len = i % 2 ? 0 : 15;
	uint32_t set = ipset_intern(0, &from, NULL, 0), rule;
	struct rule_config cfg = { .priority = i,
		.action = RULE_ALLOW,
		.has_proto = true,
		.proto = i % 3 ? IPPROTO_TCP : IPPROTO_UDP,
		.n_src = 1,
		.src = { set },
		.n_dport = 1,
		.dport = { { first, (uint16_t)(first + len) } } };

	if (set == IPSET_NONE)
		return -ENOSPC;
	int ret = policy_rule_add(policy, POLICY_INGRESS, &cfg, &rule);
	ipset_put(set);
	return ret;
}

static int policy_bound_add(uint32_t i, uint32_t endpoint, uint32_t *out_policy)
{
	char name[32];
	const struct policy_config cfg = {
		.name = name, .order = i, .def = { POLICY_NEXT, POLICY_DENY }
	};
	int ret;

	snprintf(name, sizeof(name), "policy-%u", i);
	ret = policy_add(&cfg, out_policy);
	return ret ? ret : policy_bind(*out_policy, endpoint);
}

int rules_fill(uint32_t n, uint32_t n_policies, uint32_t endpoint, struct ip_addr client)
{
	const struct ip_prefix member = { client, 32 };
	uint32_t policy = POLICY_NONE, rule, group = ipset_create(0);
	struct rule_config last = {
		.priority = n, .action = RULE_ALLOW, .n_src = 1, .src = { group }
	};
	int ret = group == IPSET_NONE ? -ENOSPC : ipset_member_add(group, &member, false);

	for (uint32_t p = 0; p < n_policies && !ret; p++) {
		uint32_t end = (uint32_t)((uint64_t)n * (p + 1) / n_policies);

		ret = policy_bound_add(p, endpoint, &policy);
		for (uint32_t i = (uint32_t)((uint64_t)n * p / n_policies);
			i < end && i + 1 < n && !ret; i++)
			ret = other_rule(policy, i);
	}
	return ret ? ret : policy_rule_add(policy, POLICY_INGRESS, &last, &rule);
}
