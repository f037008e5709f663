/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/tables.h"

#include <errno.h>

#include "datapath/base/rcu.h"
#include "datapath/table/classifier.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/fragtab.h"
#include "datapath/table/ipset.h"
#include "datapath/table/neigh.h"
#include "datapath/table/ours.h"
#include "datapath/table/path.h"
#include "datapath/table/policy.h"
#include "datapath/table/route.h"
#include "datapath/table/service.h"
#include "datapath/table/snat.h"
#include "datapath/table/tunnel.h"

struct fragtab *tables_fragments;
static uint32_t routes_max;
static size_t lpm_bytes_max;

static int routes_init(void)
{
	return route_init(routes_max, lpm_bytes_max);
}

static int fragments_init(void)
{
	tables_fragments = fragtab_create(FRAGTAB_DATAGRAMS);
	return tables_fragments != NULL ? 0 : -ENOMEM;
}

static void fragments_fini(void)
{
	fragtab_destroy(tables_fragments);
	tables_fragments = NULL;
}

/* In order of start; stopped backwards. */
static const struct step {
	const char *what;
	int (*init)(void);
	void (*fini)(void);
} steps[] = {
	{ "RCU", rcu_init, rcu_fini },
	{ "paths", path_table_init, path_table_fini },
	{ "own addresses", ours_table_init, ours_table_fini },
	{ "endpoints", endpoint_table_init, endpoint_table_fini },
	{ "neighbours", neigh_table_init, neigh_table_fini },
	{ "tunnels", tunnel_table_init, tunnel_table_fini },
	{ "routes", routes_init, route_fini },
	{ "address sets", ipset_table_init, ipset_table_fini },
	{ "rules", classifier_init, classifier_fini },
	{ "policies", policy_table_init, policy_table_fini },
	{ "services", service_table_init, service_table_fini },
	{ "fragments", fragments_init, fragments_fini },
	{ "source translation", snat_table_init, snat_table_fini },
};
#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

static void stop(size_t n)
{
	while (n-- > 0)
		steps[n].fini();
}

int tables_init(uint32_t max_routes, size_t lpm_max_bytes, const char **out_what)
{
	routes_max = max_routes;
	lpm_bytes_max = lpm_max_bytes;
	for (size_t i = 0; i < N_STEPS; i++) {
		int ret = steps[i].init();

		if (ret == 0)
			continue;
		*out_what = steps[i].what;
		stop(i);
		return ret;
	}
	return 0;
}

void tables_fini(void)
{
	stop(N_STEPS);
}
