/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/observer_text.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <rte_ether.h>

#include "datapath/packet/parse.h"
#include "datapath/slow/slow.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/route.h"
#include "datapath/table/tunnel.h"

#define VXLAN_INNER_OFF 16u /* behind the outer UDP header: UDP 8, VXLAN 8 */

static const char *proto_text(uint8_t proto, char buf[8])
{
	switch (proto) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_ICMPV6:
		return "icmp6";
	case IPPROTO_SCTP:
		return "sctp";
	default:
		snprintf(buf, 8, "ip-%u", proto);
		return buf;
	}
}

static size_t append(char *buf, size_t size, size_t at, const char *text)
{
	int n = at < size ? snprintf(buf + at, size - at, "%s", text) : 0;

	return at + (n > 0 ? (size_t)n : 0);
}

/* One Ethernet frame; *out_inner is the offset of a tunnelled one, 0: none. */
static size_t frame_text(const uint8_t *frame, uint32_t len, uint32_t wire_len, char *buf,
	size_t size, uint32_t *out_inner)
{
	char src[IP_ADDR_STRLEN], dst[IP_ADDR_STRLEN], proto[8], text[200];
	rte_be16_t type = 0;
	struct parsed pkt;

	*out_inner = 0;
	if (len < RTE_ETHER_HDR_LEN)
		return append(buf, size, 0, "truncated");
	memcpy(&type, frame + 12, 2);
	if (type != RTE_BE16(RTE_ETHER_TYPE_IPV4) && type != RTE_BE16(RTE_ETHER_TYPE_IPV6)) {
		snprintf(text, sizeof(text),
			type == RTE_BE16(RTE_ETHER_TYPE_ARP) ? "arp" : "ethertype 0x%04x",
			rte_be_to_cpu_16(type));
		return append(buf, size, 0, text);
	}
	parse_l3(frame, len, wire_len, RTE_ETHER_HDR_LEN,
		type == RTE_BE16(RTE_ETHER_TYPE_IPV4) ? PARSED_IP4 : PARSED_IP6, false, &pkt);
	if (pkt.has_l4 && (pkt.proto == IPPROTO_ICMP || pkt.proto == IPPROTO_ICMPV6) &&
		pkt.sport != 0)
		snprintf(text, sizeof(text), "%s > %s %s id %u ttl %u len %u",
			ip_format(&pkt.src, src), ip_format(&pkt.dst, dst),
			proto_text(pkt.proto, proto), rte_be_to_cpu_16(pkt.sport), pkt.ttl,
			pkt.l3_len);
	else if (pkt.has_l4 && pkt.sport != 0)
		snprintf(text, sizeof(text), "%s:%u > %s:%u %s ttl %u len %u",
			ip_format(&pkt.src, src), rte_be_to_cpu_16(pkt.sport),
			ip_format(&pkt.dst, dst), rte_be_to_cpu_16(pkt.dport),
			proto_text(pkt.proto, proto), pkt.ttl, pkt.l3_len);
	else
		snprintf(text, sizeof(text), "%s > %s %s ttl %u len %u", ip_format(&pkt.src, src),
			ip_format(&pkt.dst, dst), proto_text(pkt.proto, proto), pkt.ttl,
			pkt.l3_len);
	if (pkt.proto == IPPROTO_UDP && pkt.has_l4 && tunnel_listens(rte_be_to_cpu_16(pkt.dport)) &&
		pkt.l4_off + VXLAN_INNER_OFF + RTE_ETHER_HDR_LEN <= len)
		*out_inner = pkt.l4_off + VXLAN_INNER_OFF;
	return append(buf, size, 0, text);
}

void observer_packet_text(
	const uint8_t *frame, uint32_t len, uint32_t wire_len, char *buf, size_t size)
{
	uint32_t inner, ignored;
	size_t at = frame_text(frame, len, wire_len, buf, size, &inner);
	char text[256];

	if (inner == 0)
		return;
	snprintf(text, sizeof(text), " vxlan %u { ",
		((uint32_t)frame[inner - 4] << 16) | ((uint32_t)frame[inner - 3] << 8) |
			frame[inner - 2]);
	at = append(buf, size, at, text);
	frame_text(frame + inner, len - inner, wire_len - inner, text, sizeof(text), &ignored);
	at = append(buf, size, at, text);
	append(buf, size, at, " }");
}

bool observer_add_packet(cJSON *object, const uint8_t *frame, uint32_t len, uint32_t wire_len,
	struct ip_addr *out_src, struct ip_addr *out_dst)
{
	char text[500], addr[IP_ADDR_STRLEN], proto[8];
	rte_be16_t type = 0;
	struct parsed pkt = { 0 };

