/* SPDX-License-Identifier: BSD-3-Clause */
/* Which columns a list has, whatever its items hold: the same ones each time, few enough for a terminal. */
#include "control/ctl/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/ctl/cell.h"

#define ID_MIN 32u
#define ID_SHOWN 12 /* of a container's id, as container tools do */

static const cJSON *member(const cJSON *item, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(item, name);
}

static const char *string_of(const cJSON *item, const char *name)
{
	return cJSON_GetStringValue(member(item, name));
}

/* Of a container's id in the text only the beginning: "8d4b5e8fd2c1…:eth0". Frees text. */
static char *shortened(char *text)
{
	char *cut = NULL;

	for (size_t at = 0; text != NULL && text[at] != '\0'; at++) {
		size_t hex = strspn(text + at, "0123456789abcdef");

		if (hex >= ID_MIN &&
			asprintf(&cut, "%.*s…%s", (int)at + ID_SHOWN, text, text + at + hex) >= 0) {
			free(text);
			return cut;
		}
		at += hex > 0 ? hex - 1 : 0;
	}
	return text;
}

/* "namespace/pod" where the runtime told them, else the id. */
static char *pod_or_id(const cJSON *item, const char *id_member)
{
	const char *pod = string_of(item, "pod"), *ns = string_of(item, "namespace"),
		   *id = string_of(item, id_member);
	char *text = NULL;

	if (pod == NULL)
		return strdup(id != NULL ? id : "-");
	return asprintf(&text, "%s%s%s", ns != NULL ? ns : "", ns != NULL ? "/" : "", pod) >= 0
		? text
		: NULL;
}

static char *of_pod(const cJSON *item)
{
	const char *id = string_of(item, "endpoint");

	if (id != NULL && strncmp(id, "self:", 5) == 0) /* the uplink's own address */
		return strdup("-");
	return pod_or_id(item, "endpoint");
}

static char *of_endpoint(const cJSON *item)
{
	return pod_or_id(item, "id");
}

static char *address_and_port(const cJSON *item, const char *address, const char *port)
{
	const char *ip = string_of(item, address);
	const cJSON *number = member(item, port);
	bool is_v6 = ip != NULL && strchr(ip, ':') != NULL;
	char *text = NULL;
	int n;

	if (ip == NULL)
		return strdup("-");
	if (!cJSON_IsNumber(number))
		return strdup(ip);
	n = asprintf(&text, is_v6 ? "[%s]:%d" : "%s:%d", ip, number->valueint);
	return n >= 0 ? text : NULL;
}

static char *source(const cJSON *item)
{
	return address_and_port(item, "src", "sport");
}

static char *destination(const cJSON *item)
{
	return address_and_port(item, "dst", "dport");
}

/* The tuple behind translation, where it differs. */
static char *translated(const cJSON *item)
{
	const cJSON *leaves = member(item, "leaves");
	char *src = source(item), *dst = destination(item), *new_src = source(leaves),
	     *new_dst = destination(leaves), *text = NULL;
	bool is_known = src != NULL && dst != NULL && new_src != NULL && new_dst != NULL;
	bool is_src = is_known && strcmp(src, new_src) != 0,
	     is_dst = is_known && strcmp(dst, new_dst) != 0;

	if (leaves == NULL || (!is_src && !is_dst))
		text = strdup("-");
	else if (asprintf(&text, "%s%s%s%s", is_src ? "from " : "", is_src ? new_src : "",
			 is_dst ? (is_src ? " to " : "to ") : "", is_dst ? new_dst : "") < 0)
		text = NULL;
	free(src);
	free(dst);
	free(new_src);
	free(new_dst);
	return text;
}

static char *sum_of(const cJSON *item, const char *name)
{
	const cJSON *orig = member(member(item, "orig"), name),
		    *reply = member(member(item, "reply"), name);

	return cell_amount(
		(orig != NULL ? orig->valuedouble : 0) + (reply != NULL ? reply->valuedouble : 0));
}

static char *both_packets(const cJSON *item)
{
	return sum_of(item, "packets");
}

static char *both_bytes(const cJSON *item)
{
	return sum_of(item, "bytes");
}

static char *length(const cJSON *item, const char *name)
{
	char *text = NULL;

	return asprintf(&text, "%d", cJSON_GetArraySize(member(item, name))) >= 0 ? text : NULL;
}

