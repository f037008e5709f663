/* SPDX-License-Identifier: BSD-3-Clause */
/* Request structs of all methods, filled by schema_decode(). Strings are NULL when absent. */
#ifndef LEAT_REQ_H
#define LEAT_REQ_H

#include "control/client/schema.h"

enum req_port_kind { REQ_PORT_ETHDEV, REQ_PORT_VHOST, REQ_PORT_TAP, REQ_PORT_RING };
enum req_port_role { REQ_ROLE_POD, REQ_ROLE_UPLINK, REQ_ROLE_HOST };
enum req_vhost_role { REQ_VHOST_SERVER, REQ_VHOST_CLIENT };
enum req_attach_kind { REQ_ATTACH_TAP, REQ_ATTACH_VHOST_USER };
enum req_route_type {
	REQ_ROUTE_UNICAST,
	REQ_ROUTE_BLACKHOLE,
	REQ_ROUTE_PROHIBIT,
	REQ_ROUTE_UNREACHABLE
};
enum req_dscp { REQ_DSCP_PIPE, REQ_DSCP_UNIFORM };
enum req_udp_csum { REQ_UDP_CSUM_AUTO, REQ_UDP_CSUM_ON, REQ_UDP_CSUM_OFF };
enum req_point { REQ_POINT_RX, REQ_POINT_TX, REQ_POINT_DROP, REQ_POINT_BOTH, REQ_POINT_ALL };
enum req_direction { REQ_DIR_IN, REQ_DIR_OUT, REQ_DIR_BOTH };

struct req_none {
	char unused;
};

struct req_hello {
	const char *client;
};

struct req_log {
	int level;
};

struct req_page {
	int64_t limit;
	const char *cursor;
};

struct req_name {
	const char *name;
	bool missing_ok;
};

struct req_port {
	const char *name;
	int kind, role;
	int64_t zone, mtu, queues, descriptors;
	struct schema_mac mac;
	struct schema_list addresses; /* struct schema_prefix */
	const char *device, *socket;
	int vhost_role;
	int64_t uid, gid;
	const char *mode, *ifname;
	bool exist_ok;
};

struct req_endpoint {
	const char *id, *port;
	int64_t zone;
	struct schema_list addresses; /* struct schema_ip */
	struct schema_mac mac;
	int64_t rate_pps, burst_pkts, rate_bps, burst_bytes;
	int64_t to_rate_pps, to_burst_pkts, to_rate_bps, to_burst_bytes;
	int64_t max_conns, max_new_conns_per_s;
	bool exist_ok;
};

struct req_pod_route {
	struct schema_prefix dst;
	struct schema_ip gw;
};

struct req_vhost {
	int role;
	int64_t uid, gid;
	const char *mode;
};

struct req_attach {
	const char *id, *container, *pod, *namespace, *ifname;
	int kind;
	const char *netns;
	int64_t netns_id;	      /* inode of the namespace, saved by leatd */
	struct schema_list addresses; /* struct schema_prefix */
	struct schema_list gateways;  /* struct schema_ip */
	struct schema_list routes;    /* struct req_pod_route */
	int64_t mtu;
	struct schema_mac mac;
	int64_t zone, queues;
	bool default_route;
	int64_t rate_pps, burst_pkts, rate_bps, burst_bytes;
	int64_t to_rate_pps, to_burst_pkts, to_rate_bps, to_burst_bytes;
	int64_t max_conns, max_new_conns_per_s;
	struct req_vhost vhost;
	bool exist_ok;
};

struct req_endpoint_id {
	const char *id;
	bool missing_ok;
};

struct req_endpoint_check {
	const char *id, *ifname, *netns;
	struct schema_list addresses; /* struct schema_prefix */
};

struct req_zone {
	int64_t id;
	const char *name;
	int64_t max_conns;
	bool exist_ok, missing_ok;
};

struct req_route {
	struct schema_prefix prefix;
	int64_t zone;
	struct schema_ip via;
	const char *port, *tunnel;
	int type;
	int64_t mtu;
	bool exist_ok, replace, missing_ok;
};

struct req_route_list {
	int64_t zone; /* -1: all */
	struct schema_prefix prefix;
	int64_t limit;
	const char *cursor;
};

struct req_route_lookup {
	struct schema_ip address;
	int64_t zone;
};

struct req_neigh {
	const char *port;
	struct schema_ip address;
	struct schema_mac mac;
	bool exist_ok, missing_ok;
};

struct req_tunnel {
	const char *name;
	int type;
	struct schema_ip remote, local;
	int64_t vni, zone;
	struct schema_mac remote_mac;
	int64_t udp_port, mtu;
	int udp_csum, dscp;
	bool transit, exist_ok, replace;
};

struct req_txn {
	const char *txn;
	struct schema_list calls; /* const cJSON * */
};

struct req_event {
	struct schema_list kinds; /* int, enum event_kind */
};

