/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/netlink_codec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#define ATTRS_MAX 128

struct attrs {
	const struct nlattr *v[ATTRS_MAX];
};

static int attrs_cb(const struct nlattr *attr, void *data)
{
	struct attrs *attrs = data;
	uint16_t type = mnl_attr_get_type(attr);

	if (type < ATTRS_MAX)
		attrs->v[type] = attr;
	return MNL_CB_OK;
}

static uint32_t attr_u32(const struct nlattr *attr, uint32_t otherwise)
{
	return attr != NULL && mnl_attr_get_payload_len(attr) >= 4 ? mnl_attr_get_u32(attr)
								   : otherwise;
}

static bool attr_ip(const struct nlattr *attr, uint8_t family, struct ip_addr *out)
{
	if (attr == NULL || mnl_attr_get_payload_len(attr) < (family == AF_INET ? 4 : 16))
		return false;
	if (family == AF_INET) {
		rte_be32_t v4;

		memcpy(&v4, mnl_attr_get_payload(attr), sizeof(v4));
		*out = ip_from_v4(v4);
	} else {
		memcpy(out->b, mnl_attr_get_payload(attr), 16);
	}
	return true;
}

void nlc_put_ip(struct nlmsghdr *nlh, uint16_t type, const struct ip_addr *addr)
{
	if (ip_is_v4(addr)) {
		rte_be32_t v4 = ip_v4(addr);

		mnl_attr_put(nlh, type, sizeof(v4), &v4);
	} else {
		mnl_attr_put(nlh, type, 16, addr->b);
	}
}

struct nlmsghdr *nlc_link_change(void *buf, int ifindex, const struct nl_link_change *change)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;

	nlh->nlmsg_type = RTM_NEWLINK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_index = ifindex;
	if (change->up >= 0) {
		ifi->ifi_change = IFF_UP;
		ifi->ifi_flags = change->up != 0 ? IFF_UP : 0;
	}
	if (change->name != NULL)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, change->name);
	if (change->alias != NULL)
		mnl_attr_put_strz(nlh, IFLA_IFALIAS, change->alias);
	if (change->mac != NULL)
		mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(*change->mac), change->mac);
	if (change->mtu != 0)
		mnl_attr_put_u32(nlh, IFLA_MTU, change->mtu);
	if (change->txqlen != 0)
		mnl_attr_put_u32(nlh, IFLA_TXQLEN, change->txqlen);
	if (change->gso_max_size != 0)
		mnl_attr_put_u32(nlh, IFLA_GSO_MAX_SIZE, change->gso_max_size);
	if (change->has_netns)
		mnl_attr_put_u32(nlh, IFLA_NET_NS_FD, (uint32_t)change->netns_fd);
	return nlh;
}

static void link_info_parse(const struct nlattr *info, struct nl_link *out)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, info) if (mnl_attr_get_type(attr) == IFLA_INFO_KIND &&
		mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
		snprintf(out->kind, sizeof(out->kind), "%s", mnl_attr_get_str(attr));
}

int nlc_link_cb(const struct nlmsghdr *nlh, void *data)
{
	if (nlh->nlmsg_type == RTM_NEWLINK)
		(void)nlc_link_parse(nlh, data);
	return MNL_CB_OK;
}

