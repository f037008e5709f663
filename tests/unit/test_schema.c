/* SPDX-License-Identifier: BSD-3-Clause */
/* Decoding by the field tables, on a table of this test and on those of the API. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/client/req.h"
#include "control/jsonrpc.h"

struct inner {
	int64_t n;
	const char *mode;
};

struct outer {
	const char *name, *path, *text;
	int64_t number, small;
	bool is_on;
	int choice;
	struct schema_ip ip;
	struct schema_prefix prefix;
	struct schema_mac mac;
	struct schema_list names, objects;
	struct inner inner;
	bool exist_ok;
};

static const char *const choices[] = { "red", "green", "blue", NULL };

static const struct field inner_fields[] = {
	F_INT(inner, n, FIELD_REQUIRED, NULL, 1, 9, 0, "n"),
	F_TEXT(inner, mode, FIELD_STRING, 0, "mode"),
	F_END,
};

static const struct field fields[] = {
	F_TEXT(outer, name, FIELD_NAME, FIELD_REQUIRED | FIELD_KEY, "name"),
	F_TEXT(outer, path, FIELD_PATH, 0, "path"),
	{ F_BASE(outer, text, "text", FIELD_STRING, 0, NULL, "text"), .max = 5 },
	F_INT(outer, number, 0, NULL, -9007199254740991ll, 9007199254740991ll, 42, "number"),
	F_INT(outer, small, FIELD_KEY, NULL, -1, 10, 3, "small"),
	{ F_BASE(outer, is_on, "is_on", FIELD_BOOL, 0, NULL, "switch"), .def = 1 },
	F_ENUM(outer, choice, 0, choices, 1, "colour"),
	F_TEXT(outer, ip, FIELD_IP, 0, "ip"),
	F_TEXT(outer, prefix, FIELD_PREFIX, 0, "prefix"),
	F_TEXT(outer, mac, FIELD_MAC, 0, "mac"),
	F_LIST(outer, names, FIELD_NAME, const char *, 0, 3, "names"),
	{ .name = "objects",
		.type = FIELD_OBJECT,
		.flags = FIELD_LIST,
		.offset = offsetof(struct outer, objects),
		.size = sizeof(struct inner),
		.help = "objects",
		.fields = inner_fields },
	F_OBJECT(outer, inner, 0, inner_fields, "inner"),
	F_SWITCH(outer, exist_ok, "flag"),
	F_END,
};

static const struct method method = { "test.add", "help", fields, sizeof(struct outer), METHOD_SETS,
	OBJECT_ROUTE, NULL };

static struct {
	cJSON *params;
	struct schema_req req;
	struct leat_error err;
} now;

static int forget(void **state)
{
	(void)state;
	schema_req_fini(&now.req);
	cJSON_Delete(now.params);
	memset(&now, 0, sizeof(now));
	return 0;
}

static const struct outer *good(const char *json)
{
	forget(NULL);
	now.params = cJSON_Parse(json);
	assert_non_null(now.params);
	if (schema_decode(&method, now.params, &now.req, &now.err) != 0)
		fail_msg("%s refused: %s", json, now.err.reason);
	return now.req.data;
}

/* Refused with the field named, and the field's name in the sentence. */
static void bad(const char *json, const char *field)
{
	forget(NULL);
	now.params = cJSON_Parse(json);
	assert_non_null(now.params);
	if (schema_decode(&method, now.params, &now.req, &now.err) == 0)
		fail_msg("%s accepted", json);
	assert_int_equal(now.err.code, LEAT_ERR_PARAMS);
	assert_string_equal(now.err.field, field);
	assert_ptr_equal(strstr(now.err.reason, field), now.err.reason);
}

#define WITH(rest) "{\"name\":\"a\"," rest "}"

