/* SPDX-License-Identifier: BSD-3-Clause */
/* Life of a vhost port: opening, closing, and what librte_vhost reports about its devices. */
#ifndef LEAT_PMD_VHOST_DEV_H
#define LEAT_PMD_VHOST_DEV_H

#include "datapath/pipeline/port.h"

/* port_ops.open and port_ops.close of the kind. Control thread. */
int vhost_dev_open(struct port *p, const struct port_config *cfg, char *errbuf, size_t errlen);
void vhost_dev_close(struct port *p, bool keep);

#endif
