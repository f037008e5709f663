/* SPDX-License-Identifier: BSD-3-Clause */
/* packet.explain: what would happen to a packet, layer by layer, and which object says so. */
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <rte_hash_crc.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "control/api/rule_config.h"
#include "control/tables.h"
#include "datapath/packet/csum.h"
#include "datapath/pipeline/explain.h"
#include "datapath/slow/tuple.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/failsafe.h"
#include "datapath/table/route.h"
#include "datapath/table/service.h"
#include "datapath/table/snat.h"
#include "datapath/table/tunnel.h"
#include "pmd/mempool.h"
#include "pmd/portmgr.h"

#define FRAME_MAX 9216u
#define L3_OFF 14u
#define SCTP_HEADER_LEN 12u

/* --- the packet asked about --------------------------------------------------------------------------------------- */

/* NULL: a SYN. False: a letter that is no flag. */
static bool parse_flags(const char *text, uint8_t *out)
{
	static const char letters[] = "FSRPAUEC";

	*out = 0;
	for (text = text != NULL ? text : "S"; *text != '\0'; text++) {
		const char *at = strchr(letters, *text);

		if (at == NULL)
			return false;
		*out |= (uint8_t)(1u << (at - letters));
	}
	return true;
}

/* An INIT chunk (RFC 9260 3.3.2), unless the payload is given. */
static uint32_t put_sctp(uint8_t *l4, rte_be16_t sport, rte_be16_t dport, uint32_t payload)
{
	static const uint8_t init[20] = { 1, 0, 0, 20, [7] = 1, [10] = 0xff, [13] = 1, [15] = 1 };
	uint32_t len = SCTP_HEADER_LEN + payload;

	memcpy(l4, &sport, 2);
	memcpy(l4 + 2, &dport, 2);
	if (payload != 0)
		return len;
	memcpy(l4 + len, init, sizeof(init));
	return len + (uint32_t)sizeof(init);
}

static uint32_t put_l4(uint8_t *l4, const struct req_explain *req, uint8_t proto)
{
	rte_be16_t sport = rte_cpu_to_be_16((uint16_t)req->sport),
		   dport = rte_cpu_to_be_16((uint16_t)RTE_MAX(req->dport, 0));
	uint32_t payload = (uint32_t)req->payload_bytes;
	uint8_t flags;

	(void)parse_flags(req->tcp_flags, &flags); /* checked before */
	switch (proto) {
	case IPPROTO_TCP:
		*(struct rte_tcp_hdr *)l4 = (struct rte_tcp_hdr){ .src_port = sport,
			.dst_port = dport,
			.data_off = 5 << 4,
			.tcp_flags = flags,
			.rx_win = 0xffff };
		return (uint32_t)sizeof(struct rte_tcp_hdr) + payload;
	case IPPROTO_UDP:
		*(struct rte_udp_hdr *)l4 = (struct rte_udp_hdr){ .src_port = sport,
			.dst_port = dport,
			.dgram_len = rte_cpu_to_be_16((uint16_t)(8 + payload)) };
		return (uint32_t)sizeof(struct rte_udp_hdr) + payload;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		*(struct rte_icmp_hdr *)l4 = (struct rte_icmp_hdr){
			.icmp_type = (uint8_t)(req->icmp_type >= 0 ? req->icmp_type
					: proto == IPPROTO_ICMP	   ? 8
								   : 128),
			.icmp_code = (uint8_t)req->icmp_code,
			.icmp_ident = rte_cpu_to_be_16((uint16_t)req->icmp_id)
		};
		return (uint32_t)sizeof(struct rte_icmp_hdr) + payload;
	case IPPROTO_SCTP:
		return put_sctp(l4, sport, dport, payload);
	default:
		memcpy(l4, &sport, 2);
		memcpy(l4 + 2, &dport, 2);
		return 8 + payload;
	}
}

