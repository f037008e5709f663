/* SPDX-License-Identifier: BSD-3-Clause */
/* config.dump */
#include <inttypes.h>
#include <stdio.h>

#include "control/api/api.h"
#include "control/state.h"

static void handle_dump(struct call *call)
{
	const struct req_page *req = call_req(call);
	cJSON *result, *calls;
	struct store_item *item;
	unsigned int class = OBJECT_NONE;
	uint64_t seq = 0;
	int64_t left = req->limit;

	if (req->cursor != NULL && sscanf(req->cursor, "%u.%" SCNu64, &class, &seq) != 2) {
		call_fail(call, LEAT_ERR_PARAMS, "cursor",
			"cursor must be the \"next\" of the answer before");
		return;
	}
	result = cJSON_CreateObject();
	calls = cJSON_AddArrayToObject(result, "calls");
	while ((item = store_next(state_store(), class, seq)) != NULL) {
		cJSON *json;

		if (left-- == 0) {
			char cursor[48];

			snprintf(cursor, sizeof(cursor), "%u.%" PRIu64, class, seq);
			cJSON_AddStringToObject(result, "next", cursor);
			break;
		}
		class = item->method->class;
		seq = item->seq;
		json = cJSON_CreateObject();
		cJSON_AddStringToObject(json, "method", item->method->name);
		cJSON_AddRawToObject(json, "params", item->params);
		cJSON_AddItemToArray(calls, json);
	}
	call_ok(call, result);
}

const struct api_handler api_config[] = {
	{ "config.dump", handle_dump },
	API_HANDLERS_END,
};