int nlc_link_parse(const struct nlmsghdr *nlh, struct nl_link *out)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct attrs attrs = { 0 };

	if ((nlh->nlmsg_type != RTM_NEWLINK && nlh->nlmsg_type != RTM_DELLINK) ||
		mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi))
		return -EINVAL;
	*out = (struct nl_link){ 0 };
	mnl_attr_parse(nlh, sizeof(*ifi), attrs_cb, &attrs);
	out->ifindex = ifi->ifi_index;
	out->flags = ifi->ifi_flags;
	if (attrs.v[IFLA_IFNAME] != NULL)
		snprintf(
			out->name, sizeof(out->name), "%s", mnl_attr_get_str(attrs.v[IFLA_IFNAME]));
	if (attrs.v[IFLA_ADDRESS] != NULL &&
		mnl_attr_get_payload_len(attrs.v[IFLA_ADDRESS]) == sizeof(out->mac))
		memcpy(&out->mac, mnl_attr_get_payload(attrs.v[IFLA_ADDRESS]), sizeof(out->mac));
	if (attrs.v[IFLA_IFALIAS] != NULL)
		snprintf(out->alias, sizeof(out->alias), "%.*s",
			(int)mnl_attr_get_payload_len(attrs.v[IFLA_IFALIAS]),
			mnl_attr_get_str(attrs.v[IFLA_IFALIAS]));
	out->mtu = attr_u32(attrs.v[IFLA_MTU], 0);
	out->txqlen = attr_u32(attrs.v[IFLA_TXQLEN], 0);
	out->n_txq = attr_u32(attrs.v[IFLA_NUM_TX_QUEUES], 1);
	if (attrs.v[IFLA_LINK] != NULL)
		out->peer_ifindex = (int)attr_u32(attrs.v[IFLA_LINK], 0);
	out->is_peer_elsewhere = attrs.v[IFLA_LINK_NETNSID] != NULL;
	if (attrs.v[IFLA_LINKINFO] != NULL)
		link_info_parse(attrs.v[IFLA_LINKINFO], out);
	return 0;
}

struct nlmsghdr *nlc_addr(
	void *buf, uint16_t type, int ifindex, const struct ip_addr *addr, uint8_t len)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifaddrmsg *ifa;

	nlh->nlmsg_type = type;
	ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	ifa->ifa_family = ip_is_v4(addr) ? AF_INET : AF_INET6;
	ifa->ifa_prefixlen = len;
	ifa->ifa_index = (uint32_t)ifindex;
	nlc_put_ip(nlh, IFA_LOCAL, addr);
	nlc_put_ip(nlh, IFA_ADDRESS, addr);
	/* Addresses are assigned, not chosen, and leat answers for everybody else's: detection would only delay. */
	if (!ip_is_v4(addr) && type == RTM_NEWADDR)
		mnl_attr_put_u32(nlh, IFA_FLAGS, IFA_F_NODAD);
	return nlh;
}

int nlc_addr_parse(const struct nlmsghdr *nlh, struct nl_addr *out)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	struct attrs attrs = { 0 };

	if (nlh->nlmsg_type != RTM_NEWADDR && nlh->nlmsg_type != RTM_DELADDR)
		return -EINVAL;
	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifa) ||
		(ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6))
		return -EINVAL;
	mnl_attr_parse(nlh, sizeof(*ifa), attrs_cb, &attrs);
	*out = (struct nl_addr){
		.ifindex = (int)ifa->ifa_index, .len = ifa->ifa_prefixlen, .scope = ifa->ifa_scope
	};
	if (attr_ip(attrs.v[IFA_LOCAL], ifa->ifa_family, &out->addr) ||
		attr_ip(attrs.v[IFA_ADDRESS], ifa->ifa_family, &out->addr))
		return 0;
	return -EINVAL;
}

struct nlmsghdr *nlc_route(void *buf, uint16_t type, const struct nl_route *route)
{
	bool is_v4 = ip_is_v4(&route->dst.addr);
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *rtm;