static void test_defaults(void **state)
{
	const struct outer *o = good("{\"name\":\"a\"}");

	(void)state;
	assert_string_equal(o->name, "a");
	assert_null(o->path);
	assert_null(o->text);
	assert_int_equal(o->number, 42);
	assert_int_equal(o->small, 3);
	assert_true(o->is_on);
	assert_int_equal(o->choice, 1);
	assert_false(o->ip.is_set || o->prefix.is_set || o->mac.is_set || o->exist_ok);
	assert_int_equal(o->names.len, 0);
	assert_int_equal(o->inner.n, 0);
	/* null is as good as absent */
	o = good(WITH("\"number\":null,\"inner\":null,\"names\":null,\"choice\":null"));
	assert_int_equal(o->number, 42);
	assert_int_equal(o->choice, 1);
}

static void test_required(void **state)
{
	(void)state;
	bad("{}", "name");
	bad("{\"name\":null}", "name");
	bad(WITH("\"inner\":{}"), "inner.n");
	bad(WITH("\"objects\":[{\"n\":1},{}]"), "objects[1].n");
	forget(NULL);
	assert_int_equal(schema_decode(&method, NULL, &now.req, &now.err), LEAT_ERR_PARAMS);
	assert_string_equal(now.err.field, "name");
}

static void test_params_must_be_an_object(void **state)
{
	static const char *const texts[] = { "[]", "7", "\"x\"", "null", "true" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		forget(NULL);
		now.params = cJSON_Parse(texts[i]);
		assert_int_equal(
			schema_decode(&method, now.params, &now.req, &now.err), LEAT_ERR_PARAMS);
	}
}

static void test_unknown_and_twice(void **state)
{
	(void)state;
	bad(WITH("\"label\":\"b\""), "label");
	bad(WITH("\"Name\":\"b\""), "Name");
	bad(WITH("\"\":1"), "");
	bad(WITH("\"name\":\"b\""), "name");
	bad(WITH("\"inner\":{\"n\":1,\"m\":1}"), "inner.m");
	bad(WITH("\"inner\":{\"n\":1,\"n\":1}"), "inner.n");
}

static void test_long_unknown_name_is_cut(void **state)
{
	char json[700], name[600];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	snprintf(json, sizeof(json), "{\"name\":\"a\",\"%s\":1}", name);
	forget(NULL);
	now.params = cJSON_Parse(json);
	assert_int_equal(schema_decode(&method, now.params, &now.req, &now.err), LEAT_ERR_PARAMS);
	assert_true(strlen(now.err.field) >= 32 &&
		strncmp(now.err.field, name, strlen(now.err.field)) == 0);
}

static void test_wrong_types(void **state)
{
	static const char *const names[] = { "name", "path", "text", "number", "small", "is_on",
		"choice", "ip", "prefix", "mac", "names", "objects", "inner", "exist_ok" };
	/* What no field of the table takes: it takes one type each. */
	static const struct {
		const char *value, *fits;
	} values[] = {
		{ "1", "number small" },
		{ "true", "is_on exist_ok" },
		{ "\"a\"", "name text" },
		{ "[]", "names objects" },
		{ "[[]]", "names objects" },
		{ "{\"n\":1}", "inner" },
	};
	char json[200];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
			bool is_name = strcmp(names[i], "name") == 0;

			if (strstr(values[v].fits, names[i]) != NULL)
				continue;
			snprintf(json, sizeof(json), "{%s\"%s\":%s}",
				is_name ? "" : "\"name\":\"a\",", names[i], values[v].value);
			bad(json, names[i]);
		}
	}
	bad(WITH("\"objects\":[1]"), "objects[0]");
	bad(WITH("\"objects\":[[]]"), "objects[0]");
	bad(WITH("\"names\":[[]]"), "names[0]");
	bad(WITH("\"names\":[\"a\",1]"), "names[1]");
	bad(WITH("\"names\":[null]"), "names[0]");
}

