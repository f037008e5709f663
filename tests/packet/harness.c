/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The real pipeline on ring ports in one process, driven over stdin and stdout: one JSON object a line in
 * ({"cmd": name, …}), one out ({"ok": true, …} or {"ok": false, "error": text}). No root, no hugepages. Nothing happens between
 * commands: packets move in "step" only, and time passes only by "warp" and by 1 ms a round of "step".
 * "reset" {conns} makes a fresh node in the same process.
 */
#include "tests/packet/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void serve(const char *line)
{
	cJSON *params = cJSON_Parse(line), *result = cJSON_CreateObject();
	harness_fn *control = harness_find(harness_control_commands, params);
	const char *error = NULL;
	char *text;

	if (control != NULL) {
		error = control(params, result);
	} else if (strcmp(harness_str(params, "cmd", ""), "reset") == 0) {
		harness_control_stop();
		node_fini();
		node_init((uint32_t)harness_num(params, "conns", HARNESS_CONNS));
	} else {
		error = node_command(params, result);
	}
	cJSON_AddBoolToObject(result, "ok", error == NULL);
	if (error != NULL)
		cJSON_AddStringToObject(result, "error", error);
	text = cJSON_PrintUnformatted(result);
	puts(text);
	fflush(stdout);
	free(text);
	cJSON_Delete(result);
	cJSON_Delete(params);
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t size = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: %s INSTANCE\n", argv[0]);
		return 2;
	}
	node_start(argv[1]);
	node_init(HARNESS_CONNS);
	while (getline(&line, &size, stdin) > 0)
		serve(line);
	free(line);
	harness_control_stop();
	node_fini();
	node_stop();
	return 0;
}
