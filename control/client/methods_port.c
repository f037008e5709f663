/* SPDX-License-Identifier: BSD-3-Clause */
/* port, zone, mirror */
#include "control/client/methods.h"
#include "control/client/req.h"

static const char *const kinds[] = { "ethdev", "vhost", "tap", "ring", NULL };
static const char *const roles[] = { "pod", "uplink", "host", NULL };
const char *const schema_vhost_roles[] = { "server", "client", NULL };
static const char *const directions[] = { "in", "out", "both", NULL };

static const struct field port_fields[] = {
	F_TEXT(req_port, name, FIELD_NAME, FIELD_REQUIRED | FIELD_KEY, "name of the port"),
	F_ENUM(req_port, kind, FIELD_REQUIRED, kinds, -1, "what it is made of"),
	F_ENUM(req_port, role, 0, roles, REQ_ROLE_POD, "what is behind it"),
	F_ZONE(req_port, 0),
	F_INT(req_port, mtu, 0, "bytes", 0, 9216, 0, "largest IP packet; 0: the kind's own, 1500"),
	F_INT(req_port, queues, 0, "pairs", 0, 16, 0, "queue pairs; 0: 1"),
	F_INT(req_port, descriptors, 0, NULL, 0, 32768, 0, "ring size; 0: the kind's own"),
	F_TEXT(req_port, mac, FIELD_MAC, 0, "MAC of the far side (uplink: leatd's own)"),
	F_LIST(req_port, addresses, FIELD_IFADDR, struct schema_prefix, 0, 16,
		"uplink: leatd's own; host: the node's; pod: the pod's"),
	F_TEXT(req_port, device, FIELD_STRING, 0,
		"ethdev: device string, \"0000:03:00.0\", \"net_af_packet0,iface=eth1\""),
	F_TEXT(req_port, socket, FIELD_PATH, 0,
		"vhost: path of the socket; default: in the instance's folder"),
	F_ENUM(req_port, vhost_role, 0, schema_vhost_roles, REQ_VHOST_SERVER,
		"vhost: whether leatd listens or connects"),
	F_INT(req_port, uid, 0, NULL, -1, 4294967294, -1, "vhost: owner of the socket; -1: leave"),
	F_INT(req_port, gid, 0, NULL, -1, 4294967294, -1, "vhost: group of the socket; -1: leave"),
	F_TEXT(req_port, mode, FIELD_STRING, 0, "vhost: mode of the socket in octal, default 0660"),
	F_TEXT(req_port, ifname, FIELD_STRING, 0,
		"tap: name of the kernel device; default: the port's, host: leat0"),
	F_SWITCH(req_port, exist_ok, "succeed if the same port is there already"),
	F_END,
};

static const struct field name_fields[] = {
	F_TEXT(req_name, name, FIELD_NAME, FIELD_REQUIRED | FIELD_KEY, "name of the object"),
	F_SWITCH(req_name, missing_ok, "succeed if it is not there"),
	F_END,
};

static const struct field show_fields[] = {
	F_TEXT(req_name, name, FIELD_NAME, FIELD_REQUIRED, "name of the port"),
	F_END,
};

static const struct field page_fields[] = { F_PAGE(req_page), F_END };

static const struct field zone_fields[] = {
	F_INT(req_zone, id, FIELD_REQUIRED | FIELD_KEY, NULL, 0, 65535, 0,
		"number of the zone; 0 is the default zone"),
	F_TEXT(req_zone, name, FIELD_NAME, FIELD_POSITIONAL, "name for people"),
	F_INT(req_zone, max_conns, 0, "connections", 0, 4294967295, 0,
		"connections in it at a time; 0: no limit"),
	F_SWITCH(req_zone, exist_ok, "succeed if the same zone is there already"),
	F_END,
};

static const struct field zone_del_fields[] = {
	F_INT(req_zone, id, FIELD_REQUIRED | FIELD_KEY, NULL, 0, 65535, 0, "number of the zone"),
	F_SWITCH(req_zone, missing_ok, "succeed if it is not there"),
	F_END,
};

static const struct field mirror_fields[] = {
	F_TEXT(req_mirror, name, FIELD_NAME, FIELD_REQUIRED | FIELD_KEY, "name of the mirror"),
	F_TEXT(req_mirror, from, FIELD_NAME, FIELD_REQUIRED, "port whose packets are copied"),
	F_TEXT(req_mirror, to, FIELD_NAME, FIELD_REQUIRED, "port that gets the copies"),
	F_ENUM(req_mirror, direction, 0, directions, REQ_DIR_BOTH,
		"in: what leatd receives there, out: what it sends"),
	F_SWITCH(req_mirror, exist_ok, "succeed if the same mirror is there already"),
	F_END,
};

const struct method method_port_add = { "port.add", "Create a port.", port_fields,
	sizeof(struct req_port), METHOD_SETS | METHOD_DEVICE, OBJECT_PORT, "port.del" };
const struct method method_port_del = { "port.del", "Remove a port.", name_fields,
	sizeof(struct req_name), METHOD_REMOVES | METHOD_DEVICE, OBJECT_PORT, NULL };
const struct method method_port_list = { "port.list", "All ports.", page_fields,
	sizeof(struct req_page), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_port_show = { "port.show", "One port with its counters and drops.",
	show_fields, sizeof(struct req_name), 0, OBJECT_NONE, NULL };
const struct method method_zone_add = { "zone.add", "Create a zone (VRF).", zone_fields,
	sizeof(struct req_zone), METHOD_SETS, OBJECT_ZONE, "zone.del" };
const struct method method_zone_del = { "zone.del", "Remove a zone.", zone_del_fields,
	sizeof(struct req_zone), METHOD_REMOVES, OBJECT_ZONE, NULL };
const struct method method_zone_list = { "zone.list", "All zones.", page_fields,
	sizeof(struct req_page), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_mirror_add = { "mirror.add", "Copy one port's packets to another.",
	mirror_fields, sizeof(struct req_mirror), METHOD_SETS, OBJECT_MIRROR, "mirror.del" };
const struct method method_mirror_del = { "mirror.del", "Remove a mirror.", name_fields,
	sizeof(struct req_name), METHOD_REMOVES, OBJECT_MIRROR, NULL };
const struct method method_mirror_list = { "mirror.list", "All mirrors.", page_fields,
	sizeof(struct req_page), METHOD_LISTS, OBJECT_NONE, NULL };
