/* SPDX-License-Identifier: BSD-3-Clause */
/* Which cores have a worker: two on one core halve each other without anybody noticing. Control thread only. */
#ifndef LEAT_CORE_CLAIM_H
#define LEAT_CORE_CLAIM_H

/* Claims each core until the process ends, for whoever shares the network namespace. One that another process has
 * claimed is logged with that process's id: it works, slowly. */
void core_claim(const unsigned int *cores, unsigned int n_cores);

#endif
