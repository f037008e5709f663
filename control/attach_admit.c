/* SPDX-License-Identifier: BSD-3-Clause */
/* Who a pod may be. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/api/api.h"
#include "control/attach.h"
#include "control/objects.h"
#include "pmd/portmgr.h"

static struct ip_addr address_at(const struct req_attach *req, uint32_t i)
{
	const struct schema_prefix *addresses = req->addresses.items;
	struct ip_addr addr;

	memcpy(addr.b, addresses[i].b, sizeof(addr.b));
	return addr;
}

static bool is_gateway_of(const struct req_attach *req, const struct ip_addr *addr)
{
	const struct schema_ip *gateways = req->gateways.items;

	for (uint32_t i = 0; i < req->gateways.len; i++) {
		const struct ip_addr gateway = api_ip(&gateways[i]);

		if (ip_eq(&gateway, addr))
			return true;
	}
	return false;
}

static int admit_address(
	const struct req_attach *req, const struct ip_addr *addr, struct attach_error *err)
{
	uint32_t owner = endpoint_by_addr((uint16_t)req->zone, addr);
	char text[IP_ADDR_STRLEN];

	err->field = "addresses";
	ip_format(addr, text);
	if (ip_is_gateway(addr) || is_gateway_of(req, addr)) {
		snprintf(err->reason, sizeof(err->reason),
			"address %s is the gateway's: no pod can have it", text);
		return -EINVAL;
	}
	if (owner != ENDPOINT_NONE) {
		snprintf(err->reason, sizeof(err->reason), "address %s is taken by endpoint %s",
			text, endpoint_at(owner)->id);
		return -EADDRINUSE;
	}
	return 0;
}

/* Looks at every endpoint: attaching one is rare, and an index of MACs would be for nothing else. */
static uint32_t mac_owner(uint16_t zone, const struct rte_ether_addr *mac)
{
	for (uint32_t i = endpoint_next(0); i != ENDPOINT_NONE; i = endpoint_next(i + 1))
		if (endpoint_at(i)->zone == zone &&
			rte_is_same_ether_addr(&endpoint_at(i)->mac, mac))
			return i;
	return ENDPOINT_NONE;
}

static int admit_mac(
	const struct req_attach *req, const struct rte_ether_addr *mac, struct attach_error *err)
{
	const struct rte_ether_addr gw_mac = PORT_GW_MAC;
	char text[MAC_STRLEN];
	uint32_t owner;

	err->field = "mac";
	mac_format(mac, text);
	if (rte_is_same_ether_addr(mac, &gw_mac)) {
		snprintf(err->reason, sizeof(err->reason),
			"MAC %s is the gateway's: no pod can have it", text);
		return -EINVAL;
	}
	owner = mac_owner((uint16_t)req->zone, mac);
	if (owner != ENDPOINT_NONE) {
		snprintf(err->reason, sizeof(err->reason),
			"MAC %s is taken by endpoint %s: give another one by mac", text,
			endpoint_at(owner)->id);
		return -EADDRINUSE;
	}
	return 0;
}

int attach_admit(const struct req_attach *req, struct attach_error *err)
{
	const struct ip_addr first = address_at(req, 0);
	const struct rte_ether_addr mac = req->mac.is_set ? api_mac(&req->mac)
							  : mac_from_ip(&first);
	int rc = 0;

	for (uint32_t i = 0; i < req->addresses.len && rc == 0; i++) {
		const struct ip_addr addr = address_at(req, i);

		rc = admit_address(req, &addr, err);
	}
	if (rc == 0)
		rc = admit_mac(req, &mac, err);
	if (rc == 0)
		err->field = NULL;
	return rc;
}
