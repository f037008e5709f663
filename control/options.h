/* SPDX-License-Identifier: BSD-3-Clause */
/* Command line of leatd. */
#ifndef LEAT_OPTIONS_H
#define LEAT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "pmd/eal.h"

#define OPTIONS_EXTRA_MAX 64
#define OPTIONS_MBUFS_MIN 1024 /* with fewer no port can be had */

enum options_mode { OPTIONS_RUN, OPTIONS_CHECK, OPTIONS_PURGE };

struct options {
	enum options_mode mode;
	const char *instance;
	const char *config_file; /* --config or --check */
	unsigned int cores[EAL_WORKERS_MAX];
	unsigned int n_cores;
	uint32_t mem_mb;
	bool no_huge;
	uint32_t n_flows; /* connections to hold, 0: default */
	uint32_t n_mbufs;
	const char *eal_args[OPTIONS_EXTRA_MAX];
	unsigned int n_eal_args;
	const char *pci_devices[OPTIONS_EXTRA_MAX];
	unsigned int n_pci_devices;
	const char *metrics_listen; /* ADDRESS:PORT, NULL: Unix socket only */
};

/* Parses; exits with a message on wrong use. */
void options_parse(int argc, char **argv, struct options *out);

#endif
