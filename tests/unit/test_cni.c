/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cni/conf.h"
#include "cni/portmap.h"
#include "cni/result.h"

static struct cni_args args_of(enum cni_verb verb)
{
	return (struct cni_args){
		.verb = verb, .container = "c1", .ifname = "eth0", .netns = "/n", .path = "/p"
	};
}

/* Code of the error, 0 for none. msg (may be NULL): a part of the message. */
static int parse(enum cni_verb verb, const char *text, const char *msg)
{
	struct cni_args args = args_of(verb);
	struct cni_error err = { 0 };
	struct cni_conf conf;
	int rc = cni_conf_parse(text, strlen(text), &args, &conf, &err);

	if (rc < 0) {
		if (msg != NULL && strstr(err.msg, msg) == NULL)
			fail_msg("'%s' is not in '%s'", msg, err.msg);
		assert_null(conf.json);
		return err.code;
	}
	cni_conf_fini(&conf);
	return 0;
}

#define CONF(rest)                                                                                 \
	"{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"ipam\":{\"type\":\"host-local\"}" rest "}"

static void test_conf_minimal_accepted(void **state)
{
	(void)state;
	assert_int_equal(parse(CNI_ADD, CONF(""), NULL), 0);
	assert_int_equal(parse(CNI_ADD, CONF("") " \n", NULL), 0);
}

static void test_conf_bad_json_code_6(void **state)
{
	static const char *const texts[] = { "", "{", "[]", "7", "{} x", "{\"a\":}", "nul" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(parse(CNI_ADD, texts[i], NULL), CNI_ERR_DECODE);
}

static void test_conf_versions(void **state)
{
	static const char *const good[] = { "0.3.1", "0.4.0", "1.0.0", "1.1.0" };
	static const char *const bad[] = { "0.1.0", "0.3.0", "1.2.0", "2", "", "1.1.0 " };
	char text[256];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		snprintf(text, sizeof(text),
			"{\"cniVersion\":\"%s\",\"name\":\"n\",\"prevResult\":{},"
			"\"cni.dev/valid-attachments\":[],\"ipam\":{\"type\":\"x\"}}",
			good[i]);
		assert_int_equal(parse(CNI_ADD, text, NULL), 0);
		assert_int_equal(parse(CNI_DEL, text, NULL), 0);
		assert_int_equal(parse(CNI_CHECK, text, NULL), i >= 1 ? 0 : CNI_ERR_VERSION);
		assert_int_equal(parse(CNI_GC, text, NULL), i >= 3 ? 0 : CNI_ERR_VERSION);
		assert_int_equal(parse(CNI_STATUS, text, NULL), i >= 3 ? 0 : CNI_ERR_VERSION);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "{\"cniVersion\":\"%s\",\"name\":\"n\"}", bad[i]);
		assert_int_equal(parse(CNI_DEL, text, "incompatible CNI version"), CNI_ERR_VERSION);
	}
	assert_int_equal(parse(CNI_DEL, "{\"name\":\"n\"}", NULL), CNI_ERR_VERSION);
}

