/* SPDX-License-Identifier: BSD-3-Clause */
/* Request structs of all methods, filled by schema_decode(). Strings are NULL when absent. */
#ifndef LEAT_REQ_H
#define LEAT_REQ_H

#include "control/client/schema.h"

enum req_port_kind { REQ_PORT_ETHDEV, REQ_PORT_VHOST, REQ_PORT_TAP, REQ_PORT_RING };
enum req_port_role { REQ_ROLE_POD, REQ_ROLE_UPLINK, REQ_ROLE_HOST };
enum req_vhost_role { REQ_VHOST_SERVER, REQ_VHOST_CLIENT };
enum req_attach_kind { REQ_ATTACH_TAP, REQ_ATTACH_VHOST_USER };
enum req_route_type { REQ_ROUTE_UNICAST, REQ_ROUTE_BLACKHOLE, REQ_ROUTE_PROHIBIT };
enum req_point { REQ_POINT_RX, REQ_POINT_TX, REQ_POINT_DROP };
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
	const char *id, *container, *ifname;
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
	bool exist_ok, missing_ok;
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
	bool exist_ok;
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
};

struct req_id {
	int64_t id;
};

struct req_capture {
	const char *file;
	int point;
	const char *port, *reason;
	int64_t count, snaplen;
};

struct req_mirror {
	const char *name, *from, *to;
	int direction;
	bool exist_ok;
};

#endif
