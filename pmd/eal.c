/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/eal.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <numa.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>

#include "datapath/base/log.h"
#include "pmd/err.h"

#define ARGS_MAX 96
#define NO_HUGE_MEM_MB 256

struct args {
	char *v[ARGS_MAX + 1];
	int n;
	bool is_full;
};

static struct {
	bool is_started, is_no_huge;
	unsigned int n_workers;
	unsigned int cpu[EAL_WORKERS_MAX];
	FILE *log_stream;
	char last_error[256]; /* EAL's own last complaint */
} eal;

__attribute__((format(printf, 2, 3))) static void args_add(struct args *args, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (args->n == ARGS_MAX || vasprintf(&text, fmt, ap) < 0)
		args->is_full = true;
	else
		args->v[args->n++] = text;
	va_end(ap);
}

static void args_free(struct args *args)
{
	for (int i = 1; i < args->n; i++)
		free(args->v[i]);
}

/* DPDK's log lines become ours; the last error is kept for the sentence that eal_start() returns. */
static ssize_t dpdk_log_write(void *cookie, const char *buf, size_t size)
{
	int level = rte_log_cur_msg_loglevel();
	size_t n = size;
	char line[256];

	(void)cookie;
	while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == '\r'))
		n--;
	if (n == 0)
		return (ssize_t)size;
	snprintf(line, sizeof(line), "%.*s", (int)(n < 255 ? n : 255), buf);
	for (char *c = line; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20)
			*c = ' ';
	if (level > 0 && level <= (int)RTE_LOG_ERR) {
		snprintf(eal.last_error, sizeof(eal.last_error), "%s", line);
		log_warn("dpdk", "%s", line);
	} else {
		log_debug("dpdk", "%s", line);
	}
	return (ssize_t)size;
}

static int log_redirect(void)
{
	cookie_io_functions_t io = { .write = dpdk_log_write };

	if (eal.log_stream != NULL)
		return 0;
	eal.log_stream = fopencookie(NULL, "w", io);
	if (eal.log_stream == NULL)
		return -ENOMEM;
	setvbuf(eal.log_stream, NULL, _IOLBF, 1024);
	return rte_openlog_stream(eal.log_stream);
}

int eal_hugepages_read(struct eal_hugepages *out)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long v;
	char line[128];

	*out = (struct eal_hugepages){ 0 };
	if (f == NULL)
		return -errno;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "HugePages_Total: %llu", &v) == 1)
			out->n_total = v;
		else if (sscanf(line, "HugePages_Free: %llu", &v) == 1)
			out->n_free = v;
		else if (sscanf(line, "Hugepagesize: %llu", &v) == 1)
			out->page_size_bytes = v * 1024;
	}
	fclose(f);
	return 0;
}

static bool name_is_valid(const char *name)
{
	size_t n = name != NULL ? strlen(name) : 0;

	return n > 0 && n <= 32 && name[0] != '.' &&
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		n;
}

static int core_check(unsigned int core, const cpu_set_t *allowed, char *errbuf, size_t errlen)
{
	long n_configured = sysconf(_SC_NPROCESSORS_CONF);

	if (n_configured > 0 && core >= (unsigned long)n_configured)
		return err_set(errbuf, errlen, -EINVAL,
			"core %u does not exist: this machine has cores 0 to %ld", core,
			n_configured - 1);
	if (core >= CPU_SETSIZE || !CPU_ISSET(core, allowed))
		return err_set(errbuf, errlen, -EINVAL,
			"core %u may not be used by this process: it is offline or outside the CPU "
			"affinity "
			"(see taskset -p, the cpuset of the cgroup, CPUAffinity= of the unit)",
			core);
	return 0;
}

