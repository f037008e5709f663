/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/path.h"

#include "datapath/table/restart.h"

struct slots path_slots;

void path_table_fini(void)
{
	slots_fini(&path_slots);
}

static void path_fill(uint32_t idx, const struct path *proto)
{
	memcpy((uint8_t *)path_at(idx) + sizeof(uint32_t),
		(const uint8_t *)proto + sizeof(uint32_t), sizeof(*proto) - sizeof(uint32_t));
}

uint32_t path_create(const struct path *proto)
{
	uint32_t idx = slots_alloc(&path_slots);

	if (idx == SLOT_NONE)
		return PATH_NONE;
	path_fill(idx, proto);
	restart_path_save(idx, proto);
	return idx;
}

void path_restore(uint32_t idx, const struct path *proto)
{
	slots_reserve(&path_slots, idx);
	slots_alloc_at(&path_slots, idx);
	path_fill(idx, proto);
}

int path_table_init(void)
{
	const struct path none = {
		.port_id = UINT16_MAX, .endpoint_idx = SLOT_NONE, .tunnel_idx = SLOT_NONE
	};
	int ret = slots_init(&path_slots, sizeof(struct path), PATH_TABLE_MAX);

	if (ret < 0)
		return ret;
	path_restore(PATH_NONE, &none);
	return 0;
}

uint32_t path_create_plain(uint16_t port_id, const struct rte_ether_addr *dst,
	const struct rte_ether_addr *src, uint16_t mtu, uint8_t flags, uint32_t endpoint_idx)
{
	struct path p = { .port_id = port_id,
		.kind = PATH_PLAIN,
		.mtu = mtu,
		.flags = flags,
		.endpoint_idx = endpoint_idx,
		.tunnel_idx = SLOT_NONE };

	memcpy(&p.macs[0], dst, RTE_ETHER_ADDR_LEN);
	memcpy(&p.macs[RTE_ETHER_ADDR_LEN], src, RTE_ETHER_ADDR_LEN);
	return path_create(&p);
}

void path_destroy(uint32_t idx)
{
	if (idx == PATH_NONE)
		return;
	restart_path_forget(idx);
	slots_free(&path_slots, idx);
}