static char *queues(const cJSON *item)
{
	return length(item, "queues");
}

#define END                                                                                        \
	{                                                                                          \
		NULL, NULL, NULL                                                                   \
	}

static const struct view_column port_list[] = { { "name", NULL, NULL }, { "kind", NULL, NULL },
	{ "role", NULL, NULL }, { "up", NULL, NULL }, { "pod", "POD", of_pod },
	{ "zone", NULL, NULL }, { "mtu", NULL, NULL }, { "rx_packets", "RX-PKTS", NULL },
	{ "rx_bytes", "RX-BYTES", NULL }, { "tx_packets", "TX-PKTS", NULL },
	{ "tx_bytes", "TX-BYTES", NULL }, END };
static const struct view_column endpoint_list[] = { { "pod", "POD", of_endpoint },
	{ "kind", NULL, NULL }, { "port", NULL, NULL }, { "zone", NULL, NULL },
	{ "addresses", NULL, NULL }, { "mac", NULL, NULL }, { "conns", NULL, NULL }, END };
static const struct view_column route_list[] = { { "zone", NULL, NULL }, { "prefix", NULL, NULL },
	{ "type", NULL, NULL }, { "via", NULL, NULL }, { "port", NULL, NULL },
	{ "tunnel", NULL, NULL }, { "mtu", NULL, NULL }, { "origin", NULL, NULL }, END };
static const struct view_column neigh_list[] = { { "port", NULL, NULL }, { "address", NULL, NULL },
	{ "state", NULL, NULL }, { "mac", NULL, NULL }, { "age_s", "AGE", NULL }, END };
static const struct view_column tunnel_list[] = { { "name", NULL, NULL }, { "type", NULL, NULL },
	{ "vni", NULL, NULL }, { "local", NULL, NULL }, { "remote", NULL, NULL },
	{ "zone", NULL, NULL }, { "resolved", NULL, NULL }, { "mtu", NULL, NULL },
	{ "routes", NULL, NULL }, END };
static const struct view_column zone_list[] = { { "id", NULL, NULL }, { "name", NULL, NULL },
	{ "ports", NULL, NULL }, { "routes", NULL, NULL }, { "conns", NULL, NULL },
	{ "max_conns", "MAX-CONNS", NULL }, END };
static const struct view_column service_list[] = { { "name", NULL, NULL }, { "zone", NULL, NULL },
	{ "n_frontends", "FRONTENDS", NULL }, { "n_backends", "BACKENDS", NULL },
	{ "local_ready", "LOCAL-READY", NULL }, { "connections", "CONNS", NULL },
	{ "packets", NULL, NULL }, { "bytes", NULL, NULL }, END };
static const struct view_column policy_list[] = { { "name", NULL, NULL }, { "zone", NULL, NULL },
	{ "tier", NULL, NULL }, { "order", NULL, NULL }, { "ingress", NULL, NULL },
	{ "egress", NULL, NULL }, { "rules", NULL, NULL }, { "endpoints", NULL, NULL }, END };
static const struct view_column rule_list[] = { { "policy", NULL, NULL }, { "name", NULL, NULL },
	{ "direction", NULL, NULL }, { "action", NULL, NULL }, { "priority", NULL, NULL },
	{ "proto", NULL, NULL }, { "sources", NULL, NULL }, { "destinations", NULL, NULL },
	{ "dports", NULL, NULL }, { "connections", "CONNS", NULL }, { "packets", NULL, NULL },
	END };
static const struct view_column snat_list[] = { { "name", NULL, NULL }, { "zone", NULL, NULL },
	{ "action", NULL, NULL }, { "pool", NULL, NULL }, { "priority", NULL, NULL },
	{ "proto", NULL, NULL }, { "sources", NULL, NULL }, { "destinations", NULL, NULL },
	{ "connections", "CONNS", NULL }, { "packets", NULL, NULL }, END };
static const struct view_column pool_list[] = { { "name", NULL, NULL }, { "addresses", NULL, NULL },
	{ "port_min", "PORT-MIN", NULL }, { "port_max", "PORT-MAX", NULL }, { "rules", NULL, NULL },
	{ "connections", "CONNS", NULL }, { "exhausted", NULL, NULL }, END };