static void test_numbers(void **state)
{
	(void)state;
	assert_int_equal(good(WITH("\"number\":9007199254740991"))->number, 9007199254740991ll);
	assert_int_equal(good(WITH("\"number\":-9007199254740991"))->number, -9007199254740991ll);
	assert_int_equal(good(WITH("\"number\":1e3"))->number, 1000);
	assert_int_equal(good(WITH("\"small\":-1"))->small, -1);
	assert_int_equal(good(WITH("\"small\":10"))->small, 10);
	bad(WITH("\"small\":11"), "small");
	bad(WITH("\"small\":-2"), "small");
	bad(WITH("\"small\":0.5"), "small");
	bad(WITH("\"number\":1e400"), "number");
	bad(WITH("\"number\":-1e400"), "number");
	bad(WITH("\"number\":9007199254740994"), "number");
	bad(WITH("\"number\":18446744073709551616"), "number");
}

static void test_strings(void **state)
{
	char json[5000], text[4200];

	(void)state;
	assert_string_equal(good(WITH("\"text\":\"12345\""))->text, "12345");
	assert_string_equal(good(WITH("\"text\":\"\""))->text, "");
	bad(WITH("\"text\":\"123456\""), "text");
	for (size_t len = 62; len <= 65; len++) {
		memset(text, 'n', len);
		text[len] = '\0';
		snprintf(json, sizeof(json), "{\"name\":\"%s\"}", text);
		if (len <= 63)
			good(json);
		else
			bad(json, "name");
	}
	assert_string_equal(good("{\"name\":\"A-z.0_9:x\"}")->name, "A-z.0_9:x");
	bad("{\"name\":\"\"}", "name");
	bad("{\"name\":\".a\"}", "name");
	bad("{\"name\":\"-a\"}", "name");
	bad("{\"name\":\"a/b\"}", "name");
	bad("{\"name\":\"a b\"}", "name");
	bad("{\"name\":\"\xc3\xa9\"}", "name");
	bad(WITH("\"path\":\"run/x\""), "path");
	bad(WITH("\"path\":\"\""), "path");
	memset(text, 'p', 4096);
	text[0] = '/';
	text[4096] = '\0';
	snprintf(json, sizeof(json), "{\"name\":\"a\",\"path\":\"%s\"}", text);
	bad(json, "path");
	text[4095] = '\0';
	snprintf(json, sizeof(json), "{\"name\":\"a\",\"path\":\"%s\"}", text);
	assert_int_equal(strlen(good(json)->path), 4095);
}

static void test_choices(void **state)
{
	(void)state;
	assert_int_equal(good(WITH("\"choice\":\"red\""))->choice, 0);
	assert_int_equal(good(WITH("\"choice\":\"blue\""))->choice, 2);
	bad(WITH("\"choice\":\"Red\""), "choice");
	assert_non_null(strstr(now.err.reason, "red, green, blue"));
	bad(WITH("\"choice\":\"\""), "choice");
}

