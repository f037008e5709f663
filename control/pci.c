/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/pci.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/config.h"
#include "control/state.h"

#define ADDRESS_LEN 12 /* 0000:03:00.0 */

bool pci_address_is_valid(const char *text)
{
	static const char form[] = "xxxx:xx:xx.x";

	for (int i = 0; i < ADDRESS_LEN; i++)
		if (form[i] == 'x' ? !isxdigit((unsigned char)text[i]) : text[i] != form[i])
			return false;
	return text[ADDRESS_LEN] == '\0' || text[ADDRESS_LEN] == ',';
}

static void add(struct options *opts, const cJSON *params)
{
	const char *device = cJSON_GetStringValue(
		cJSON_GetObjectItemCaseSensitive(params, "device"));
	char *address;

	if (device == NULL || strlen(device) < ADDRESS_LEN || !pci_address_is_valid(device))
		return;
	for (unsigned int i = 0; i < opts->n_pci_devices; i++)
		if (strncmp(opts->pci_devices[i], device, ADDRESS_LEN) == 0)
			return;
	address = opts->n_pci_devices < OPTIONS_EXTRA_MAX ? strndup(device, ADDRESS_LEN) : NULL;
	if (address != NULL)
		opts->pci_devices[opts->n_pci_devices++] = address;
}

void pci_collect(struct options *opts)
{
	struct store_item *item = NULL;
	struct leat_error err;
	const cJSON *call;
	cJSON *calls;

	while ((item = store_next(state_store(), OBJECT_PORT, item != NULL ? item->seq : 0)) !=
			NULL &&
		item->method->class == OBJECT_PORT) {
		cJSON *params = cJSON_Parse(item->params);

		add(opts, params);
		cJSON_Delete(params);
	}
	calls = opts->config_file != NULL ? config_read(opts->config_file, &err) : NULL;
	cJSON_ArrayForEach(call, calls) {
		add(opts, cJSON_GetObjectItemCaseSensitive(call, "params"));
	}
	cJSON_Delete(calls);
}
