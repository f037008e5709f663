/* SPDX-License-Identifier: BSD-3-Clause */
/* trace: start, look again until it is done, show. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "control/ctl/ctl.h"

#define LOOK_MS 100

const char *ctl_take_option(int *argc, char **argv, const char *name)
{
	size_t len = strlen(name);

	for (int i = 0; i < *argc; i++) {
		if (strncmp(argv[i], name, len) == 0 && argv[i][len] == '=') {
			const char *value = argv[i] + len + 1;

			memmove(&argv[i], &argv[i + 1], (size_t)(*argc - i - 1) * sizeof(*argv));
			(*argc)--;
			return value;
		}
	}
	return NULL;
}

void ctl_wait_ms(long ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

static void trace_print(const cJSON *result)
{
	const cJSON *packet, *step;

	cJSON_ArrayForEach(packet, cJSON_GetObjectItemCaseSensitive(result, "packets")) {
		double start = -1;

		printf("packet %d\n", cJSON_GetObjectItemCaseSensitive(packet, "packet")->valueint);
		cJSON_ArrayForEach(step, cJSON_GetObjectItemCaseSensitive(packet, "steps")) {
			const cJSON *time_us = cJSON_GetObjectItemCaseSensitive(step, "time_us");
			const char *name = cJSON_GetStringValue(
				cJSON_GetObjectItemCaseSensitive(step, "step"));
			const char *text = cJSON_GetStringValue(
				cJSON_GetObjectItemCaseSensitive(step, "text"));

			if (start < 0)
				start = time_us->valuedouble;
			printf("  %+8.1f us  %-7s %s\n", time_us->valuedouble - start,
				name != NULL ? name : "?", text != NULL ? text : "");
		}
	}
}

/* Nothing happens until a packet comes, and people wonder what they wait for. */
static void say_what_is_awaited(const struct ctl *ctl, const cJSON *params, long wait_ms_max)
{
	const cJSON *count = cJSON_GetObjectItemCaseSensitive(params, "count"), *item;
	int n_fields = 0;

	if (ctl->is_json)
		return;
	fprintf(stderr, "leatctl: waiting up to %g s for ", (double)wait_ms_max / 1000);
	if (cJSON_IsNumber(count))
		fprintf(stderr, "the next %d packets", count->valueint);
	else
		fprintf(stderr, "the next packet");
	cJSON_ArrayForEach(item, params) {
		char *text = cJSON_IsString(item) ? NULL : cJSON_PrintUnformatted(item);

		if (item == count)
			continue;
		fprintf(stderr, "%s%s=%s", n_fields++ == 0 ? " with " : " ", item->string,
			text != NULL ? text : item->valuestring);
		cJSON_free(text);
	}
	fprintf(stderr, "; Ctrl-C ends it\n");
}

int ctl_trace(struct ctl *ctl, int argc, char **argv)
{
	const char *wait = ctl_take_option(&argc, argv, "wait");
	long left_ms = 30000;
	cJSON *params = wait != NULL && ctl_seconds("wait", wait, 0, &left_ms) < 0
		? NULL
		: ctl_params(schema_method("trace.start"), argc, argv),
	      *id = NULL, *result = NULL;
	bool is_done = false;
	int rc;

	if (params == NULL)
		return CTL_EXIT_USAGE;
	say_what_is_awaited(ctl, params, left_ms);
	rc = ctl_call(ctl, "trace.start", params, &id);
	while (rc == CTL_EXIT_OK && !is_done) {
		cJSON_Delete(result);
		rc = ctl_call(ctl, "trace.show", cJSON_Duplicate(id, true), &result);
		is_done = rc != CTL_EXIT_OK ||
			cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(result, "done")) ||
			left_ms <= 0;
		if (!is_done) {
			ctl_wait_ms(LOOK_MS);
			left_ms -= LOOK_MS;
		}
	}
	if (rc == CTL_EXIT_OK && cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(result, "done"))) {
		/* the last packet may still be on its way through the stages */
		ctl_wait_ms(LOOK_MS);
		cJSON_Delete(result);
		rc = ctl_call(ctl, "trace.show", cJSON_Duplicate(id, true), &result);
	}
	if (rc == CTL_EXIT_OK && ctl->is_json)
		ctl_print_json(result);
	else if (rc == CTL_EXIT_OK)
		trace_print(result);
	if (rc == CTL_EXIT_OK &&
		cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(result, "packets")) == 0) {
		rc = ctl_complain(CTL_EXIT_FAILED, "no packet matched in time");
	}
	cJSON_Delete(id);
	cJSON_Delete(result);
	return rc;
}