/* Transport checksum of what put_l4() made. */
static void finish_l4(uint8_t *l4, uint32_t len, uint8_t proto, uint64_t pseudo)
{
	unsigned int at = proto == IPPROTO_TCP ? 16 : proto == IPPROTO_UDP ? 6 : 2;
	uint32_t crc;
	uint16_t csum;

	if (proto == IPPROTO_SCTP) { /* CRC32c, RFC 9260 6.8 */
		crc = ~rte_hash_crc(l4, len, UINT32_MAX);
		memcpy(l4 + 8, &crc, sizeof(crc));
	}
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP && proto != IPPROTO_ICMP &&
		proto != IPPROTO_ICMPV6)
		return;
	csum = (uint16_t)~csum_fold(csum_add(proto == IPPROTO_ICMP ? 0 : pseudo, l4, len));
	if (csum == 0 && proto == IPPROTO_UDP)
		csum = 0xffff;
	memcpy(l4 + at, &csum, 2);
}

static uint32_t put_ip(uint8_t *l3, const struct req_explain *req, uint8_t proto)
{
	const struct ip_addr src = api_ip(&req->src), dst = api_ip(&req->dst);
	uint32_t len;

	if (ip_is_v4(&src)) {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)l3;

		len = put_l4(l3 + sizeof(*ip), req, proto);
		*ip = (struct rte_ipv4_hdr){ .version_ihl = 0x45,
			.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + len)),
			.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG),
			.time_to_live = (uint8_t)req->ttl,
			.next_proto_id = proto,
			.src_addr = ip_v4(&src),
			.dst_addr = ip_v4(&dst) };
		ip->hdr_checksum = csum_ip4_header(ip, sizeof(*ip));
		finish_l4(l3 + sizeof(*ip), len, proto,
			csum_pseudo_ip4(ip->src_addr, ip->dst_addr, proto, (uint16_t)len));
		return (uint32_t)sizeof(*ip) + len;
	}
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)l3;

	len = put_l4(l3 + sizeof(*ip), req, proto);
	*ip = (struct rte_ipv6_hdr){ .vtc_flow = RTE_BE32(0x60000000),
		.payload_len = rte_cpu_to_be_16((uint16_t)len),
		.proto = proto,
		.hop_limits = (uint8_t)req->ttl };
	memcpy(ip->src_addr, src.b, 16);
	memcpy(ip->dst_addr, dst.b, 16);
	finish_l4(l3 + sizeof(*ip), len, proto,
		csum_pseudo_ip6(ip->src_addr, ip->dst_addr, proto, len));
	return (uint32_t)sizeof(*ip) + len;
}

