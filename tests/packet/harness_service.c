/* SPDX-License-Identifier: BSD-3-Clause */
/* Services by commands, named and shaped as the control API's methods, straight onto the table. */
#include <netinet/in.h>
#include <string.h>

#include "datapath/base/gen.h"
#include "datapath/table/ipset.h"
#include "datapath/table/service.h"
#include "tests/packet/harness.h"

#define FRONTENDS_MAX 64
#define BACKENDS_MAX 1024
#define SOURCES_MAX 64

/* Position of the text among the names, 0 if it is none of them. */
static uint8_t choice(const char *text, const char *const *names, uint8_t n)
{
	for (uint8_t i = 0; i < n; i++)
		if (strcmp(text, names[i]) == 0)
			return i;
	return 0;
}

static bool has(const cJSON *params, const char *name, bool def)
{
	return harness_num(params, name, def) != 0;
}

static void frontend(const cJSON *item, struct frontend_config *out)
{
	static const char *const kinds[] = { "cluster", "external", "node-port", "host-port" };
	static const char *const names[] = { "tcp", "udp", "sctp" };
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };

	*out = (struct frontend_config){
		.kind = choice(harness_str(item, "kind", "cluster"), kinds, FRONTEND_KIND_N),
		.proto = protos[choice(harness_str(item, "proto", "tcp"), names, 3)],
		.has_addr = ip_parse(harness_str(item, "ip", ""), &out->addr) == 0,
		.port = (uint16_t)harness_num(item, "port", 0),
		.port_end = (uint16_t)harness_num(item, "port_end", 0),
		.target_port = (uint16_t)harness_num(item, "target_port", 0),
	};
	if (out->has_addr)
		(void)ip_parse(harness_str(item, "ip", ""), &out->addr);
	if (out->port_end == 0)
		out->port_end = out->port;
}

/* As the API has it: one that terminates is not ready. */
static void backend(const cJSON *item, struct backend_config *out)
{
	bool is_terminating = has(item, "terminating", false),
	     is_ready = has(item, "ready", true) && !is_terminating;

	*out = (struct backend_config){
		.port = (uint16_t)harness_num(item, "port", 0),
		.weight = (uint16_t)harness_num(item, "weight", 1),
		.flags = (uint8_t)((is_ready ? BACKEND_F_READY : 0) |
			(is_terminating ? BACKEND_F_TERMINATING : 0) |
			(has(item, "serving", true) ? BACKEND_F_SERVING : 0) |
			(has(item, "local", false) ? BACKEND_F_LOCAL : 0)),
	};
	(void)ip_parse(harness_str(item, "ip", ""), &out->addr);
}

static uint16_t service_flags(const cJSON *params)
{
	return (uint16_t)((strcmp(harness_str(params, "internal_policy", ""), "local") == 0
					  ? SERVICE_F_INTERNAL_LOCAL
					  : 0) |
		(strcmp(harness_str(params, "external_policy", ""), "local") == 0
				? SERVICE_F_EXTERNAL_LOCAL
				: 0) |
		(has(params, "reject", true) ? SERVICE_F_REJECT : 0) |
		(has(params, "reset", false) ? SERVICE_F_RESET : 0));
}

/* Shared sets of the source ranges, with a reference each. */
static unsigned int source_sets(const cJSON *params, uint16_t zone, uint32_t *out)
{
	const cJSON *item, *list = cJSON_GetObjectItemCaseSensitive(params, "source_ranges");
	unsigned int n = 0;

	cJSON_ArrayForEach(item, list) {
		struct ip_prefix prefix;

		if (n < SOURCES_MAX && ip_prefix_parse(item->valuestring, &prefix) == 0)
			out[n++] = ipset_intern(zone, &prefix, NULL, 0);
	}
	return n;
}

static const char *add(const cJSON *params, cJSON *result)
{
	static struct frontend_config frontends[FRONTENDS_MAX];
	static struct backend_config backends[BACKENDS_MAX];
	uint32_t sets[SOURCES_MAX], idx;
	const cJSON *item, *list = cJSON_GetObjectItemCaseSensitive(params, "frontends");
	struct service_config cfg = {
		.name = harness_str(params, "name", ""),
		.zone = (uint16_t)harness_num(params, "zone", 0),
		.flags = service_flags(params),
		.algorithm = strcmp(harness_str(params, "algorithm", ""), "hash") == 0
			? SERVICE_HASH
			: SERVICE_MAGLEV,
		.affinity_s = (uint32_t)harness_num(params, "affinity_s", 0),
		.source_sets = sets,
		.frontends = frontends,
		.backends = backends,
	};
	int rc;

	(void)result;
	cJSON_ArrayForEach(item, list)
		if (cfg.n_frontends < FRONTENDS_MAX)
			frontend(item, &frontends[cfg.n_frontends++]);
	list = cJSON_GetObjectItemCaseSensitive(params, "backends");
	cJSON_ArrayForEach(item, list)
		if (cfg.n_backends < BACKENDS_MAX)
			backend(item, &backends[cfg.n_backends++]);
	cfg.n_source_sets = source_sets(params, cfg.zone, sets);
	rc = service_set(&cfg, &idx, NULL);
	for (unsigned int i = 0; i < cfg.n_source_sets; i++)
		ipset_put(sets[i]); /* the service has its own references */
	gen_publish();
	return rc < 0 ? harness_fail("service_set: %s", strerror(-rc)) : NULL;
}

static const char *del(const cJSON *params, cJSON *result)
{
	uint32_t idx = service_by_name(harness_str(params, "name", ""));

	(void)result;
	if (idx == SERVICE_NONE)
		return "no such service";
	service_del(idx);
	gen_publish();
	return NULL;
}

const struct harness_command harness_service_commands[] = {
	{ "service.add", add },
	{ "service.del", del },
	{ NULL, NULL },
};
