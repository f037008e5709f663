/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/options.h"

#include <argp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "control/client/leat_client.h"
#include "control/metrics.h"
#include "control/pci.h"
#include "datapath/base/log.h"

const char *argp_program_version = "leatd " LEAT_VERSION;

enum {
	OPT_CHECK = 256,
	OPT_PURGE,
	OPT_MEM,
	OPT_NO_HUGE,
	OPT_FLOWS,
	OPT_MBUFS,
	OPT_LOG_LEVEL,
	OPT_LOG_FORMAT,
	OPT_EAL_ARG,
	OPT_PCI,
	OPT_METRICS,
};

static const struct argp_option options[] = {
	{ "instance", 'i', "NAME", 0, "name of this instance (default: default)", 0 },
	{ "cores", 'c', "LIST", 0,
		"CPUs of the workers, one each: 2,4-6 (default: the last one that may be used)",
		0 },
	{ "config", 'f', "FILE", 0, "calls to apply at start: JSON list of {method, params}", 0 },
	{ "check", OPT_CHECK, "FILE", 0, "only check such a file", 0 },
	{ "purge", OPT_PURGE, NULL, 0,
		"remove everything that the instance has left behind, then exit", 0 },
	{ "mem", OPT_MEM, "MB", 0,
		"hugepage memory taken at start on each node with a worker (default: as needed)",
		0 },
	{ "no-huge", OPT_NO_HUGE, NULL, 0, "ordinary pages instead of hugepages: slow, for tests",
		0 },
	{ "flows", OPT_FLOWS, "N", 0, "connections that the table holds (default: 1000000)", 0 },
	{ "mbufs", OPT_MBUFS, "N", 0,
		"packet buffers a node (default: 65536, fewer if hugepages are short)", 0 },
	{ "metrics", OPT_METRICS, "ADDRESS:PORT", 0, "serve metrics over TCP too", 0 },
	{ "pci", OPT_PCI, "ADDRESS", 0, "PCI device that ports may use; may be given again", 0 },
	{ "log-level", OPT_LOG_LEVEL, "LEVEL", 0, "err, warn, info (default) or debug", 0 },
	{ "log-format", OPT_LOG_FORMAT, "FORMAT", 0, "text (default) or json", 0 },
	{ "eal-arg", OPT_EAL_ARG, "ARG", 0, "further argument for DPDK's EAL; may be given again",
		0 },
	{ 0 },
};

static unsigned long number(struct argp_state *state, const char *option, const char *text,
	unsigned long min, unsigned long max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || value < min || value > max)
		argp_error(state, "--%s must be a number from %lu to %lu, not \"%s\"", option, min,
			max, text);
	return value;
}

static void parse_cores(struct argp_state *state, const char *text, struct options *out)
{
	const char *at = text;

	out->n_cores = 0;
	while (*at != '\0') {
		char *end;
		unsigned long first = strtoul(at, &end, 10), last = first;

		if (at[0] < '0' || at[0] > '9')
			argp_error(state, "--cores must be a list like 2,4-6, not \"%s\"", text);
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if ((*end != ',' && *end != '\0') || last < first || last >= CPU_SETSIZE)
			argp_error(state, "--cores must be a list like 2,4-6, not \"%s\"", text);
		for (; first <= last; first++) {
			if (out->n_cores == EAL_WORKERS_MAX)
				argp_error(
					state, "--cores: no more than %d workers", EAL_WORKERS_MAX);
			out->cores[out->n_cores++] = (unsigned int)first;
		}
		at = *end == ',' ? end + 1 : end;
	}
	if (out->n_cores == 0)
		argp_error(state, "--cores must name at least one CPU");
}

static void parse_log_level(struct argp_state *state, const char *text)
{
	int level = log_level_by_name(text);

	if (level < 0)
		argp_error(state, "--log-level must be err, warn, info or debug, not \"%s\"", text);
	else
		log_set_level((enum log_level)level);
}

static void append(struct argp_state *state, const char *option, const char **list,
	unsigned int *io_n, const char *text)
{
	if (*io_n == OPTIONS_EXTRA_MAX)
		argp_error(state, "--%s: given too often", option);
	list[(*io_n)++] = text;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *out = state->input;

	switch (key) {
	case 'i':
		out->instance = arg;
		return 0;
	case 'c':
		parse_cores(state, arg, out);
		return 0;
	case 'f':
		out->config_file = arg;
		return 0;
	case OPT_CHECK:
		out->mode = OPTIONS_CHECK;
		out->config_file = arg;
		return 0;
	case OPT_PURGE:
		out->mode = OPTIONS_PURGE;
		return 0;
	case OPT_MEM:
		out->mem_mb = (uint32_t)number(state, "mem", arg, 0, 1u << 24);
		return 0;
	case OPT_NO_HUGE:
		out->no_huge = true;
		return 0;
	case OPT_FLOWS:
		out->n_flows = (uint32_t)number(state, "flows", arg, 0, 100000000);
		return 0;
	case OPT_MBUFS:
		out->n_mbufs = (uint32_t)number(state, "mbufs", arg, OPTIONS_MBUFS_MIN, 1u << 24);
		return 0;
	case OPT_METRICS:
		if (!metrics_address_is_valid(arg))
			argp_error(state,
				"--metrics must be ADDRESS:PORT with a port from 1 to 65535, not "
				"\"%s\"",
				arg);
		out->metrics_listen = arg;
		return 0;
	case OPT_LOG_LEVEL:
		parse_log_level(state, arg);
		return 0;
	case OPT_LOG_FORMAT:
		if (strcmp(arg, "text") != 0 && strcmp(arg, "json") != 0)
			argp_error(state, "--log-format must be text or json, not \"%s\"", arg);
		log_set_json(strcmp(arg, "json") == 0);
		return 0;
	case OPT_PCI:
		if (!pci_address_is_valid(arg))
			argp_error(state, "--pci must be an address like 0000:03:00.0, not \"%s\"",
				arg);
		append(state, "pci", out->pci_devices, &out->n_pci_devices, arg);
		return 0;
	case OPT_EAL_ARG:
		append(state, "eal-arg", out->eal_args, &out->n_eal_args, arg);
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "\"%s\" is not an option", arg);
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* The last CPU that the process may use: the first ones serve most interrupts. */
static unsigned int default_core(void)
{
	unsigned int core = 0;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 0;
	for (unsigned int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			core = cpu;
	return core;
}

void options_parse(int argc, char **argv, struct options *out)
{
	const struct argp argp = { .options = options,
		.parser = parse,
		.doc = "leatd: the daemon of leat, a userspace virtual switch and router for "
		       "container hosts." };

	*out = (struct options){ .instance = LEAT_INSTANCE_DEFAULT };
	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, out);
	if (out->n_cores == 0)
		out->cores[out->n_cores++] = default_core();
}