static void test_addresses(void **state)
{
	static const char *const bad_ips[] = { "", "10.0.0", "10.0.0.256", "010.0.0.1",
		"10.0.0.1/32", " 10.0.0.1", "10.0.0.1 ", ":::", "::ffff:10.0.0.1", "fe80::1%eth0",
		"host" };
	static const char *const bad_prefixes[] = { "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/",
		"10.0.0.0/08", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/ 8", "10.0.0.0/8x",
		"2001:db8::1/64", "::/129", "10.0.0.0/99999999999999999999", "/8" };
	static const char *const bad_macs[] = { "", "02:00:00:00:00", "02:00:00:00:00:0g",
		"02-00-00-00-00-01", "02:00:00:00:00:01:", "2:0:0:0:0:1", " 2:00:00:00:00:01" };
	const struct outer *o;
	char json[200];

	(void)state;
	o = good(WITH(
		"\"ip\":\"10.1.2.3\",\"prefix\":\"10.0.0.0/8\",\"mac\":\"02:00:00:0A:00:01\""));
	assert_true(o->ip.is_set && o->prefix.is_set && o->mac.is_set);
	assert_memory_equal(o->ip.b, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\1\2\3", 16);
	assert_int_equal(o->prefix.len, 8);
	assert_memory_equal(o->mac.b, "\2\0\0\x0a\0\1", 6);
	assert_int_equal(good(WITH("\"prefix\":\"10.0.0.7\""))->prefix.len, 32);
	assert_int_equal(good(WITH("\"prefix\":\"0.0.0.0/0\""))->prefix.len, 0);
	assert_int_equal(good(WITH("\"prefix\":\"2001:db8::1\""))->prefix.len, 128);
	assert_int_equal(good(WITH("\"prefix\":\"::/0\""))->prefix.len, 0);
	for (size_t i = 0; i < sizeof(bad_ips) / sizeof(bad_ips[0]); i++) {
		snprintf(json, sizeof(json), WITH("\"ip\":\"%s\""), bad_ips[i]);
		bad(json, "ip");
	}
	for (size_t i = 0; i < sizeof(bad_prefixes) / sizeof(bad_prefixes[0]); i++) {
		snprintf(json, sizeof(json), WITH("\"prefix\":\"%s\""), bad_prefixes[i]);
		bad(json, "prefix");
	}
	for (size_t i = 0; i < sizeof(bad_macs) / sizeof(bad_macs[0]); i++) {
		snprintf(json, sizeof(json), WITH("\"mac\":\"%s\""), bad_macs[i]);
		bad(json, "mac");
	}
}

static void test_lists_and_objects(void **state)
{
	const struct outer *o = good(WITH(
		"\"names\":[\"x\",\"y\",\"z\"],\"objects\":[{\"n\":1},{\"n\":2,\"mode\":\"m\"}],"
		"\"inner\":{\"n\":9}"));
	const char *const *names = o->names.items;
	const struct inner *objects = o->objects.items;
	char json[600];
	size_t used;

	(void)state;
	assert_int_equal(o->names.len, 3);
	assert_string_equal(names[2], "z");
	assert_int_equal(o->objects.len, 2);
	assert_int_equal(objects[0].n, 1);
	assert_null(objects[0].mode);
	assert_string_equal(objects[1].mode, "m");
	assert_int_equal(o->inner.n, 9);
	bad(WITH("\"names\":[\"x\",\"y\",\"z\",\"w\"]"), "names");
	bad(WITH("\"names\":\"x\""), "names");
	bad(WITH("\"inner\":{\"n\":10}"), "inner.n");
	/* a list without a limit of its own has 64 */
	for (int n = 64; n <= 65; n++) {
		used = (size_t)snprintf(
			json, sizeof(json), "{\"name\":\"a\",\"objects\":[{\"n\":1}");
		for (int i = 1; i < n; i++)
			used += (size_t)snprintf(json + used, sizeof(json) - used, ",{\"n\":1}");
		snprintf(json + used, sizeof(json) - used, "]}");
		assert_true(strlen(json) < sizeof(json) - 1);
		if (n == 64)
			assert_int_equal(good(json)->objects.len, 64);
		else
			bad(json, "objects");
	}
}

static void test_key_and_copies(void **state)
{
	const struct outer *o = good(WITH("\"small\":5,\"text\":\"t\",\"exist_ok\":true"));
	cJSON *copy;
	char key[64];

	(void)state;
	assert_int_equal(schema_key(&method, o, key, sizeof(key)), 0);
	assert_string_equal(key, "route a 5");
	for (size_t size = 1; size < sizeof("route a 5"); size++)
		assert_int_equal(schema_key(&method, o, key, size), -1);
	copy = schema_object_params(&method, now.params);
	assert_null(cJSON_GetObjectItem(copy, "exist_ok"));
	assert_non_null(cJSON_GetObjectItem(copy, "text"));
	cJSON_Delete(copy);
	copy = schema_key_params(&method, now.params);
	assert_int_equal(cJSON_GetArraySize(copy), 2);
	cJSON_Delete(copy);
}

/* One object, one key: other spellings of an address are the same object. */
static void test_key_is_canonical(void **state)
{
	static const struct {
		const char *method, *params, *key;
	} cases[] = {
		{ "route.add", "{\"prefix\":\"2001:DB8:0:0::/32\"}", "route 2001:db8::/32 0" },
		{ "route.del", "{\"prefix\":\"2001:db8::/32\",\"zone\":0}",
			"route 2001:db8::/32 0" },
		{ "route.add", "{\"prefix\":\"10.0.0.1\",\"zone\":4}", "route 10.0.0.1/32 4" },
		{ "neigh.add",
			"{\"port\":\"p\",\"address\":\"FE80:0::1\",\"mac\":\"02:00:00:00:00:01\"}",
			"neigh p fe80::1" },
	};
	char key[256];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct method *m = schema_method(cases[i].method);

		forget(NULL);
		now.params = cJSON_Parse(cases[i].params);
		assert_int_equal(schema_decode(m, now.params, &now.req, &now.err), 0);
		assert_int_equal(schema_key(m, now.req.data, key, sizeof(key)), 0);
		assert_string_equal(key, cases[i].key);
	}
}