struct req_filter {
	int64_t zone; /* -1: any */
	struct schema_prefix src, dst;
	int64_t proto;	      /* -1: any */
	int64_t sport, dport; /* -1: any */
	const char *port, *endpoint;
	int state; /* enum conn_state less CONN_NEW; -1: any */
	int64_t limit;
	const char *cursor;
};

struct req_conntrack {
	bool tcp_strict, early_drop;
	int64_t tcp_syn_sent_s, tcp_syn_recv_s, tcp_established_s, tcp_fin_wait_s, tcp_time_wait_s,
		tcp_closed_s;
	int64_t udp_new_s, udp_replied_s, icmp_new_s, icmp_replied_s, other_new_s, other_replied_s;
	bool missing_ok;
};

struct req_port_filter {
	const char *port;
};

struct req_trace {
	int64_t count;
	const char *port;
	struct schema_prefix src, dst;
	int64_t proto, sport, dport; /* -1: any */
	bool both_ways;
};

struct req_id {
	int64_t id;
};

struct req_capture {
	const char *file;
	int point;
	const char *port, *reason;
	struct schema_prefix src, dst;
	int64_t proto, sport, dport; /* -1: any */
	bool both_ways;
	int64_t count, snaplen;
};

struct req_mirror {
	const char *name, *from, *to;
	int direction;
	bool exist_ok;
};

struct req_frontend {
	int kind; /* enum frontend_kind */
	struct schema_ip ip;
	int proto; /* enum req_proto */
	int64_t port, port_end, target_port;
};

struct req_backend {
	struct schema_ip ip;
	int64_t port, weight;
	bool ready, serving, terminating;
	int local; /* enum req_local */
};

enum req_local { REQ_LOCAL_AUTO, REQ_LOCAL_YES, REQ_LOCAL_NO };
enum req_traffic_policy { REQ_TRAFFIC_CLUSTER, REQ_TRAFFIC_LOCAL };
enum req_proto { REQ_PROTO_TCP, REQ_PROTO_UDP, REQ_PROTO_SCTP };

struct req_service {
	const char *name;
	int64_t zone;
	int algorithm; /* enum service_algorithm */
	int64_t affinity_s;
	int internal_policy, external_policy; /* enum req_traffic_policy */
	bool reject, reset;
	struct schema_list source_ranges; /* struct schema_prefix */
	int64_t health_check_port;
	struct schema_list frontends; /* struct req_frontend */
	struct schema_list backends;  /* struct req_backend */
	bool exist_ok, replace;
};

struct req_id_name {
	const char *name;
	bool missing_ok;
};

struct req_group {
	const char *name;
	int64_t zone;
	bool exist_ok;
};

struct req_member {
	const char *group;
	struct schema_prefix prefix;
	bool except;
	bool exist_ok, missing_ok;
};

struct req_member_list {
	const char *group;
	int64_t limit;
	const char *cursor;
};

struct req_policy {
	const char *name;
	int64_t zone, tier, order;
	int ingress, egress; /* enum policy_default */
	bool exist_ok, replace;
};

struct req_peer {
	const char *group;
	struct schema_prefix prefix;
	struct schema_list except; /* struct schema_prefix */
};

/* Of policies and of SNAT rules; policy NULL: a SNAT rule. */
struct req_rule {
	const char *policy, *name;
	int direction; /* enum policy_dir */
	int action;
	int64_t priority;
	bool log;
	const char *proto;
	struct schema_list sources, destinations; /* struct req_peer */
	struct schema_list sports, dports;	  /* const char *, "80" or "8000-8080" */
	struct schema_list icmp;		  /* const char *, "8" or "3/4" */
	const char *pool;
	int64_t zone;
	bool exist_ok, missing_ok;
};

struct req_rule_list {
	const char *policy;
	int64_t zone;
	int64_t limit;
	const char *cursor;
};

struct req_binding {
	const char *policy, *endpoint;
	bool exist_ok, missing_ok;
};

struct req_endpoint_default {
	const char *endpoint;
	int ingress, egress; /* enum rule_action: allow, deny, reject */
	bool missing_ok;
};

struct req_policy_mode {
	bool per_connection;
	struct schema_list failsafe_in, failsafe_out; /* const char *, "tcp:22" */
};

struct req_pool {
	const char *name;
	struct schema_list addresses; /* struct schema_ip */
	int64_t port_min, port_max;
	bool exist_ok, replace;
};

struct req_pair {
	struct schema_ip internal, external;
	int64_t zone;
	bool exist_ok, missing_ok;
};

struct req_explain {
	const char *port, *tunnel;
	struct schema_ip src, dst;
	const char *proto;
	int64_t sport, dport;
	int64_t icmp_type, icmp_code, icmp_id;
	const char *tcp_flags;
	int64_t ttl, payload_bytes;
	struct schema_mac src_mac;
	const char *frame;
};

#endif
