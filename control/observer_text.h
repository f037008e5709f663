/* SPDX-License-Identifier: BSD-3-Clause */
/* Words for what happened to a packet. Control thread only (looks names up). */
#ifndef LEAT_OBSERVER_TEXT_H
#define LEAT_OBSERVER_TEXT_H

#include <cjson/cJSON.h>

#include "datapath/pipeline/observe.h"

/* One step of a trace: {time_us, step, text, …}. */
cJSON *observer_step_json(const struct observe_msg *msg);

/* "10.0.0.1:80 > 10.0.0.2:53 udp ttl 64 len 60", tunnels unwrapped ("… vxlan 7 { … }"). */
void observer_packet_text(
	const uint8_t *frame, uint32_t len, uint32_t wire_len, char *buf, size_t size);

/* "eth0" or "tunnel n2" for a flow's ingress. */
void observer_in_text(uint16_t in, char *buf, size_t size);

/* What a frame is, for an event: "packet" as above, and of IP src, dst, proto, sport and dport. Whether it is IP. */
bool observer_add_packet(cJSON *object, const uint8_t *frame, uint32_t len, uint32_t wire_len,
	struct ip_addr *out_src, struct ip_addr *out_dst);

/* enum slow_action in words. Static. */
const char *observer_action_text(uint8_t action);

#endif