static void test_conf_bad_key_code_7_names_it(void **state)
{
	static const struct {
		const char *key, *text;
	} cases[] = {
		{ "name", "{\"cniVersion\":\"1.1.0\"}" },
		{ "name", "{\"cniVersion\":\"1.1.0\",\"name\":\"-a\"}" },
		{ "name", "{\"cniVersion\":\"1.1.0\",\"name\":\"a/b\"}" },
		{ "name", "{\"cniVersion\":\"1.1.0\",\"name\":7}" },
		{ "ipam", "{\"cniVersion\":\"1.1.0\",\"name\":\"n\"}" },
		{ "ipam.type",
			"{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"ipam\":{\"subnet\":\"x\"}}" },
		{ "ipam.type",
			"{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"ipam\":{\"type\":\"../x\"}}" },
		{ "ipam", "{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"ipam\":[]}" },
		{ "instance", CONF(",\"instance\":\"../etc\"") },
		{ "instance", CONF(",\"instance\":\"\"") },
		{ "mode", CONF(",\"mode\":\"bridge\"") },
		{ "mtu", CONF(",\"mtu\":67") },
		{ "mtu", CONF(",\"mtu\":9217") },
		{ "mtu", CONF(",\"mtu\":1500.5") },
		{ "mtu", CONF(",\"mtu\":\"1500\"") },
		{ "mtu", CONF(",\"mtu\":-1") },
		{ "mtu", CONF(",\"mtu\":1e99") },
		{ "zone", CONF(",\"zone\":65536") },
		{ "vhost.role", CONF(",\"vhost\":{\"role\":\"both\"}") },
		{ "vhost.mode", CONF(",\"vhost\":{\"mode\":\"0999\"}") },
		{ "vhost.mode", CONF(",\"vhost\":{\"mode\":\"7777\"}") },
		{ "vhost.uid", CONF(",\"vhost\":{\"uid\":\"root\"}") },
		{ "vhost.gid", CONF(",\"vhost\":{\"gid\":4294967295}") },
		{ "vhost.owner", CONF(",\"vhost\":{\"owner\":1}") },
		{ "vhost", CONF(",\"vhost\":1") },
		{ "dns", CONF(",\"dns\":1") },
		{ "runtimeConfig", CONF(",\"runtimeConfig\":[]") },
		{ "runtimeConfig.ips", CONF(",\"runtimeConfig\":{\"ips\":\"10.0.0.1\"}") },
		{ "runtimeConfig.ips", CONF(",\"runtimeConfig\":{\"ips\":[\"10.0.0.256\"]}") },
		{ "runtimeConfig.ips", CONF(",\"runtimeConfig\":{\"ips\":[\"10.0.0.1/33\"]}") },
		{ "runtimeConfig.mac", CONF(",\"runtimeConfig\":{\"mac\":\"01:00:00:00:00:01\"}") },
		{ "runtimeConfig.mac", CONF(",\"runtimeConfig\":{\"mac\":\"00:00:00:00:00:00\"}") },
		{ "args.cni.mac", CONF(",\"args\":{\"cni\":{\"mac\":\"x\"}}") },
		{ "egressRate", CONF(",\"runtimeConfig\":{\"bandwidth\":{\"egressRate\":-1}}") },
		{ "egressRate", CONF(",\"runtimeConfig\":{\"bandwidth\":{\"egressBurst\":8000}}") },
		{ "ingressBurst",
			CONF(",\"runtimeConfig\":{\"bandwidth\":{\"ingressRate\":8,"
			     "\"ingressBurst\":7}}") },
		{ "CNIDeviceInfoFile", CONF(",\"runtimeConfig\":{\"CNIDeviceInfoFile\":\"rel\"}") },
		{ "portMappings", CONF(",\"runtimeConfig\":{\"portMappings\":{}}") },
		{ "prevResult", CONF(",\"prevResult\":[]") },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(parse(CNI_ADD, cases[i].text, cases[i].key), CNI_ERR_CONFIG);
	assert_int_equal(parse(CNI_CHECK, CONF(""), "prevResult"), CNI_ERR_CONFIG);
	assert_int_equal(parse(CNI_GC, CONF(""), "cni.dev/valid-attachments"), CNI_ERR_CONFIG);
	assert_int_equal(
		parse(CNI_GC, CONF(",\"cni.dev/valid-attachments\":[{\"containerID\":\"a\"}]"),
			NULL),
		CNI_ERR_CONFIG);
	assert_int_equal(parse(CNI_GC, CONF(",\"cni.dev/valid-attachments\":{\"a\":1}"), NULL),
		CNI_ERR_CONFIG);
}

static void test_portmap_endpoint_of_a_service(void **state)
{
	static const struct {
		const char *service, *id;
	} cases[] = {
		{ "hostport:abc:eth0:tcp:80", "abc:eth0" },
		{ "hostport:abc:eth0:sctp:80:2001:db8::1", "abc:eth0" },
		{ "hostport:a:tcp:b:udp:80:192.0.2.1", "a:tcp:b" },
		{ "hostport:abc:eth0", NULL },
		{ "hostport::0123:tcp:80", NULL },
		{ "hostport:tcp:80", NULL },
		{ "hostpor:abc:eth0:tcp:80", NULL },
		{ "", NULL },
	};
	char id[CNI_ID_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(cni_portmap_endpoint(cases[i].service, id), cases[i].id != NULL);
		if (cases[i].id != NULL)
			assert_string_equal(id, cases[i].id);
	}
}

static void test_conf_values_read(void **state)
{
	const char *text = CONF(
		",\"instance\":\"two\",\"mode\":\"vhost-user\",\"mtu\":9000,\"zone\":7,"
		"\"vhost\":{\"role\":\"client\",\"uid\":107,\"gid\":108,\"mode\":\"0600\"},"
		"\"args\":{\"cni\":{\"ips\":[\"10.9.9.9\"],\"mac\":\"0a:00:00:00:00:09\"}},"
		"\"runtimeConfig\":{\"ips\":[\"10.0.0.5/24\",\"fd00::5/"
		"64\"],\"mac\":\"0a:00:00:00:00:05\","
		"\"CNIDeviceInfoFile\":\"/run/x\",\"bandwidth\":{\"ingressRate\":1000000,"
		"\"ingressBurst\":80000,\"egressRate\":2000000,\"egressBurst\":1e19}}");
	struct cni_args args = args_of(CNI_ADD);
	struct cni_error err;
	struct cni_conf conf;

	(void)state;
	strcpy(args.ip, "10.8.8.8");
	assert_int_equal(cni_conf_parse(text, strlen(text), &args, &conf, &err), 0);
	assert_string_equal(conf.instance, "two");
	assert_int_equal(conf.mode, CNI_MODE_VHOST_USER);
	assert_int_equal(conf.mtu, 9000);
	assert_int_equal(conf.zone, 7);
	assert_true(conf.vhost.is_client);
	assert_int_equal(conf.vhost.uid, 107);
	assert_string_equal(conf.vhost.mode, "0600");
	assert_int_equal(conf.n_ips, 2);
	assert_true(conf.ips[1].is_v6);
	assert_int_equal(conf.ips[0].len, 24);
	assert_string_equal(conf.mac, "0a:00:00:00:00:05");
	assert_int_equal(conf.to_pod.rate_bps, 1000000);
	assert_int_equal(conf.to_pod.burst_bytes, 10000);
	assert_int_equal(conf.from_pod.rate_bps, 2000000);
	assert_int_equal(conf.from_pod.burst_bytes, 125000000000ull);
	cni_conf_fini(&conf);
}

static void test_args_from_environment(void **state)
{
	struct cni_error err;
	struct cni_args args;
	enum cni_verb verb;

	(void)state;
	setenv("CNI_COMMAND", "NOPE", 1);
	assert_int_equal(cni_args_verb(&verb, &err), -1);
	assert_int_equal(err.code, CNI_ERR_ENV);
	setenv("CNI_COMMAND", "ADD", 1);
	assert_int_equal(cni_args_verb(&verb, &err), 0);
	setenv("CNI_PATH", "/p", 1);
	setenv("CNI_CONTAINERID", "abc", 1);
	setenv("CNI_IFNAME", "eth0", 1);
	setenv("CNI_NETNS", "/n", 1);
	setenv("CNI_ARGS",
		"IgnoreUnknown=1;K8S_POD_NAME=x;IP=10.0.0.9,fd00::9;MAC=0a:00:00:00:00:01;", 1);
	assert_int_equal(cni_args_read(verb, &args, &err), 0);
	assert_string_equal(args.ip, "10.0.0.9,fd00::9");
	assert_string_equal(args.mac, "0a:00:00:00:00:01");
	assert_string_equal(args.pod, "x");
	assert_string_equal(args.pod_namespace, "");
	setenv("CNI_ARGS", "K8S_POD_UID=x", 1);
	assert_int_equal(cni_args_read(CNI_ADD, &args, &err), -1);
	assert_non_null(strstr(err.msg, "CNI_ARGS"));
	assert_int_equal(cni_args_read(CNI_DEL, &args, &err), 0);
	unsetenv("CNI_ARGS");
	unsetenv("CNI_NETNS");
	assert_int_equal(cni_args_read(CNI_DEL, &args, &err), 0);
	assert_int_equal(cni_args_read(CNI_CHECK, &args, &err), -1);
	assert_non_null(strstr(err.msg, "CNI_NETNS"));
}

static void test_ifname_and_container_id(void **state)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "a:b", "a b", "sixteen-chars-xx",
		"a\tb" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(cni_is_ifname(bad[i]));
	assert_true(cni_is_ifname("fifteen-chars-x"));
	assert_false(cni_is_container_id("-a"));
	assert_false(cni_is_container_id(""));
	assert_false(cni_is_container_id("a/../b"));
	assert_true(cni_is_container_id("a.b_c-D9"));
}