/* Ethernet header as the far side of the port (or of the tunnel) would write it. */
static void put_eth(
	uint8_t *frame, const struct req_explain *req, const struct port *p, bool is_tunnel)
{
	const struct ip_addr src = api_ip(&req->src);
	const struct rte_ether_addr *own = is_tunnel ? &tunnel_local_mac
		: p->role == PORT_ROLE_UPLINK	     ? &p->mac
						     : &p->gw_mac;
	uint32_t ep = endpoint_by_addr(p->zone, &src);
	struct rte_ether_addr from = p->mac;
	rte_be16_t type = ip_is_v4(&src) ? RTE_BE16(RTE_ETHER_TYPE_IPV4)
					 : RTE_BE16(RTE_ETHER_TYPE_IPV6);

	if (req->src_mac.is_set)
		from = api_mac(&req->src_mac);
	else if (ep != ENDPOINT_NONE && endpoint_at(ep)->port_id == p->id)
		from = endpoint_at(ep)->mac;
	memcpy(frame, own, RTE_ETHER_ADDR_LEN);
	memcpy(frame + RTE_ETHER_ADDR_LEN, &from, RTE_ETHER_ADDR_LEN);
	memcpy(frame + 12, &type, 2);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Length, or 0: no hexadecimal text, too long. */
static uint32_t parse_hex(const char *text, uint8_t *out)
{
	uint32_t len = 0;

	for (; text[0] != '\0' && len < FRAME_MAX; text += 2) {
		int hi = hex_digit(text[0]), lo = hi >= 0 ? hex_digit(text[1]) : -1;

		if (lo < 0)
			return 0;
		out[len++] = (uint8_t)(hi << 4 | lo);
	}
	return *text == '\0' ? len : 0;
}

/* The frame's length; 0: the call has been failed. */
static uint32_t make_frame(struct call *call, const struct port *p, bool is_tunnel, uint8_t *frame)
{
	const struct req_explain *req = call_req(call);
	const struct ip_addr src = api_ip(&req->src), dst = api_ip(&req->dst);
	uint8_t proto = IPPROTO_TCP, flags;
	uint32_t len;

	if (req->frame != NULL) {
		len = parse_hex(req->frame, frame);
		if (len == 0)
			call_fail(call, LEAT_ERR_PARAMS, "frame",
				"must be bytes in lower-case hexadecimal");
		return len;
	}
	if (!req->src.is_set || !req->dst.is_set) {
		call_fail(call, LEAT_ERR_PARAMS, req->src.is_set ? "dst" : "src",
			"src and dst are required without frame");
		return 0;
	}
	if (ip_is_v4(&src) != ip_is_v4(&dst)) {
		call_fail(
			call, LEAT_ERR_PARAMS, "dst", "src and dst must be of one address family");
		return 0;
	}
	if (schema_proto_parse(req->proto != NULL ? req->proto : "tcp", &proto) < 0) {
		call_fail(call, LEAT_ERR_PARAMS, "proto",
			"must be tcp, udp, sctp, icmp, icmpv6 or a number");
		return 0;
	}
	if (req->dport < 0 &&
		(proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP)) {
		call_fail(call, LEAT_ERR_PARAMS, "dport", "is required with tcp, udp and sctp");
		return 0;
	}
	if (proto == IPPROTO_TCP && !parse_flags(req->tcp_flags, &flags)) {
		call_fail(call, LEAT_ERR_PARAMS, "tcp_flags", "must be letters of FSRPAUEC");
		return 0;
	}
	memset(frame, 0, FRAME_MAX);
	put_eth(frame, req, p, is_tunnel);
	return L3_OFF + put_ip(frame + L3_OFF, req, proto);
}

/* --- the answer ----------------------------------------------------------------------------------------------------- */

static cJSON *step(cJSON *steps, enum layer_id layer, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static cJSON *step(cJSON *steps, enum layer_id layer, const char *fmt, ...)
{
	cJSON *item = cJSON_CreateObject();
	char text[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	cJSON_AddStringToObject(item, "layer", layer_name(layer));
	cJSON_AddStringToObject(item, "says", text);
	cJSON_AddItemToArray(steps, item);
	return item;
}

static const char *endpoint_text(uint32_t ep)
{
	return ep != ENDPOINT_NONE ? endpoint_at(ep)->id : "none here";
}

static void step_service(cJSON *steps, const struct slow_ctx *ctx)
{
	char text[IP_ADDR_STRLEN];
	cJSON *item;

	if (ctx->service == SERVICE_NONE) {
		step(steps, LAYER_service, "no service");
		return;
	}
	if (ctx->backend == BACKEND_NONE) {
		item = step(steps, LAYER_service,
			ctx->reason == DROP_SERVICE_SOURCE_REFUSED
				? "service %s, source outside its source ranges"
				: "service %s, no backend",
			service_name(ctx->service));
	} else {
		item = step(steps, LAYER_service, "service %s, backend %s port %u",
			service_name(ctx->service),
			ip_format(&backend_at(ctx->backend)->addr, text),
			rte_be_to_cpu_16(backend_at(ctx->backend)->port));
		cJSON_AddStringToObject(item, "backend", text);
	}
	cJSON_AddStringToObject(item, "service", service_name(ctx->service));
}

static void step_route(cJSON *steps, const struct slow_ctx *ctx)
{
	char text[IP_PREFIX_STRLEN];
	const struct route *r;

	if (ctx->route == SLOT_NONE) {
		step(steps, LAYER_route, "not asked: the destination lives here");
		return;
	}
	r = route_at(ctx->route);
	if (r->kind == ROUTE_NONE) {
		step(steps, LAYER_route, "no route");
		return;
	}
	ip_prefix_format(&r->prefix, text);
	cJSON_AddStringToObject(
		step(steps, LAYER_route, "route %s%s%s", text,
			r->kind == ROUTE_TUNNEL ? " into tunnel " : "",
			r->kind == ROUTE_TUNNEL ? tunnel_at(r->tunnel_idx)->name : ""),
		"route", text);
}

/* Why the packet passes though no policy was asked. */
static const char *unpoliced_text(const struct explain_result *res)
{
	struct slow_ctx ctx = res->ctx;
	bool is_reply = slow_is_reply(&ctx);
	const uint32_t sides[POLICY_DIR_N] = {
		[POLICY_EGRESS] = is_reply ? ctx.dst_ep : ctx.src_ep,
		[POLICY_INGRESS] = is_reply ? ctx.src_ep : ctx.dst_ep,
	};
	bool has_pod = false, has_host = false, is_failsafe = false;
	struct rule_packet pkt;

	ctx.pkt = &res->pkt;
	slow_rule_packet(&ctx, &pkt);
	for (unsigned int d = 0; d < POLICY_DIR_N; d++) {
		if (sides[d] == ENDPOINT_NONE)
			continue;
		has_pod |= endpoint_at(sides[d])->kind == ENDPOINT_POD;
		if (endpoint_at(sides[d])->kind != ENDPOINT_HOST)
			continue;
		has_host = true;
		is_failsafe |= policy_applies(sides[d], d) && pkt.has_ports &&
			failsafe_has(d, pkt.proto, pkt.dport);
	}
	if (has_host && has_pod)
		return "not asked: the node and its own pod";
	return is_failsafe ? "not asked: a failsafe port" : "no policy";
}

static void step_policy(cJSON *steps, const struct explain_result *res)
{
	const struct slow_ctx *ctx = &res->ctx;
	static const char *const sides[POLICY_DIR_N] = { "egress", "ingress" };
	char text[256];
	bool is_any = false;

	if (ctx->is_settled) {
		step(steps, LAYER_policy, "not asked: the connection stands");
		return;
	}
	for (unsigned int d = 0; d < POLICY_DIR_N; d++) {
		if (ctx->rule[d] == RULE_NONE)
			continue;
		is_any = true;
		rule_name_text(ctx->rule[d], text, sizeof(text));
		cJSON_AddStringToObject(
			step(steps, LAYER_policy, "%s: rule %s %s", sides[d], text,
				ctx->denied_by == ctx->rule[d] ? "refuses" : "allows"),
			"rule", text);
	}
	if (is_any)
		return;
	if (!ctx->is_policed)
		step(steps, LAYER_policy, "%s", unpoliced_text(res));
	else
		step(steps, LAYER_policy, "default of %s",
			ctx->policy != POLICY_NONE ? policy_at(ctx->policy)->name : "the endpoint");
}

static void step_snat(cJSON *steps, const struct slow_ctx *ctx)
{
	static const char *const kinds[] = { "kept", "pool", "pair", "this node (hairpin)" };

	if (ctx->flow != FLOW_NONE)
		step(steps, LAYER_snat, "as the connection has it");
	else if (ctx->snat == SNAT_POOL)
		step(steps, LAYER_snat, "pool %s", snat_pool_at(ctx->pool)->name);
	else
		step(steps, LAYER_snat, "%s", kinds[ctx->snat]);
}

static void add_steps(cJSON *result, const struct explain_result *res)
{
	const struct slow_ctx *ctx = &res->ctx;
	cJSON *steps = cJSON_AddArrayToObject(result, "layers");

	for (unsigned int l = 0; l <= ctx->layer; l++) {
		switch (l) {
		case LAYER_admit:
			step(steps, LAYER_admit, "from endpoint %s", endpoint_text(ctx->src_ep));
			break;
		case LAYER_service:
			step_service(steps, ctx);
			break;
		case LAYER_local:
			step(steps, LAYER_local, "to endpoint %s", endpoint_text(ctx->dst_ep));
			break;
		case LAYER_route:
			step_route(steps, ctx);
			break;
		case LAYER_policy:
			step_policy(steps, res);
			break;
		case LAYER_snat:
			step_snat(steps, ctx);
			break;
		default:
			step(steps, LAYER_encap, "%s",
				ctx->tunnel != SLOT_NONE ? tunnel_at(ctx->tunnel)->name
							 : "no tunnel");
			break;
		}
	}
	cJSON_AddStringToObject(result, "decided_by", layer_name((enum layer_id)ctx->layer));
}

static void add_frame(cJSON *result, const struct rte_mbuf *m)
{
	static char hex[2 * FRAME_MAX + 200];
	static uint8_t bytes[FRAME_MAX + 100];
	uint32_t len = RTE_MIN(m->pkt_len, (uint32_t)sizeof(bytes));
	const uint8_t *data = rte_pktmbuf_read(m, 0, len, bytes);

	for (uint32_t i = 0; i < len; i++)
		snprintf(hex + 2 * (size_t)i, 3, "%02x", data[i]);
	cJSON_AddStringToObject(result, "frame", hex);
}

static cJSON *explain_json(const struct explain_result *res)
{
	cJSON *result = cJSON_CreateObject();
	const struct port *out = port_by_id(res->out_port);

	cJSON_AddStringToObject(result, "verdict", explain_verdict_name(res->verdict));
	if (res->verdict == EXPLAIN_DROP) {
		cJSON_AddStringToObject(result, "reason", drop_name(res->reason));
		cJSON_AddBoolToObject(result, "sender_is_told", res->is_answered);
	}
	cJSON_AddStringToObject(result, "connection",
		res->is_rebound			     ? "rebound"
			: res->ctx.flow == FLOW_NONE ? "new"
			: res->ctx.is_related	     ? "related"
			: slow_is_reply(&res->ctx)   ? "reply"
						     : "established");
	if (res->ctx.zone != 0)
		cJSON_AddNumberToObject(result, "zone", res->ctx.zone);
	if (res->verdict != EXPLAIN_FRAGMENT && res->ctx.action != SLOW_CONTINUE)
		add_steps(result, res);
	if (res->verdict == EXPLAIN_FORWARD) {
		if (out != NULL)
			cJSON_AddStringToObject(result, "port", out->name);
		api_add_translation(result, "leaves", &res->final);
		if (res->out != NULL)
			add_frame(result, res->out);
	}
	return result;
}

/* --- the call ------------------------------------------------------------------------------------------------------- */

static bool find_ingress(struct call *call, const struct port **out_port, uint16_t *out_in)
{
	const struct req_explain *req = call_req(call);
	const struct port *p = port_by_name(req->port);
	uint32_t tunnel;

	if (p == NULL) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "port", "there is no port %s", req->port);
		return false;
	}
	*out_port = p;
	*out_in = p->id;
	if (req->tunnel == NULL)
		return true;
	tunnel = tunnel_by_name(req->tunnel);
	if (tunnel == TUNNEL_NONE || p->role != PORT_ROLE_UPLINK) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "tunnel",
			"there is no tunnel %s, or port %s is not an uplink", req->tunnel,
			req->port);
		return false;
	}
	*out_in = (uint16_t)(FLOW_IN_TUNNEL | tunnel);
	return true;
}