static void test_tables_are_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < schema_n_methods; i++) {
		const struct method *m = schema_methods[i];

		assert_ptr_equal(schema_method(m->name), m);
		if (m->flags & METHOD_SETS) {
			assert_non_null(m->inverse);
			assert_non_null(schema_method(m->inverse));
			assert_int_equal(schema_method(m->inverse)->class, m->class);
		}
		for (const struct field *f = m->fields; f->name != NULL; f++) {
			assert_true(f->offset +
					(f->flags & FIELD_LIST ? sizeof(struct schema_list)
							       : f->size) <=
				m->req_size);
			assert_non_null(f->help);
			assert_true((f->type == FIELD_ENUM) == (f->values != NULL));
			assert_true((f->type == FIELD_OBJECT) == (f->fields != NULL));
			if (f->type == FIELD_INT && !(f->flags & FIELD_REQUIRED))
				assert_true(f->min <= f->def && f->def <= f->max);
		}
	}
	assert_null(schema_method("route"));
	assert_null(schema_method(""));
}

static const struct field *field_named(const char *name)
{
	const struct field *field = fields;

	while (strcmp(field->name, name) != 0)
		field++;
	return field;
}

/* The value as JSON text, or NULL if it was refused. Caller frees. */
static char *from_text(const char *name, const char *text)
{
	cJSON *value = schema_value_from_text(field_named(name), text, &now.err);
	char *json = value != NULL ? cJSON_PrintUnformatted(value) : NULL;

	if (value == NULL)
		assert_string_equal(now.err.field, name);
	cJSON_Delete(value);
	return json;
}

