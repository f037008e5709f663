/* SPDX-License-Identifier: BSD-3-Clause */
/* conntrack */
#include "control/client/methods.h"
#include "control/client/req.h"

#define TIMEOUT_MAX_S 2592000 /* 30 days */
#define F_TIMEOUT(member, def, hp) F_INT(req_conntrack, member, 0, "s", 1, TIMEOUT_MAX_S, def, hp)

static const struct field set_fields[] = {
	F_BOOL(req_conntrack, tcp_strict,
		"drop TCP segments outside the windows, and RSTs that are not exact; for "
		"connections "
		"opened from now on"),
	{ F_BASE(req_conntrack, early_drop, "early_drop", FIELD_BOOL, 0, NULL,
		  "time half-open and ended connections out earlier, the fuller the table is"),
		.def = 1 },
	F_TIMEOUT(tcp_syn_sent_s, 240, "idle time-out of TCP: SYN seen"),
	F_TIMEOUT(tcp_syn_recv_s, 240, "TCP: SYN+ACK seen"),
	F_TIMEOUT(tcp_established_s, 7440, "TCP: handshake complete, or picked up mid-stream"),
	F_TIMEOUT(tcp_fin_wait_s, 7440, "TCP: FIN from one side"),
	F_TIMEOUT(tcp_time_wait_s, 240, "TCP: FIN from both sides"),
	F_TIMEOUT(tcp_closed_s, 240, "TCP: RST"),
	F_TIMEOUT(udp_new_s, 120, "UDP: no answer yet"),
	F_TIMEOUT(udp_replied_s, 300, "UDP: answered"),
	F_TIMEOUT(icmp_new_s, 60, "ICMP: no answer yet"),
	F_TIMEOUT(icmp_replied_s, 60, "ICMP: answered"),
	F_TIMEOUT(other_new_s, 60, "other protocols: no answer yet"),
	F_TIMEOUT(other_replied_s, 600, "other protocols: answered"),
	F_END,
};

static const struct field reset_fields[] = {
	F_SWITCH(req_conntrack, missing_ok, "succeed if nothing was set"),
	F_END,
};

static const struct field no_fields[] = { F_END };

const struct method method_conntrack_set = { "conntrack.set",
	"Set how connections are tracked, all of it: what is not given has its default.",
	set_fields, sizeof(struct req_conntrack), METHOD_SETS, OBJECT_CONNTRACK,
	"conntrack.reset" };
const struct method method_conntrack_reset = { "conntrack.reset",
	"Track connections with the defaults again.", reset_fields, sizeof(struct req_conntrack),
	METHOD_REMOVES, OBJECT_CONNTRACK, NULL };
const struct method method_conntrack_show = { "conntrack.show", "How connections are tracked.",
	no_fields, sizeof(struct req_none), 0, OBJECT_NONE, NULL };