static void test_endpoint_id_unique_and_short(void **state)
{
	char a[CNI_ID_LEN], b[CNI_ID_LEN], longest[301];

	(void)state;
	cni_endpoint_id("abc", "eth0", a);
	assert_string_equal(a, "abc:eth0");
	memset(longest, 'a', 300);
	longest[300] = '\0';
	cni_endpoint_id(longest, "eth0", a);
	cni_endpoint_id(longest, "eth1", b);
	assert_true(strlen(a) <= 127 && strlen(b) <= 127);
	assert_string_not_equal(a, b);
	longest[299] = 'b';
	cni_endpoint_id(longest, "eth0", b);
	assert_string_not_equal(a, b);
	cni_endpoint_id("abc", "eth@0", a);
	assert_null(strchr(a, '@'));
}

static void test_result_forms_by_version(void **state)
{
	struct cni_addr ip, dst;
	cJSON *result;

	(void)state;
	assert_int_equal(cni_addr_parse("10.0.0.5/24", &ip), 0);
	assert_int_equal(cni_addr_parse("0.0.0.0/0", &dst), 0);
	for (int v = 0; v < CNI_VERSION_N; v++) {
		const struct cni_interface iface = { "eth0", "0a:58:0a:00:00:05", "/n", 1400,
			"/s" };
		const cJSON *first_ip, *first_iface;

		result = cni_result_create(NULL, (enum cni_version)v);
		assert_int_equal(cni_result_add_interface(result, (enum cni_version)v, &iface), 0);
		cni_result_add_ip(result, (enum cni_version)v, &ip, 0);
		cni_result_add_route(result, &dst);
		first_ip = cJSON_GetObjectItem(result, "ips")->child;
		first_iface = cJSON_GetObjectItem(result, "interfaces")->child;
		assert_string_equal(cni_json_string(result, "cniVersion"),
			cni_version_name((enum cni_version)v));
		assert_string_equal(cni_json_string(first_ip, "address"), "10.0.0.5/32");
		assert_int_equal(cJSON_HasObjectItem(first_ip, "version"), v < CNI_V1_0_0);
		assert_int_equal(cJSON_HasObjectItem(first_iface, "mtu"), v >= CNI_V1_1_0);
		assert_int_equal(cJSON_HasObjectItem(first_iface, "socketPath"), v >= CNI_V1_1_0);
		assert_int_equal(cni_result_find_interface(result, "eth0"), 0);
		assert_int_equal(cni_result_find_interface(result, "eth1"), -1);
		cJSON_Delete(result);
	}
}