static const struct view_column conn_list[] = { { "proto", NULL, NULL },
	{ "source", "SOURCE", source }, { "destination", "DESTINATION", destination },
	{ "state", NULL, NULL }, { "age_s", "AGE", NULL }, { "packets", "PACKETS", both_packets },
	{ "bytes", "BYTES", both_bytes }, { "service", NULL, NULL },
	{ "leaves", "LEAVES", translated }, END };
static const struct view_column flow_list[] = { { "proto", NULL, NULL },
	{ "source", "SOURCE", source }, { "destination", "DESTINATION", destination },
	{ "direction", NULL, NULL }, { "in", NULL, NULL }, { "out", NULL, NULL },
	{ "packets", NULL, NULL }, { "bytes", NULL, NULL }, { "idle_s", "IDLE", NULL },
	{ "state", NULL, NULL }, END };
static const struct view_column worker_show[] = { { "worker", NULL, NULL }, { "core", NULL, NULL },
	{ "busy_percent", "BUSY%", NULL }, { "packets_per_s", "PKTS/S", NULL },
	{ "packets_per_burst", "PKTS/BURST", NULL }, { "cycles_per_packet", "CYCLES/PKT", NULL },
	{ "packets", NULL, NULL }, { "hits", NULL, NULL }, { "slow", NULL, NULL },
	{ "new_conns", "NEW-CONNS", NULL }, { "queues", "QUEUES", queues }, END };
static const struct view_column stage_show[] = { { "stage", NULL, NULL }, { "packets", NULL, NULL },
	{ "calls", NULL, NULL }, { "packets_per_call", "PKTS/CALL", NULL },
	{ "cycles_per_packet", "CYCLES/PKT", NULL }, { "meaning", NULL, NULL }, END };
static const struct view_column drop_show[] = { { "port", NULL, NULL }, { "reason", NULL, NULL },
	{ "packets", NULL, NULL }, { "meaning", NULL, NULL }, END };
static const struct view_column capture_list[] = { { "id", NULL, NULL }, { "running", NULL, NULL },
	{ "point", NULL, NULL }, { "port", NULL, NULL }, { "reason", NULL, NULL },
	{ "packets", NULL, NULL }, { "bytes", NULL, NULL }, { "lost", NULL, NULL },
	{ "file", NULL, NULL }, END };

static const struct view_column top_port[] = { { "name", "PORT", NULL }, { "pod", "POD", of_pod },
	{ "up", NULL, NULL }, { "rx_pps", "RX-PPS", NULL }, { "rx_bps", "RX-BIT/S", NULL },
	{ "tx_pps", "TX-PPS", NULL }, { "tx_bps", "TX-BIT/S", NULL },
	{ "rx_packets", "RX-PKTS", NULL }, { "tx_packets", "TX-PKTS", NULL }, END };
static const struct view_column top_drop[] = { { "port", NULL, NULL }, { "reason", NULL, NULL },
	{ "packets_per_s", "PKTS/S", NULL }, { "packets", NULL, NULL }, { "meaning", NULL, NULL },
	END };

static const struct {
	const char *method;
	const struct view_column *columns;
} views[] = {
	{ "port.list", port_list },
	{ "endpoint.list", endpoint_list },
	{ "route.list", route_list },
	{ "neigh.list", neigh_list },
	{ "tunnel.list", tunnel_list },
	{ "zone.list", zone_list },
	{ "service.list", service_list },
	{ "policy.list", policy_list },
	{ "rule.list", rule_list },
	{ "snat.list", snat_list },
	{ "pool.list", pool_list },
	{ "conn.list", conn_list },
	{ "flow.list", flow_list },
	{ "worker.show", worker_show },
	{ "stage.show", stage_show },
	{ "drop.show", drop_show },
	{ "capture.list", capture_list },
	{ "top.port", top_port },
	{ "top.drop", top_drop },
};

const struct view_column *view_of(const char *method)
{
	for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++)
		if (strcmp(views[i].method, method) == 0)
			return views[i].columns;
	return NULL;
}

char *view_cell(const struct view_column *column, const cJSON *item, bool is_wide)
{
	char *text = column->make != NULL ? column->make(item)
					  : cell_text(column->member, member(item, column->member));

	return is_wide ? text : shortened(text);
}