static int cores_check(
	const struct eal_config *cfg, const cpu_set_t *allowed, char *errbuf, size_t errlen)
{
	int ret = 0;

	if (cfg->n_workers > EAL_WORKERS_MAX)
		return err_set(errbuf, errlen, -EINVAL,
			"%u workers asked for: at most %d are possible", cfg->n_workers,
			EAL_WORKERS_MAX);
	for (unsigned int i = 0; ret == 0 && i < cfg->n_workers; i++)
		ret = core_check(cfg->worker_cores[i], allowed, errbuf, errlen);
	for (unsigned int i = 1; ret == 0 && i < cfg->n_workers; i++)
		for (unsigned int j = 0; ret == 0 && j < i; j++)
			if (cfg->worker_cores[i] == cfg->worker_cores[j])
				ret = err_set(errbuf, errlen, -EINVAL,
					"core %u is named twice: each worker needs one of its own",
					cfg->worker_cores[i]);
	for (unsigned int i = 0; ret == 0 && i < cfg->n_control_cores; i++)
		ret = core_check(cfg->control_cores[i], allowed, errbuf, errlen);
	return ret;
}

static int memory_check(const struct eal_config *cfg, char *errbuf, size_t errlen)
{
	struct eal_hugepages huge;
	uint64_t need, have;

	if (cfg->no_huge)
		return 0;
	if (eal_hugepages_read(&huge) < 0 || huge.n_total == 0)
		return err_set(errbuf, errlen, -ENOMEM,
			"this machine has no hugepages: set vm.nr_hugepages (sysctl), for example "
			"512 pages of 2 MiB");
	have = huge.n_free * huge.page_size_bytes >> 20;
	need = cfg->mem_mb != 0 ? cfg->mem_mb : 64;
	if (have < need)
		return err_set(errbuf, errlen, -ENOMEM,
			"%lu MiB of hugepages are needed and %lu MiB are free (%lu of %lu pages): "
			"raise vm.nr_hugepages "
			"or stop what holds them",
			need, have, huge.n_free, huge.n_total);
	if (geteuid() != 0 && access("/dev/hugepages", W_OK) != 0)
		return err_set(
			errbuf, errlen, -EPERM, "no permission to use hugepages: run as root");
	return 0;
}

static void args_add_lcores(
	struct args *args, const struct eal_config *cfg, const cpu_set_t *allowed)
{
	char text[CPU_SETSIZE * 5 + EAL_WORKERS_MAX * 10 + 16];
	size_t n = (size_t)snprintf(text, sizeof(text), "0@(");
	const char *sep = "";

	if (cfg->n_control_cores != 0) {
		for (unsigned int i = 0; i < cfg->n_control_cores; i++, sep = ",")
			n += (size_t)snprintf(
				&text[n], sizeof(text) - n, "%s%u", sep, cfg->control_cores[i]);
	} else {
		for (unsigned int cpu = 0; cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET(cpu, allowed)) {
				n += (size_t)snprintf(&text[n], sizeof(text) - n, "%s%u", sep, cpu);
				sep = ",";
			}
	}
	n += (size_t)snprintf(&text[n], sizeof(text) - n, ")");
	for (unsigned int i = 0; i < cfg->n_workers; i++)
		n += (size_t)snprintf(
			&text[n], sizeof(text) - n, ",%u@%u", i + 1, cfg->worker_cores[i]);
	args_add(args, "--lcores=%s", text);
}

static void args_add_memory(struct args *args, const struct eal_config *cfg)
{
	bool has_worker[64] = { false };
	char text[64 * 12] = "";
	size_t n = 0;
	int n_nodes = numa_available() < 0 ? 1 : numa_max_node() + 1;

	if (cfg->no_huge) {
		args_add(args, "--no-huge");
		args_add(args, "-m%u", cfg->mem_mb != 0 ? cfg->mem_mb : NO_HUGE_MEM_MB);
		return;
	}
	if (cfg->mem_mb == 0)
		return;
	for (unsigned int i = 0; i < cfg->n_workers; i++) {
		int node = numa_available() < 0 ? 0 : numa_node_of_cpu((int)cfg->worker_cores[i]);

		has_worker[node >= 0 && node < 64 ? node : 0] = true;
	}
	if (cfg->n_workers == 0)
		has_worker[0] = true;
	for (int i = 0; i < n_nodes && i < 64; i++)
		n += (size_t)snprintf(&text[n], sizeof(text) - n, "%s%u", i == 0 ? "" : ",",
			has_worker[i] ? cfg->mem_mb : 0);
	args_add(args, "--socket-mem=%s", text);
}

