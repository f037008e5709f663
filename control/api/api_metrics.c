/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics.text */
#include "control/api/api.h"
#include "control/metrics.h"

static void handle_text(struct call *call)
{
	struct evbuffer *text = evbuffer_new();
	cJSON *result = cJSON_CreateObject();

	metrics_write(text, METRICS_OPENMETRICS);
	evbuffer_add(text, "", 1);
	cJSON_AddStringToObject(result, "text", (const char *)evbuffer_pullup(text, -1));
	evbuffer_free(text);
	call_ok(call, result);
}

const struct api_handler api_metrics[] = {
	{ "metrics.text", handle_text },
	API_HANDLERS_END,
};
