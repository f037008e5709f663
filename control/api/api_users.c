/* SPDX-License-Identifier: BSD-3-Clause */
/* Who uses an object: the names that its "del" answers with when it is refused. */
#include "control/api/api_users.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/names.h"
#include "control/objects.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/ipset.h"
#include "datapath/table/neigh.h"
#include "datapath/table/policy.h"
#include "datapath/table/route.h"
#include "datapath/table/tunnel.h"
#include "pmd/portmgr.h"

#define NAMED_MAX 6u /* the rest is counted */

__attribute__((format(printf, 2, 3))) static void add(struct api_users *users, const char *fmt, ...)
{
	size_t used = strlen(users->text), room = sizeof(users->text) - used;
	va_list args;

	if (users->n++ >= NAMED_MAX || room < API_USER_TEXT_MAX)
		return;
	if (used > 0)
		used += (size_t)snprintf(users->text + used, room, ", ");
	va_start(args, fmt);
	vsnprintf(users->text + used, API_USER_TEXT_MAX, fmt, args);
	va_end(args);
	users->n_named++;
}

const char *api_users_text(struct api_users *users)
{
	size_t used = strlen(users->text);

	if (users->n > users->n_named)
		snprintf(users->text + used, sizeof(users->text) - used, " and %u more",
			users->n - users->n_named);
	return users->text;
}

static void add_routes(struct api_users *users,
	bool (*is_user)(const struct route *route, uint32_t id), uint32_t id)
{
	struct route_cursor cursor = { 0 };
	char text[IP_PREFIX_STRLEN];
	uint32_t idx;

	while ((idx = route_next(&cursor)) != ROUTE_IDX_NONE) {
		const struct route *route = route_at(idx);

		if (!is_user(route, id))
			continue;
		ip_prefix_format(&route->prefix, text);
		if (route->zone == 0)
			add(users, "route %s", text);
		else
			add(users, "route %s of zone %u", text, route->zone);
	}
}

static bool is_by_port(const struct route *route, uint32_t port_id)
{
	return route->origin == ROUTE_ORIGIN_STATIC && route->port_id == port_id &&
		(route->kind == ROUTE_VIA || route->kind == ROUTE_CONNECTED);
}

static bool is_by_tunnel(const struct route *route, uint32_t tunnel)
{
	return route->kind == ROUTE_TUNNEL && route->tunnel_idx == tunnel;
}

static bool is_in_zone(const struct route *route, uint32_t zone)
{
	return route->zone == zone;
}

void api_users_of_port(struct api_users *users, const struct port *port)
{
	char text[IP_ADDR_STRLEN];

	for (uint32_t i = endpoint_next(0); i != ENDPOINT_NONE; i = endpoint_next(i + 1))
		if (endpoint_at(i)->kind == ENDPOINT_POD && endpoint_at(i)->port_id == port->id)
			add(users, "endpoint %s", endpoint_at(i)->id);
	for (uint32_t i = tunnel_next(0); i != TUNNEL_NONE; i = tunnel_next(i + 1))
		if (object_uplink_of(&tunnel_at(i)->local) == port)
			add(users, "tunnel %s", tunnel_at(i)->name);
	add_routes(users, is_by_port, port->id);
	for (uint32_t i = neigh_next(0); i != NEIGH_NONE; i = neigh_next(i + 1))
		if (neigh_at(i)->port_id == port->id && neigh_at(i)->state == NEIGH_STATIC)
			add(users, "neigh %s", ip_format(&neigh_at(i)->addr, text));
}

void api_users_of_tunnel(struct api_users *users, uint32_t tunnel)
{
	add_routes(users, is_by_tunnel, tunnel);
}

void api_users_of_zone(struct api_users *users, uint16_t zone)
{
	for (const struct port *port = port_next(NULL); port != NULL; port = port_next(port))
		if (port->zone == zone)
			add(users, "port %s", port->name);
	add_routes(users, is_in_zone, zone);
}

static void add_rule(struct api_users *users, const struct rule_name *name)
{
	uint32_t owner = name->key.owner;

	if ((owner & RULE_OWNER_ZONE) != 0)
		add(users, "snat rule %s", name->key.name);
	else
		add(users, "rule %s of policy %s", name->key.name, policy_at(owner)->name);
}

static bool names_group(const struct rule_name *name, uint32_t group)
{
	for (unsigned int i = 0; i < name->n_groups; i++)
		if (name->groups[i] == group)
			return true;
	return false;
}

void api_users_of_group(struct api_users *users, uint32_t group)
{
	uint64_t cursor = 0;
	struct ip_prefix prefix;
	bool is_except;
	char text[IP_PREFIX_STRLEN];

	for (uint32_t i = rule_name_next(0); i != SLOT_NONE; i = rule_name_next(i + 1))
		if (names_group(rule_name_at(i), group))
			add_rule(users, rule_name_at(i));
	while (ipset_member_next(group_at(group)->set, &cursor, &prefix, &is_except))
		add(users, "member %s", ip_prefix_format(&prefix, text));
}

void api_users_of_pool(struct api_users *users, uint32_t pool)
{
	for (uint32_t i = rule_name_next(0); i != SLOT_NONE; i = rule_name_next(i + 1))
		if ((rule_name_at(i)->key.owner & RULE_OWNER_ZONE) != 0 &&
			rule_name_at(i)->pool == pool)
			add_rule(users, rule_name_at(i));
}

static void add_binding(void *arg, const char *endpoint)
{
	add(arg, "binding to %s", endpoint);
}

void api_users_of_policy(struct api_users *users, uint32_t policy)
{
	for (uint32_t i = rule_name_next(0); i != SLOT_NONE; i = rule_name_next(i + 1))
		if (rule_name_at(i)->key.owner == policy)
			add(users, "rule %s", rule_name_at(i)->key.name);
	binding_foreach(policy, add_binding, users);
}
