/* SPDX-License-Identifier: BSD-3-Clause */
/* Which PCI devices EAL must know of from the start. */
#ifndef LEAT_PCI_H
#define LEAT_PCI_H

#include "control/options.h"

/* Adds to opts->pci_devices what ports of the saved state and of the configuration file name as devices. The strings live
 * for ever. After state_open(). */
void pci_collect(struct options *opts);

#endif
