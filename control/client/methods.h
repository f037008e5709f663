/* SPDX-License-Identifier: BSD-3-Clause */
/* The methods of the API: one line each. */
#ifndef LEAT_METHODS_H
#define LEAT_METHODS_H

#include "control/client/schema.h"

#define METHODS(X)                                                                                 \
	X(sys_hello)                                                                               \
	X(sys_status)                                                                              \
	X(sys_schema)                                                                              \
	X(sys_log)                                                                                 \
	X(sys_log_show)                                                                            \
	X(txn_begin)                                                                               \
	X(txn_add)                                                                                 \
	X(txn_commit)                                                                              \
	X(txn_abort)                                                                               \
	X(event_subscribe)                                                                         \
	X(config_dump)                                                                             \
	X(metrics_text)                                                                            \
	X(port_add)                                                                                \
	X(port_del)                                                                                \
	X(port_list)                                                                               \
	X(port_show)                                                                               \
	X(zone_add)                                                                                \
	X(zone_del)                                                                                \
	X(zone_list)                                                                               \
	X(mirror_add)                                                                              \
	X(mirror_del)                                                                              \
	X(mirror_list)                                                                             \
	X(endpoint_add)                                                                            \
	X(endpoint_del)                                                                            \
	X(endpoint_list)                                                                           \
	X(endpoint_show)                                                                           \
	X(endpoint_attach)                                                                         \
	X(endpoint_detach)                                                                         \
	X(endpoint_check)                                                                          \
	X(route_add)                                                                               \
	X(route_del)                                                                               \
	X(route_list)                                                                              \
	X(route_lookup)                                                                            \
	X(neigh_add)                                                                               \
	X(neigh_del)                                                                               \
	X(neigh_list)                                                                              \
	X(tunnel_add)                                                                              \
	X(tunnel_del)                                                                              \
	X(tunnel_list)                                                                             \
	X(tunnel_show)                                                                             \
	X(tunnel_local)                                                                            \
	X(service_add)                                                                             \
	X(service_del)                                                                             \
	X(service_list)                                                                            \
	X(service_show)                                                                            \
	X(pool_add)                                                                                \
	X(pool_del)                                                                                \
	X(pool_list)                                                                               \
	X(pair_add)                                                                                \
	X(pair_del)                                                                                \
	X(pair_list)                                                                               \
	X(snat_add)                                                                                \
	X(snat_del)                                                                                \
	X(snat_list)                                                                               \
	X(group_add)                                                                               \
	X(group_del)                                                                               \
	X(group_list)                                                                              \
	X(member_add)                                                                              \
	X(member_del)                                                                              \
	X(member_list)                                                                             \
	X(policy_add)                                                                              \
	X(policy_del)                                                                              \
	X(policy_list)                                                                             \
	X(policy_show)                                                                             \
	X(policy_bind)                                                                             \
	X(policy_unbind)                                                                           \
	X(policy_default)                                                                          \
	X(policy_default_del)                                                                      \
	X(policy_mode)                                                                             \
	X(policy_mode_reset)                                                                       \
	X(policy_mode_show)                                                                        \
	X(rule_add)                                                                                \
	X(rule_del)                                                                                \
	X(rule_list)                                                                               \
	X(packet_explain)                                                                          \
	X(conntrack_set)                                                                           \
	X(conntrack_reset)                                                                         \
	X(conntrack_show)                                                                          \
	X(flow_list)                                                                               \
	X(flow_flush)                                                                              \
	X(conn_list)                                                                               \
	X(drop_show)                                                                               \
	X(worker_show)                                                                             \
	X(stage_show)                                                                              \
	X(trace_start)                                                                             \
	X(trace_show)                                                                              \
	X(capture_start)                                                                           \
	X(capture_stop)                                                                            \
	X(capture_list)

#define METHOD_DECLARE(name) extern const struct method method_##name;
METHODS(METHOD_DECLARE)
#undef METHOD_DECLARE

extern const char *const schema_event_kinds[];
extern const char *const schema_vhost_roles[];

#endif
