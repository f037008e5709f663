/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include <linux/rtnetlink.h>

#include "pmd/netlink_codec.h"

static char buf[1024] __attribute__((aligned(8)));

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix p;

	assert_int_equal(ip_prefix_parse(text, &p), 0);
	return p;
}

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_parse(text, &a), 0);
	return a;
}

static void test_route_written_and_read_is_the_same(void **state)
{
	const struct nl_route routes[] = {
		{ .dst = prefix("10.1.0.0/16"),
			.has_gw = true,
			.gw = addr("192.0.2.1"),
			.ifindex = 7,
			.protocol = 186,
			.table = 254,
			.metric = 20 },
		{ .dst = prefix("0.0.0.0/0"),
			.has_gw = true,
			.gw = addr("192.0.2.1"),
			.is_onlink = true,
			.ifindex = 1,
			.protocol = 3 },
		{ .dst = prefix("2001:db8::/32"),
			.has_gw = true,
			.gw = addr("fe80::1"),
			.ifindex = 70000,
			.protocol = 11,
			.table = 1000 },
		{ .dst = prefix("::/0"), .ifindex = 3, .protocol = 4 },
		{ .dst = prefix("10.9.0.1/32"),
			.is_link_scope = true,
			.src = addr("10.9.0.254"),
			.ifindex = 2,
			.protocol = NL_PROTO_LEAT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		struct nl_route r;

		assert_int_equal(nlc_route_parse(nlc_route(buf, RTM_NEWROUTE, &routes[i]), &r), 0);
		assert_true(ip_eq(&r.dst.addr, &routes[i].dst.addr));
		assert_int_equal(r.dst.len, routes[i].dst.len);
		assert_int_equal(r.has_gw, routes[i].has_gw);
		if (r.has_gw)
			assert_true(ip_eq(&r.gw, &routes[i].gw));
		assert_int_equal(r.ifindex, routes[i].ifindex);
		assert_int_equal(r.protocol, routes[i].protocol);
		assert_int_equal(r.metric, routes[i].metric);
		assert_int_equal(r.is_onlink, routes[i].is_onlink);
		assert_int_equal(r.is_link_scope, routes[i].is_link_scope);
		assert_int_equal(r.table, routes[i].table != 0 ? routes[i].table : RT_TABLE_MAIN);
		assert_int_equal(r.type, RTN_UNICAST);
		assert_true(ip_eq(&r.src, &routes[i].src));
	}
}

static void test_route_with_several_hops_reads_as_the_first(void **state)
{
	struct nl_route want = { .dst = prefix("10.1.0.0/16"), .protocol = 186 }, r;
	struct nlmsghdr *nlh = nlc_route(buf, RTM_NEWROUTE, &want);
	struct nlattr *nest = mnl_attr_nest_start(nlh, RTA_MULTIPATH);

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct rtnexthop *hop = mnl_nlmsg_get_payload_tail(nlh);
		rte_be32_t gw = RTE_BE32(0xc0000201u + (uint32_t)i);

		*hop = (struct rtnexthop){ .rtnh_len = sizeof(*hop) + 8, .rtnh_ifindex = 5 + i };
		nlh->nlmsg_len += sizeof(*hop);
		mnl_attr_put(nlh, RTA_GATEWAY, sizeof(gw), &gw);
	}
	mnl_attr_nest_end(nlh, nest);
	assert_int_equal(nlc_route_parse(nlh, &r), 0);
	assert_int_equal(r.ifindex, 5);
	assert_true(r.has_gw);
	assert_int_equal(ip_v4(&r.gw), RTE_BE32(0xc0000201));
}

static void test_route_of_bad_shape_is_refused(void **state)
{
	struct nl_route want = { .dst = prefix("10.1.0.0/16"), .ifindex = 1 }, r;
	struct nlmsghdr *nlh = nlc_route(buf, RTM_NEWROUTE, &want);
	struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);

	(void)state;
	rtm->rtm_dst_len = 33;
	assert_int_equal(nlc_route_parse(nlh, &r), -EINVAL);
	rtm->rtm_dst_len = 16;
	rtm->rtm_flags = RTM_F_CLONED;
	assert_int_equal(nlc_route_parse(nlh, &r), -EINVAL);
	rtm->rtm_flags = 0;
	rtm->rtm_family = AF_BRIDGE;
	assert_int_equal(nlc_route_parse(nlh, &r), -EINVAL);
	rtm->rtm_family = AF_INET6; /* a destination of four bytes is no IPv6 address */
	assert_int_equal(nlc_route_parse(nlh, &r), -EINVAL);
	rtm->rtm_family = AF_INET;
	nlh->nlmsg_type = RTM_NEWADDR;
	assert_int_equal(nlc_route_parse(nlh, &r), -EINVAL);
	nlh->nlmsg_type = RTM_NEWROUTE;
	nlh->nlmsg_len = MNL_NLMSG_HDRLEN + 4;
	assert_int_equal(nlc_route_parse(nlh, &r), -EINVAL);
}

static void test_addr_written_and_read_is_the_same(void **state)
{
	static const char *const texts[] = { "10.9.0.1", "2001:db8::9" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct ip_addr a = addr(texts[i]);
		struct nl_addr out;

		assert_int_equal(nlc_addr_parse(nlc_addr(buf, RTM_NEWADDR, 9, &a, 24), &out), 0);
		assert_int_equal(out.ifindex, 9);
		assert_int_equal(out.len, 24);
		assert_true(ip_eq(&out.addr, &a));
	}
}

static void test_link_change_carries_what_is_asked_for_only(void **state)
{
	const struct rte_ether_addr mac = { { 2, 0, 0, 0, 0, 1 } };
	const struct nl_link_change change = {
		.name = "eth0", .mac = &mac, .mtu = 9000, .up = 1, .alias = "leat:a"
	};
	const struct nl_link_change nothing = { .up = -1 };
	struct nl_link link;

	(void)state;
	assert_int_equal(nlc_link_parse(nlc_link_change(buf, 4, &change), &link), 0);
	assert_int_equal(link.ifindex, 4);
	assert_string_equal(link.name, "eth0");
	assert_string_equal(link.alias, "leat:a");
	assert_int_equal(link.mtu, 9000);
	assert_true(rte_is_same_ether_addr(&link.mac, &mac));
	assert_true((link.flags & IFF_UP) != 0);
	assert_int_equal(nlc_link_change(buf, 4, &nothing)->nlmsg_len,
		MNL_NLMSG_HDRLEN + sizeof(struct ifinfomsg));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_route_written_and_read_is_the_same),
		cmocka_unit_test(test_route_with_several_hops_reads_as_the_first),
		cmocka_unit_test(test_route_of_bad_shape_is_refused),
		cmocka_unit_test(test_addr_written_and_read_is_the_same),
		cmocka_unit_test(test_link_change_carries_what_is_asked_for_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