static void args_build(struct args *args, const struct eal_config *cfg, const cpu_set_t *allowed)
{
	static char name[] = "leatd"; /* EAL keeps argv[0] for its log identity until it stops */

	args->v[args->n++] = name;
	args_add(args, "--file-prefix=leat-%s", cfg->instance);
	/* no files: --in-memory is not for ordinary pages */
	args_add(args, cfg->no_huge ? "--no-shconf" : "--in-memory");
	args_add(args, "--no-telemetry");
	args_add_lcores(args, cfg, allowed);
	args_add_memory(args, cfg);
	if (cfg->n_pci_devices == 0) {
		args_add(args, "--no-pci");
		args_add(args, "--iova-mode=va");
	}
	for (unsigned int i = 0; i < cfg->n_pci_devices; i++)
		args_add(args, "--allow=%s", cfg->pci_devices[i]);
	for (unsigned int i = 0; i < cfg->n_extra_args; i++)
		args_add(args, "%s", cfg->extra_args[i]);
}

int eal_start(const struct eal_config *cfg, char *errbuf, size_t errlen)
{
	struct args args = { 0 };
	cpu_set_t allowed;
	char *argv[ARGS_MAX + 1];
	int ret;

	if (eal.is_started)
		return err_set(errbuf, errlen, -EALREADY, "DPDK is started already");
	if (!name_is_valid(cfg->instance))
		return err_set(errbuf, errlen, -EINVAL,
			"instance name '%s' is not valid: 1 to 32 of A-Z a-z 0-9 . _ -, no leading "
			"dot",
			cfg->instance != NULL ? cfg->instance : "");
	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return err_set(errbuf, errlen, -errno, "cannot read the CPU affinity: %s",
			strerror(errno));
	ret = cores_check(cfg, &allowed, errbuf, errlen);
	if (ret == 0)
		ret = memory_check(cfg, errbuf, errlen);
	if (ret < 0)
		return ret;
	if (log_redirect() < 0)
		return err_set(errbuf, errlen, -ENOMEM, "out of memory");

	args_build(&args, cfg, &allowed);
	if (args.is_full) {
		args_free(&args);
		return err_set(
			errbuf, errlen, -EINVAL, "too many EAL arguments (at most %d)", ARGS_MAX);
	}
	memcpy(argv, args.v, sizeof(argv)); /* EAL permutes its argv */
	eal.last_error[0] = '\0';
	ret = rte_eal_init(args.n, argv);
	args_free(&args);
	if (ret < 0)
		return err_set(errbuf, errlen, -EIO, "DPDK did not start: %s",
			eal.last_error[0] != '\0' ? eal.last_error : rte_strerror(rte_errno));
	eal.n_workers = cfg->n_workers;
	if (cfg->n_workers != 0)
		memcpy(eal.cpu, cfg->worker_cores, cfg->n_workers * sizeof(eal.cpu[0]));
	eal.is_no_huge = cfg->no_huge;
	eal.is_started = true;
	return 0;
}

void eal_stop(void)
{
	if (!eal.is_started)
		return;
	rte_eal_cleanup();
	eal.is_started = false;
}

unsigned int eal_worker_lcore(unsigned int worker)
{
	return worker + 1;
}

unsigned int eal_worker_cpu(unsigned int worker)
{
	return worker < eal.n_workers ? eal.cpu[worker] : 0;
}

unsigned int eal_worker_node(unsigned int worker)
{
	return worker < eal.n_workers ? rte_lcore_to_socket_id(eal_worker_lcore(worker)) : 0;
}

unsigned int eal_n_workers(void)
{
	return eal.n_workers;
}

bool eal_is_no_huge(void)
{
	return eal.is_no_huge;
}
