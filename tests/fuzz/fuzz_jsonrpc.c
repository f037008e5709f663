/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a client sends to leatd's control socket, through the parser and decoder that leatd uses: one line, or, when it
 * begins with '=', "METHOD FIELD=TEXT" as leatctl takes it from a command line. Beyond the sanitizers: every refusal has
 * a code and a sentence, and what was accepted is accepted again in all forms in which leatd writes it down.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/client/req.h"
#include "control/jsonrpc.h"
#include "tests/fuzz/fuzz.h"

#define KEY_MAX 256

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void check_refusal(int rc, const struct leat_error *err)
{
	must(err->code == rc && err->reason[0] != '\0');
	must(memchr(err->reason, '\0', sizeof(err->reason)) != NULL);
	must(memchr(err->field, '\0', sizeof(err->field)) != NULL);
}

/* The params as the journal keeps them: decoded to the same key. params is taken. */
static void check_again(const struct method *method, cJSON *params, const char *key)
{
	char *text = cJSON_PrintUnformatted(params), other[KEY_MAX];
	cJSON *again = cJSON_Parse(text);
	struct schema_req req;
	struct leat_error err;

	must(again != NULL && schema_decode(method, again, &req, &err) == 0);
	if (key != NULL)
		must(schema_key(method, req.data, other, sizeof(other)) == 0 &&
			strcmp(key, other) == 0);
	schema_req_fini(&req);
	cJSON_Delete(again);
	cJSON_Delete(params);
	cJSON_free(text);
}

static void use(const struct method *method, const cJSON *params, const struct schema_req *req)
{
	cJSON *empty = params == NULL ? cJSON_CreateObject() : NULL;
	char key[KEY_MAX];

	if (params == NULL)
		params = empty;
	check_again(method, cJSON_Duplicate(params, true), NULL);
	if (method->flags & (METHOD_SETS | METHOD_REMOVES)) {
		must(schema_key(method, req->data, key, sizeof(key)) == 0);
		check_again(method, schema_object_params(method, params), key);
		if (method->inverse != NULL)
			check_again(schema_method(method->inverse),
				schema_key_params(method, params), key);
	}
	cJSON_Delete(empty);
}

static void use_transaction(const struct schema_req *req)
{
	const struct req_txn *txn = req->data;
	const cJSON *const *calls = txn->calls.items;

	for (uint32_t i = 0; i < txn->calls.len; i++) {
		cJSON *call = cJSON_Duplicate(calls[i], true);
		struct leat_error err = { 0 };
		struct rpc_request rpc;
		int rc = rpc_parse_call(call, &rpc, &err);

		if (rc != 0)
			check_refusal(rc, &err);
		else
			use(rpc.method, rpc.params, &rpc.req);
		rpc_request_fini(&rpc);
		cJSON_Delete(call);
	}
}

static void fuzz_line(const char *line, size_t len)
{
	struct leat_error err = { 0 };
	struct rpc_request rpc;
	int rc = rpc_parse(line, len, &rpc, &err);
	char *answer;
	size_t answer_len;

	if (rc != 0) {
		check_refusal(rc, &err);
		answer = rpc_format_error(rpc.id, &err, &answer_len);
	} else {
		use(rpc.method, rpc.params, &rpc.req);
		if (rpc.method == schema_method("txn.add"))
			use_transaction(&rpc.req);
		answer = rpc_format_result(rpc.id, rpc.params, &answer_len);
	}
	/* An answer is one line, whatever was asked. */
	if (answer != NULL) {
		must(answer_len == strlen(answer) &&
			memchr(answer, '\n', answer_len) == answer + answer_len - 1);
		cJSON_free(answer);
	}
	must(rc == 0 || answer != NULL);
	rpc_request_fini(&rpc);
}

static void fuzz_text(char *text)
{
	char *name = strsep(&text, " "), *field_name = strsep(&text, "=");
	const struct method *method = schema_method(name);
	const struct field *field;
	struct leat_error err = { 0 };
	struct schema_req req;
	cJSON *value, *params;

	if (method == NULL || field_name == NULL || text == NULL)
		return;
	for (field = method->fields; field->name != NULL; field++)
		if (strcmp(field->name, field_name) == 0)
			break;
	if (field->name == NULL)
		return;
	value = schema_value_from_text(field, text, &err);
	if (value == NULL) {
		must(err.code == LEAT_ERR_PARAMS && err.reason[0] != '\0');
		return;
	}
	params = cJSON_CreateObject();
	cJSON_AddItemToObject(params, field->name, value);
	if (schema_decode(method, params, &req, &err) != 0)
		check_refusal(err.code, &err);
	schema_req_fini(&req);
	cJSON_Delete(params);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Exactly as long as the input: rpc_parse() gets no terminator. */
	char *line = malloc(size + 1);

	if (size > 0 && data[0] == '=') {
		memcpy(line, data + 1, size - 1);
		line[size - 1] = '\0';
		fuzz_text(line);
	} else {
		memcpy(line + 1, data, size);
		fuzz_line(line + 1, size);
	}
	free(line);
	return 0;
}
