/* SPDX-License-Identifier: BSD-3-Clause */
/* Short ways to write configurations of services. */
#ifndef TESTS_UNIT_SERVICE_UTIL_H
#define TESTS_UNIT_SERVICE_UTIL_H

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include <rte_common.h>

#include "datapath/table/service.h"

#define READY (BACKEND_F_READY | BACKEND_F_SERVING)
#define DRAINING (BACKEND_F_SERVING | BACKEND_F_TERMINATING)

static inline struct ip_addr ip(const char *text)
{
	struct ip_addr addr;

	if (ip_parse(text, &addr) < 0)
		abort();
	return addr;
}

/* TCP; addr NULL: any address of the node. */
static inline struct frontend_config frontend(
	enum frontend_kind kind, const char *addr, uint16_t port, uint16_t port_end)
{
	return (struct frontend_config){ .kind = kind,
		.proto = IPPROTO_TCP,
		.has_addr = addr != NULL,
		.addr = addr != NULL ? ip(addr) : (struct ip_addr){ .q = { 0 } },
		.port = port,
		.port_end = port_end };
}

static inline struct backend_config backend(const char *addr, uint16_t port, uint8_t flags)
{
	return (struct backend_config){
		.addr = ip(addr), .port = port, .weight = 1, .flags = flags
	};
}

static inline struct service_config with_backends(
	const char *name, const struct backend_config *backends, unsigned int n)
{
	return (struct service_config){ .name = name, .backends = backends, .n_backends = n };
}

/* One frontend, a ClusterIP or, with addr NULL, a node port; two backends. Up to eight at a time. */
static inline struct service_config simple(const char *name, const char *addr, uint16_t port)
{
	static struct frontend_config frontends[8];
	static struct backend_config backends[2];
	static unsigned int turn;
	struct frontend_config *f = &frontends[turn++ % RTE_DIM(frontends)];
	struct service_config cfg;

	backends[0] = backend("10.244.0.1", 8080, READY);
	backends[1] = backend("10.244.0.2", 8080, READY);
	*f = frontend(addr != NULL ? FRONTEND_CLUSTER : FRONTEND_NODE_PORT, addr, port, port);
	cfg = with_backends(name, backends, RTE_DIM(backends));
	cfg.frontends = f;
	cfg.n_frontends = 1;
	return cfg;
}

static inline uint32_t backend_of(uint32_t service, const struct backend_config *b)
{
	return service_backend_find(service, &b->addr, rte_cpu_to_be_16(b->port));
}

#endif
