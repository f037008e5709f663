/* SPDX-License-Identifier: BSD-3-Clause */
/* Which PCI devices EAL must know of from the start. */
#ifndef LEAT_PCI_H
#define LEAT_PCI_H

#include <stdbool.h>

#include "control/options.h"

/* Whether the text is, or begins with, an address like "0000:03:00.0"; device arguments may follow a comma. */
bool pci_address_is_valid(const char *text);

/* Adds to opts->pci_devices what ports of the saved state and of the configuration file name as devices. The strings live
 * for ever. After state_open(). */
void pci_collect(struct options *opts);

#endif
