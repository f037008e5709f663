/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DPDK's environment: one process-wide start with arguments derived from the instance's name and cores.
 * The calling thread becomes EAL's main lcore and floats over the control cores; each worker gets an lcore of its own.
 * No file outlives the process: hugepages are anonymous, so a SIGKILL gives them back.
 */
#ifndef LEAT_PMD_EAL_H
#define LEAT_PMD_EAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EAL_WORKERS_MAX 63

struct eal_config {
	const char *instance; /* [A-Za-z0-9._-]{1,32} */
	const unsigned int
		*worker_cores;	/* CPU numbers, one a worker; the same may come twice (tests) */
	unsigned int n_workers; /* 0…EAL_WORKERS_MAX */
	const unsigned int *control_cores; /* NULL: every CPU that the process may use */
	unsigned int n_control_cores;
	uint32_t mem_mb; /* taken at start on each node that has a worker; 0: as needed */
	bool no_huge;	 /* ordinary pages (tests); mem_mb is then all there is, 0: 256 */
	const char *const
		*pci_devices; /* PCI addresses that ports may use; none: PCI is not looked at */
	unsigned int n_pci_devices;
	const char *const *extra_args; /* appended as they are */
	unsigned int n_extra_args;
};

/* Starts EAL. Once per process, main thread. 0, or -errno with a sentence in errbuf:
 * -EINVAL (configuration, cores that do not exist or are not ours), -ENOMEM (hugepages), -EPERM, -EIO (EAL). */
int eal_start(const struct eal_config *cfg, char *errbuf, size_t errlen);

/* Stops EAL and frees its memory. Main thread, workers returned. Nothing if not started. */
void eal_stop(void);

/* lcore of worker i (for rte_eal_remote_launch), and the CPU and NUMA node it runs on. */
unsigned int eal_worker_lcore(unsigned int worker);
unsigned int eal_worker_cpu(unsigned int worker);
unsigned int eal_worker_node(unsigned int worker);

unsigned int eal_n_workers(void);
bool eal_is_no_huge(void);

/* Bytes of default-size hugepages of the machine. Any thread. */
struct eal_hugepages {
	uint64_t page_size_bytes;
	uint64_t n_total, n_free;
};
int eal_hugepages_read(struct eal_hugepages *out);

#endif
