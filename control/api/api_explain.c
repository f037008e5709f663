/* SPDX-License-Identifier: BSD-3-Clause */
/* packet.explain: what would happen to a packet, layer by layer, and which object says so. */
#include <netinet/in.h>
#include <string.h>

#include <rte_hash_crc.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "control/api/api.h"
#include "control/api/explain_answer.h"
#include "control/tables.h"
#include "datapath/packet/csum.h"
#include "datapath/table/endpoint.h"
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
	result = explain_answer_json(&res, p, m);
	rte_pktmbuf_free(res.out);
	rte_pktmbuf_free(m);
	call_ok(call, result);
}

const struct api_handler api_explain[] = {
	{ "packet.explain", handle_explain },
	API_HANDLERS_END,
};
