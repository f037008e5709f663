/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/degraded.h"

#include <stdio.h>
#include <string.h>

#include "control/devices.h"
#include "control/state.h"
#include "pmd/portmgr.h"

unsigned int degraded_list(void (*fn)(void *arg, const char *sentence), void *arg)
{
	size_t n_failed = state_n_failed();
	unsigned int n = 0;
	char text[400];

	for (const struct port *port = port_next(NULL); port != NULL; port = port_next(port)) {
		if (devices_missing(port) == NULL)
			continue;
		n++;
		snprintf(text, sizeof(text), "port %s is without its device: %s", port->name,
			devices_missing(port));
		if (fn != NULL)
			fn(arg, text);
	}
	if (n_failed > 0) {
		n++;
		snprintf(text, sizeof(text),
			"%zu saved object%s could not be brought back: the log names %s", n_failed,
			n_failed == 1 ? "" : "s", n_failed == 1 ? "it" : "them");
		if (fn != NULL)
			fn(arg, text);
	}
	if (state_write_error() != 0) {
		n++;
		snprintf(text, sizeof(text), "the state file cannot be written: %s",
			strerror(-state_write_error()));
		if (fn != NULL)
			fn(arg, text);
	}
	return n;
}