	nlh->nlmsg_type = type;
	rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	rtm->rtm_family = is_v4 ? AF_INET : AF_INET6;
	rtm->rtm_dst_len = route->dst.len;
	rtm->rtm_table = RT_TABLE_MAIN;
	rtm->rtm_protocol = route->protocol != 0 ? route->protocol : RTPROT_STATIC;
	rtm->rtm_type = route->type != 0 ? route->type : RTN_UNICAST;
	rtm->rtm_scope = is_v4 && route->is_link_scope ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	rtm->rtm_flags = route->is_onlink ? RTNH_F_ONLINK : 0;
	if (type == RTM_DELROUTE) {
		rtm->rtm_scope = RT_SCOPE_NOWHERE;
		rtm->rtm_flags = 0;
		rtm->rtm_protocol = route->protocol;
	}
	if (route->dst.len != 0)
		nlc_put_ip(nlh, RTA_DST, &route->dst.addr);
	if (route->has_gw)
		nlc_put_ip(nlh, RTA_GATEWAY, &route->gw);
	if (!ip_is_zero(&route->src))
		nlc_put_ip(nlh, RTA_PREFSRC, &route->src);
	if (route->ifindex != 0)
		mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)route->ifindex);
	if (route->table != 0)
		mnl_attr_put_u32(nlh, RTA_TABLE, route->table);
	if (route->metric != 0)
		mnl_attr_put_u32(nlh, RTA_PRIORITY, route->metric);
	if (route->mtu != 0) {
		struct nlattr *nest = mnl_attr_nest_start(nlh, RTA_METRICS);

		mnl_attr_put_u32(nlh, RTAX_MTU, route->mtu);
		mnl_attr_nest_end(nlh, nest);
	}
	return nlh;
}

/* The first next hop of RTA_MULTIPATH. */
static void first_hop_parse(const struct nlattr *multipath, uint8_t family, struct nl_route *out)
{
	const struct rtnexthop *hop = mnl_attr_get_payload(multipath);
	size_t len = mnl_attr_get_payload_len(multipath);
	struct attrs attrs = { 0 };

	if (len < sizeof(*hop) || hop->rtnh_len < sizeof(*hop) || hop->rtnh_len > len)
		return;
	out->ifindex = hop->rtnh_ifindex;
	mnl_attr_parse_payload(RTNH_DATA(hop), hop->rtnh_len - sizeof(*hop), attrs_cb, &attrs);
	out->has_gw = attr_ip(attrs.v[RTA_GATEWAY], family, &out->gw);
}

int nlc_route_parse(const struct nlmsghdr *nlh, struct nl_route *out)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	struct attrs attrs = { 0 };

	if (nlh->nlmsg_type != RTM_NEWROUTE && nlh->nlmsg_type != RTM_DELROUTE)
		return -EINVAL;
	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*rtm) ||
		(rtm->rtm_family != AF_INET && rtm->rtm_family != AF_INET6))
		return -EINVAL;
	if ((rtm->rtm_flags & RTM_F_CLONED) != 0 ||
		rtm->rtm_dst_len > (rtm->rtm_family == AF_INET ? 32 : 128))
		return -EINVAL;
	mnl_attr_parse(nlh, sizeof(*rtm), attrs_cb, &attrs);
	*out = (struct nl_route){
		.protocol = rtm->rtm_protocol,
		.type = rtm->rtm_type,
		.is_link_scope = rtm->rtm_scope == RT_SCOPE_LINK,
		.is_onlink = (rtm->rtm_flags & RTNH_F_ONLINK) != 0,
		.table = attr_u32(attrs.v[RTA_TABLE], rtm->rtm_table),
		.metric = attr_u32(attrs.v[RTA_PRIORITY], 0),
		.ifindex = (int)attr_u32(attrs.v[RTA_OIF], 0),
	};
	out->dst.len = rtm->rtm_dst_len;
	if (rtm->rtm_family == AF_INET)
		out->dst.addr = ip_from_v4(0);
	if (attrs.v[RTA_DST] != NULL && !attr_ip(attrs.v[RTA_DST], rtm->rtm_family, &out->dst.addr))
		return -EINVAL;
	out->has_gw = attr_ip(attrs.v[RTA_GATEWAY], rtm->rtm_family, &out->gw);
	if (attrs.v[RTA_MULTIPATH] != NULL)
		first_hop_parse(attrs.v[RTA_MULTIPATH], rtm->rtm_family, out);
	(void)attr_ip(attrs.v[RTA_PREFSRC], rtm->rtm_family, &out->src);
	return 0;
}