static void handle_explain(struct call *call)
{
	static uint8_t frame[FRAME_MAX];
	struct rte_mempool *pool = mempool_get(0);
	struct explain_result res;
	const struct port *p;
	struct rte_mbuf *m;
	cJSON *result;
	uint16_t in;
	uint32_t len;
	char *at;

	if (!find_ingress(call, &p, &in))
		return;
	len = make_frame(call, p, in != p->id, frame);
	if (len == 0)
		return;
	m = rte_pktmbuf_alloc(pool);
	at = m != NULL && len <= rte_pktmbuf_tailroom(m) ? rte_pktmbuf_append(m, (uint16_t)len)
							 : NULL;
	if (at == NULL) {
		rte_pktmbuf_free(m);
		call_fail(call, LEAT_ERR_RESOURCES, "payload_bytes",
			"no packet buffer, or the packet does not fit into one");
		return;
	}
	memcpy(at, frame, len);
	explain_packet(p, in, m, &tables_flow4, &tables_flow6, pool, &res);
	result = explain_json(&res);
	rte_pktmbuf_free(res.out);
	rte_pktmbuf_free(m);
	call_ok(call, result);
}

const struct api_handler api_explain[] = {
	{ "packet.explain", handle_explain },
	API_HANDLERS_END,
};