static void test_value_from_text(void **state)
{
	static const struct {
		const char *field, *text, *json;
	} cases[] = {
		{ "name", "a=b", "\"a=b\"" },
		{ "number", "-12", "-12" },
		{ "number", "", NULL },
		{ "number", "12x", NULL },
		{ "number", "0x10", NULL },
		{ "is_on", "yes", "true" },
		{ "is_on", "0", "false" },
		{ "is_on", "maybe", NULL },
		{ "choice", "red", "\"red\"" },
		{ "names", "a,b", "[\"a\",\"b\"]" },
		{ "names", "", "[]" },
		{ "names", "[\"a\"]", "[\"a\"]" },
		{ "names", "[\"a\"", NULL },
		{ "inner", "{\"n\":1}", "{\"n\":1}" },
		{ "inner", "{", NULL },
		{ "objects", "[{\"n\":1}]", "[{\"n\":1}]" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *json = from_text(cases[i].field, cases[i].text);

		if (cases[i].json == NULL && json != NULL)
			fail_msg("%s=%s accepted", cases[i].field, cases[i].text);
		if (cases[i].json != NULL) {
			assert_non_null(json);
			assert_string_equal(json, cases[i].json);
		}
		cJSON_free(json);
	}
}

static int parse_line(const char *line, char *out_id, size_t size)
{
	struct rpc_request rpc;
	struct leat_error err = { 0 };
	int rc = rpc_parse(line, strlen(line), &rpc, &err);
	char *answer;
	size_t len;

	answer = rc == 0 ? rpc_format_result(rpc.id, NULL, &len)
			 : rpc_format_error(rpc.id, &err, &len);
	if (rc == 0) /* without a result there is no line */
		assert_null(answer);
	else
		assert_non_null(answer);
	if (rpc.id != NULL)
		cJSON_PrintPreallocated(rpc.id, out_id, (int)size, false);
	else
		snprintf(out_id, size, "none");
	if (answer != NULL)
		assert_int_equal(answer[len - 1], '\n');
	cJSON_free(answer);
	rpc_request_fini(&rpc);
	return rc;
}

static void test_request_lines(void **state)
{
	static const struct {
		const char *line;
		int rc;
		const char *id;
	} cases[] = {
		{ "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"sys.status\"}", 0, "7" },
		{ "{\"id\":\"x\",\"method\":\"sys.status\",\"params\":{}} \t\r", 0, "\"x\"" },
		{ "{\"method\":\"sys.status\"}", 0, "none" },
		{ "", LEAT_ERR_PARSE, "none" },
		{ "{", LEAT_ERR_PARSE, "none" },
		{ "{} {}", LEAT_ERR_PARSE, "none" },
		{ "{\"id\":1,\"method\":\"sys.hello\",\"params\":{\"client\":\"a\\u0000b\"}}",
			LEAT_ERR_PARSE, "none" },
		{ "[]", LEAT_ERR_REQUEST, "none" },
		{ "7", LEAT_ERR_REQUEST, "none" },
		{ "{\"id\":1}", LEAT_ERR_REQUEST, "1" },
		{ "{\"id\":1,\"method\":7}", LEAT_ERR_REQUEST, "1" },
		{ "{\"id\":{},\"method\":\"sys.status\"}", LEAT_ERR_REQUEST, "none" },
		{ "{\"id\":1,\"method\":\"sys.fly\"}", LEAT_ERR_METHOD, "1" },
		{ "{\"id\":1,\"method\":\"sys.status\",\"params\":[]}", LEAT_ERR_PARAMS, "1" },
		{ "{\"id\":1,\"method\":\"sys.status\",\"params\":{\"x\":1}}", LEAT_ERR_PARAMS,
			"1" },
	};
	char id[64];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int rc = parse_line(cases[i].line, id, sizeof(id));

		if (rc != cases[i].rc)
			fail_msg("%s: %d", cases[i].line, rc);
		assert_string_equal(id, cases[i].id);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_defaults, forget),
		cmocka_unit_test_teardown(test_required, forget),
		cmocka_unit_test_teardown(test_params_must_be_an_object, forget),
		cmocka_unit_test_teardown(test_unknown_and_twice, forget),
		cmocka_unit_test_teardown(test_long_unknown_name_is_cut, forget),
		cmocka_unit_test_teardown(test_wrong_types, forget),
		cmocka_unit_test_teardown(test_numbers, forget),
		cmocka_unit_test_teardown(test_strings, forget),
		cmocka_unit_test_teardown(test_choices, forget),
		cmocka_unit_test_teardown(test_addresses, forget),
		cmocka_unit_test_teardown(test_lists_and_objects, forget),
		cmocka_unit_test_teardown(test_key_and_copies, forget),
		cmocka_unit_test_teardown(test_key_is_canonical, forget),
		cmocka_unit_test(test_tables_are_sound),
		cmocka_unit_test(test_value_from_text),
		cmocka_unit_test(test_request_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
