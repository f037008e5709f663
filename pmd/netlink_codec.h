/* SPDX-License-Identifier: BSD-3-Clause */
/* Netlink messages ↔ our structs: pure functions behind netlink.h. Any thread. */
#ifndef LEAT_PMD_NETLINK_CODEC_H
#define LEAT_PMD_NETLINK_CODEC_H

#include <libmnl/libmnl.h>

#include "pmd/netlink.h"

/* Builders write into buf (large enough for the message: ≥ MNL_NLMSG_HDRLEN + 256) and return it as a header. */
struct nlmsghdr *nlc_link_change(void *buf, int ifindex, const struct nl_link_change *change);
struct nlmsghdr *nlc_addr(
	void *buf, uint16_t type, int ifindex, const struct ip_addr *addr, uint8_t len);
struct nlmsghdr *nlc_route(void *buf, uint16_t type, const struct nl_route *route);
void nlc_put_ip(struct nlmsghdr *nlh, uint16_t type, const struct ip_addr *addr);

/* Parsers: 0, or -EINVAL for a message of another kind, family or shape. */
int nlc_addr_parse(const struct nlmsghdr *nlh, struct nl_addr *out);
/* Of a route with several next hops the first. */
int nlc_route_parse(const struct nlmsghdr *nlh, struct nl_route *out);
/* RTM_NEWLINK or RTM_DELLINK. */
int nlc_link_parse(const struct nlmsghdr *nlh, struct nl_link *out);

/* libmnl callback: data is a struct nl_link. */
int nlc_link_cb(const struct nlmsghdr *nlh, void *data);

#endif
