/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "datapath/base/addr.h"

static void test_ip_parse_accepts_exact_forms_only(void **state)
{
	struct ip_addr a;
	char text[IP_ADDR_STRLEN];

	(void)state;
	assert_int_equal(ip_parse("192.0.2.1", &a), 0);
	assert_true(ip_is_v4(&a));
	assert_string_equal(ip_format(&a, text), "192.0.2.1");
	assert_int_equal(ip_parse("2001:db8::1", &a), 0);
	assert_false(ip_is_v4(&a));
	assert_string_equal(ip_format(&a, text), "2001:db8::1");
	assert_int_equal(ip_parse("::ffff:192.0.2.1", &a), -EINVAL);
	assert_int_equal(ip_parse("192.0.2.1 ", &a), -EINVAL);
	assert_int_equal(ip_parse("", &a), -EINVAL);
}

static void test_prefix_parse_refuses_host_bits_and_bad_lengths(void **state)
{
	static const char *const bad[] = { "10.0.0.1/24", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08",
		"10.0.0.0/-1", "2001:db8::/129", "2001:db8::1/64", "/8", "10.0.0.0/8x" };
	struct ip_prefix p;
	char text[IP_PREFIX_STRLEN];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ip_prefix_parse(bad[i], &p), -EINVAL);
	assert_int_equal(ip_prefix_parse("10.1.0.0/16", &p), 0);
	assert_string_equal(ip_prefix_format(&p, text), "10.1.0.0/16");
	assert_int_equal(ip_prefix_parse("0.0.0.0/0", &p), 0);
	assert_int_equal(ip_prefix_parse("::/0", &p), 0);
	assert_int_equal(ip_prefix_parse("2001:db8::/33", &p), 0);
	assert_int_equal(ip_prefix_parse("10.1.2.3", &p), 0);
	assert_int_equal(p.len, 32);
}

static void test_prefix_covers_only_its_own_family(void **state)
{
	struct ip_prefix p;
	struct ip_addr a;

	(void)state;
	assert_int_equal(ip_prefix_parse("::/0", &p), 0);
	assert_int_equal(ip_parse("10.0.0.1", &a), 0);
	assert_false(ip_prefix_covers(&p, &a));
	assert_int_equal(ip_prefix_parse("10.0.0.0/9", &p), 0);
	assert_true(ip_prefix_covers(&p, &a));
	assert_int_equal(ip_parse("10.128.0.1", &a), 0);
	assert_false(ip_prefix_covers(&p, &a));
}

static void test_mac_parse_and_pod_mac(void **state)
{
	struct rte_ether_addr mac;
	struct ip_addr a;
	char text[MAC_STRLEN];

	(void)state;
	assert_int_equal(mac_parse("0a:58:0A:f4:01:09", &mac), 0);
	assert_int_equal(mac_parse("0a:58:0a:f4:01", &mac), -EINVAL);
	assert_int_equal(mac_parse("0a:58:0a:f4:01:0", &mac), -EINVAL);
	assert_int_equal(mac_parse("0a-58-0a-f4-01-09", &mac), -EINVAL);
	assert_int_equal(ip_parse("10.244.1.9", &a), 0);
	mac = mac_from_ip(&a);
	assert_string_equal(mac_format(&mac, text), "0a:58:0a:f4:01:09");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ip_parse_accepts_exact_forms_only),
		cmocka_unit_test(test_prefix_parse_refuses_host_bits_and_bad_lengths),
		cmocka_unit_test(test_prefix_covers_only_its_own_family),
		cmocka_unit_test(test_mac_parse_and_pod_mac),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
