/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/client/leat_client.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_MAX 512u /* calls in one txn.add: far below the limit of a line */

static int txn_call(struct leat_client *client, const char *method, const char *txn, cJSON *calls,
	cJSON **out_result, struct leat_error *err)
{
	cJSON *params = cJSON_CreateObject();
	int rc;

	if (txn != NULL)
		cJSON_AddStringToObject(params, "txn", txn);
	if (calls != NULL)
		cJSON_AddItemToObject(params, "calls", calls);
	rc = leat_call(client, method, params, out_result, err);
	cJSON_Delete(params);
	return rc;
}

static int add_all(
	struct leat_client *client, const char *txn, const cJSON *calls, struct leat_error *err)
{
	const cJSON *call = calls->child;

	while (call != NULL) {
		cJSON *chunk = cJSON_CreateArray();
		size_t bytes = 0;
		int rc;

		for (unsigned int n = 0; call != NULL && n < CHUNK_MAX && bytes < LEAT_LINE_MAX / 2;
			n++) {
			char *text = cJSON_PrintUnformatted(call);

			bytes += text != NULL ? strlen(text) : 0;
			cJSON_AddItemToArray(chunk, cJSON_CreateRaw(text != NULL ? text : "null"));
			free(text);
			call = call->next;
		}
		rc = txn_call(client, "txn.add", txn, chunk, NULL, err);
		if (rc != 0)
			return rc;
	}
	return 0;
}

int leat_txn(struct leat_client *client, const cJSON *calls, struct leat_error *err)
{
	cJSON *result = NULL;
	char *txn = NULL;
	int rc;

	rc = txn_call(client, "txn.begin", NULL, NULL, &result, err);
	if (rc != 0)
		return rc;
	txn = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(result, "txn"));
	rc = add_all(client, txn, calls, err);
	if (rc == 0)
		rc = txn_call(client, "txn.commit", txn, NULL, NULL, err);
	else if (rc != LEAT_ERR_TRANSPORT)
		txn_call(client, "txn.abort", txn, NULL, NULL, NULL);
	cJSON_Delete(result);
	return rc;
}