static void test_result_chain_keeps_what_came_before(void **state)
{
	cJSON *prev = cJSON_Parse(
		"{\"cniVersion\":\"1.1.0\",\"interfaces\":[{\"name\":\"lo\",\"sandbox\":\"/n\","
		"\"mtu\":65536}],\"ips\":[{\"address\":\"127.0.0.1/8\",\"interface\":0}],"
		"\"dns\":{\"nameservers\":[\"10.0.0.1\"]},\"vendor\":1}");
	cJSON *dns = cJSON_Parse("{\"domain\":\"x\"}"),
	      *result = cni_result_create(prev, CNI_V0_4_0);
	const struct cni_interface iface = { "eth0", "0a:58:0a:00:00:05", "/n", 1400, NULL };

	(void)state;
	assert_int_equal(cni_result_add_interface(result, CNI_V0_4_0, &iface), 1);
	assert_string_equal(
		cni_json_string(cJSON_GetObjectItem(result, "ips")->child, "version"), "4");
	assert_false(cJSON_HasObjectItem(cJSON_GetObjectItem(result, "interfaces")->child, "mtu"));
	assert_true(cJSON_HasObjectItem(result, "vendor"));
	cni_result_set_dns(result, dns);
	assert_null(cni_json_string(cJSON_GetObjectItem(result, "dns"), "domain"));
	cJSON_Delete(result);
	cJSON_Delete(prev);
	cJSON_Delete(dns);
}

static void test_ipam_result_bad_answers_refused(void **state)
{
	static const char *const texts[] = { "{}", "{\"ips\":[]}",
		"{\"ips\":[{\"address\":\"x\"}]}", "{\"ips\":[{}]}",
		"{\"ips\":[{\"address\":\"10.0.0.1/24\"}],\"routes\":[{\"dst\":\"y\"}]}",
		"{\"ips\":\"10.0.0.1\"}" };
	struct cni_ipam_result result;
	struct cni_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		cJSON *json = cJSON_Parse(texts[i]);

		assert_non_null(json);
		assert_int_equal(cni_ipam_result_parse(json, &result, &err), -1);
		assert_int_equal(err.code, CNI_ERR_IPAM);
		cJSON_Delete(json);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conf_minimal_accepted),
		cmocka_unit_test(test_conf_bad_json_code_6),
		cmocka_unit_test(test_conf_versions),
		cmocka_unit_test(test_conf_bad_key_code_7_names_it),
		cmocka_unit_test(test_portmap_endpoint_of_a_service),
		cmocka_unit_test(test_conf_values_read),
		cmocka_unit_test(test_args_from_environment),
		cmocka_unit_test(test_ifname_and_container_id),
		cmocka_unit_test(test_endpoint_id_unique_and_short),
		cmocka_unit_test(test_result_forms_by_version),
		cmocka_unit_test(test_result_chain_keeps_what_came_before),
		cmocka_unit_test(test_ipam_result_bad_answers_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
