/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "control/client/req.h"
#include "control/jsonrpc.h"

static int parse(const char *line, struct rpc_request *req, struct leat_error *err)
{
	memset(err, 0, sizeof(*err));
	return rpc_parse(line, strlen(line), req, err);
}

static void test_rpc_parse_decodes_params_and_keeps_the_id(void **state)
{
	struct rpc_request req;
	struct leat_error err;
	const struct req_log *log;

	(void)state;
	assert_int_equal(parse("{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"sys.log\","
			       "\"params\":{\"level\":\"debug\"}} ",
				 &req, &err),
		0);
	assert_string_equal(req.method->name, "sys.log");
	assert_string_equal(cJSON_GetStringValue(req.id), "x");
	log = req.req.data;
	assert_int_equal(log->level, 3);
	rpc_request_fini(&req);
}

static void test_rpc_parse_gives_the_code_for_each_mistake(void **state)
{
	static const struct {
		const char *line;
		int code;
	} rows[] = {
		{ "", LEAT_ERR_PARSE },
		{ "{", LEAT_ERR_PARSE },
		{ "{}{}", LEAT_ERR_PARSE },
		{ "[]", LEAT_ERR_REQUEST },
		{ "null", LEAT_ERR_REQUEST },
		{ "{}", LEAT_ERR_REQUEST },
		{ "{\"id\":[],\"method\":\"sys.hello\"}", LEAT_ERR_REQUEST },
		{ "{\"id\":1,\"method\":{}}", LEAT_ERR_REQUEST },
		{ "{\"id\":1,\"method\":\"sys.goodbye\"}", LEAT_ERR_METHOD },
		{ "{\"id\":1,\"method\":\"sys.log\"}", LEAT_ERR_PARAMS },
		{ "{\"id\":1,\"method\":\"sys.log\",\"params\":7}", LEAT_ERR_PARAMS },
		{ "{\"id\":1,\"method\":\"sys.hello\",\"params\":{\"client\":\"\\u0000\"}}",
			LEAT_ERR_PARSE },
	};
	struct rpc_request req;
	struct leat_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(parse(rows[i].line, &req, &err), rows[i].code);
		assert_int_equal(err.code, rows[i].code);
		assert_true(err.reason[0] != '\0');
		rpc_request_fini(&req);
	}
}

static void test_rpc_parse_call_refuses_more_than_method_and_params(void **state)
{
	cJSON *call = cJSON_Parse("{\"method\":\"zone.add\",\"params\":{\"id\":7},\"id\":1}");
	struct rpc_request req;
	struct leat_error err;

	(void)state;
	assert_int_equal(rpc_parse_call(call, &req, &err), LEAT_ERR_PARAMS);
	rpc_request_fini(&req);
	cJSON_DeleteItemFromObject(call, "id");
	assert_int_equal(rpc_parse_call(call, &req, &err), 0);
	assert_int_equal(((const struct req_zone *)req.req.data)->id, 7);
	rpc_request_fini(&req);
	cJSON_Delete(call);
}

static void test_rpc_format_writes_one_line_each(void **state)
{
	struct leat_error err;
	cJSON *id = cJSON_CreateNumber(5), *result = cJSON_Parse("{\"a\":\"b\\nc\"}");
	size_t len;
	char *line;

	(void)state;
	line = rpc_format_result(id, result, &len);
	assert_string_equal(line, "{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{\"a\":\"b\\nc\"}}\n");
	assert_int_equal(len, strlen(line));
	free(line);
	schema_error(&err, LEAT_ERR_BUSY, "name", "it is used");
	line = rpc_format_error(NULL, &err, &len);
	assert_string_equal(line,
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":4,\"message\":\"busy\","
		"\"data\":{\"field\":\"name\",\"reason\":\"it is used\"}}}\n");
	free(line);
	line = rpc_format_event(result, &len);
	assert_non_null(strstr(line, "\"method\":\"event\""));
	assert_int_equal(memchr(line, '\n', len) - (void *)line, len - 1);
	free(line);
	cJSON_Delete(id);
	cJSON_Delete(result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rpc_parse_decodes_params_and_keeps_the_id),
		cmocka_unit_test(test_rpc_parse_gives_the_code_for_each_mistake),
		cmocka_unit_test(test_rpc_parse_call_refuses_more_than_method_and_params),
		cmocka_unit_test(test_rpc_format_writes_one_line_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
