/* SPDX-License-Identifier: BSD-3-Clause */
/* event watch */
#include <stdio.h>
#include <string.h>

#include "control/client/methods.h"
#include "control/ctl/ctl.h"

int ctl_events(struct ctl *ctl, int argc, char **argv)
{
	cJSON *params, *kinds, *event;
	struct leat_error err;
	int rc;

	if (argc < 1 || (strcmp(argv[0], "watch") != 0 && strcmp(argv[0], "subscribe") != 0))
		return ctl_complain(CTL_EXIT_USAGE, "usage: leatctl event watch [KIND…]");
	params = cJSON_CreateObject();
	kinds = cJSON_AddArrayToObject(params, "kinds");
	for (int i = 1; i < argc; i++)
		cJSON_AddItemToArray(kinds, cJSON_CreateString(argv[i]));
	for (int i = 0; argc == 1 && schema_event_kinds[i] != NULL; i++)
		cJSON_AddItemToArray(kinds, cJSON_CreateString(schema_event_kinds[i]));
	rc = ctl_call(ctl, "event.subscribe", params, NULL);
	while (rc == CTL_EXIT_OK) {
		char *text;

		if (leat_event_next(ctl->client, -1, &event, &err) != 0)
			return ctl_fail(CTL_EXIT_NO_DAEMON, NULL, NULL, &err);
		text = cJSON_PrintUnformatted(event);
		puts(text != NULL ? text : "{}");
		fflush(stdout);
		cJSON_free(text);
		cJSON_Delete(event);
	}
	return rc;
}