	observer_packet_text(frame, len, wire_len, text, sizeof(text));
	cJSON_AddStringToObject(object, "packet", text);
	if (len < RTE_ETHER_HDR_LEN)
		return false;
	memcpy(&type, frame + 12, 2);
	if (type != RTE_BE16(RTE_ETHER_TYPE_IPV4) && type != RTE_BE16(RTE_ETHER_TYPE_IPV6))
		return false;
	parse_l3(frame, len, wire_len, RTE_ETHER_HDR_LEN,
		type == RTE_BE16(RTE_ETHER_TYPE_IPV4) ? PARSED_IP4 : PARSED_IP6, false, &pkt);
	*out_src = pkt.src;
	*out_dst = pkt.dst;
	cJSON_AddStringToObject(object, "src", ip_format(&pkt.src, addr));
	cJSON_AddStringToObject(object, "dst", ip_format(&pkt.dst, addr));
	cJSON_AddStringToObject(object, "proto", proto_text(pkt.proto, proto));
	if (pkt.has_l4 && pkt.proto != IPPROTO_ICMP && pkt.proto != IPPROTO_ICMPV6) {
		cJSON_AddNumberToObject(object, "sport", rte_be_to_cpu_16(pkt.sport));
		cJSON_AddNumberToObject(object, "dport", rte_be_to_cpu_16(pkt.dport));
	}
	return true;
}

static const char *port_text(uint16_t id)
{
	struct port *p = port_at(id);

	return p != NULL ? p->name : "?";
}

void observer_in_text(uint16_t in, char *buf, size_t size)
{
	if ((in & FLOW_IN_TUNNEL) != 0)
		snprintf(buf, size, "tunnel %s", tunnel_at(in & (FLOW_IN_TUNNEL - 1))->name);
	else
		snprintf(buf, size, "%s", port_text(in));
}

const char *observer_action_text(uint8_t action)
{
	static const char *const actions[SLOW_ACTION_N] = { "undecided", "forward", "drop",
		"resolve neighbour", "resolve tunnel", "for this node itself", "new backend",
		"reset" };

	return action < SLOW_ACTION_N ? actions[action] : "?";
}

static void verdict_text(const struct observe_msg *msg, char *buf, size_t size)
{
	char prefix[IP_PREFIX_STRLEN] = "";
	size_t at = append(buf, size, 0, observer_action_text(msg->action));
	char text[300];

	if (msg->action == SLOW_DROP) {
		snprintf(text, sizeof(text), " %s", drop_name(msg->reason));
		at = append(buf, size, at, text);
	}
	if (msg->src_ep != ENDPOINT_NONE) {
		snprintf(text, sizeof(text), ", from endpoint %s", endpoint_at(msg->src_ep)->id);
		at = append(buf, size, at, text);
	}
	if (msg->dst_ep != ENDPOINT_NONE) {
		snprintf(text, sizeof(text), ", to endpoint %s", endpoint_at(msg->dst_ep)->id);
		at = append(buf, size, at, text);
	}
	if (msg->route != SLOT_NONE) {
		const struct route *r = route_at(msg->route);

		snprintf(text, sizeof(text), ", route %s",
			r->kind == ROUTE_NONE ? "none" : ip_prefix_format(&r->prefix, prefix));
		at = append(buf, size, at, text);
	}
	if (msg->tunnel != TUNNEL_NONE) {
		snprintf(text, sizeof(text), ", tunnel %s", tunnel_at(msg->tunnel)->name);
		at = append(buf, size, at, text);
	}
	if (msg->port_id != PORT_ID_NONE) {
		snprintf(text, sizeof(text), ", out of port %s", port_text(msg->port_id));
		append(buf, size, at, text);
	}
}

cJSON *observer_step_json(const struct observe_msg *msg)
{
	static const char *const steps[] = { "in", "lookup", "layers", "drop", "out" };
	cJSON *step = cJSON_CreateObject();
	char text[700] = "", packet[500], in[TUNNEL_NAME_LEN + 16];

	switch (msg->kind) {
	case OBSERVE_MSG_TRACE_IN:
		observer_packet_text(
			msg->head, msg->head_len, msg->wire_len, packet, sizeof(packet));
		observer_in_text(msg->in, in, sizeof(in));
		snprintf(text, sizeof(text), "port %s%s%s: %s", port_text(msg->port_id),
			(msg->in & FLOW_IN_TUNNEL) != 0 ? ", " : "",
			(msg->in & FLOW_IN_TUNNEL) != 0 ? in : "", packet);
		break;
	case OBSERVE_MSG_TRACE_LOOKUP:
		if (msg->flow == FLOW_NONE)
			snprintf(text, sizeof(text), "no flow: to the layers");
		else
			snprintf(text, sizeof(text), "flow %s%u %s",
				msg->is_v6 ? "v6:" : "v4:", msg->flow,
				msg->is_hit ? "hit" : "known, must be judged again");
		break;
	case OBSERVE_MSG_TRACE_VERDICT:
		verdict_text(msg, text, sizeof(text));
		break;
	case OBSERVE_MSG_TRACE_DROP:
		snprintf(text, sizeof(text), "%s: %s", drop_name(msg->reason),
			drop_help(msg->reason));
		cJSON_AddStringToObject(step, "reason", drop_name(msg->reason));
		break;
	default:
		observer_packet_text(
			msg->head, msg->head_len, msg->wire_len, packet, sizeof(packet));
		snprintf(text, sizeof(text), "port %s: %s", port_text(msg->port_id), packet);
		break;
	}
	cJSON_AddNumberToObject(step, "time_us", (double)msg->time_ns / 1000);
	cJSON_AddNumberToObject(step, "worker", msg->worker);
	cJSON_AddStringToObject(step, "step",
		msg->kind < sizeof(steps) / sizeof(steps[0]) ? steps[msg->kind] : "?");
	cJSON_AddStringToObject(step, "text", text);
	return step;
}
