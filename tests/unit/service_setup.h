/* SPDX-License-Identifier: BSD-3-Clause */
/* Set-up of the tests that need services: the tables that services stand on, empty. For cmocka groups. */
#ifndef LEAT_TESTS_UNIT_SERVICE_SETUP_H
#define LEAT_TESTS_UNIT_SERVICE_SETUP_H

#include "datapath/base/clock.h"
#include "datapath/base/rcu.h"
#include "datapath/table/ipset.h"
#include "datapath/table/service.h"

static int setup(void **state)
{
	(void)state;
	clock_init();
	return rcu_init() == 0 && ipset_table_init() == 0 && service_table_init() == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	rcu_synchronize();
	service_table_fini();
	ipset_table_fini();
	return 0;
}

#endif
