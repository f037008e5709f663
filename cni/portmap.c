/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/portmap.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <bsd/string.h>

#define PORTS_MAX 1024
#define LABEL "runtimeConfig.portMappings"

/* Mappings whose hostIP nobody was found to have yet. */
struct portmap_unowned {
	const struct cni_port *ports[PORTS_MAX];
	unsigned int n;
};

static const char *const protos[] = { "tcp", "udp", "sctp" };
#define N_PROTOS (sizeof(protos) / sizeof(protos[0]))

static int bad(struct cni_error *err, unsigned int i, const char *key, const char *what)
{
	return cni_fail(err, CNI_ERR_CONFIG, LABEL "[%u].%s: %s", i, key, what);
}

static int get_port(
	const cJSON *item, unsigned int i, const char *key, uint16_t *out, struct cni_error *err)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, key);
	double number = cJSON_IsNumber(value) ? value->valuedouble : 0;

	if (!(number >= 1 && number <= UINT16_MAX) || number != floor(number))
		return bad(err, i, key, "must be an integer from 1 to 65535");
	*out = (uint16_t)number;
	return 0;
}

static bool is_unspecified(const struct cni_addr *addr)
{
	static const uint8_t zero[sizeof(addr->bytes)];

	return memcmp(addr->bytes, zero, addr->is_v6 ? 16 : 4) == 0;
}

static bool is_loopback_v6(const struct cni_addr *addr)
{
	static const uint8_t loopback[16] = { [15] = 1 };

	return addr->is_v6 && memcmp(addr->bytes, loopback, sizeof(loopback)) == 0;
}

static int parse_one(const cJSON *item, unsigned int i, struct cni_port *out, struct cni_error *err)
{
	const cJSON *ip = cJSON_GetObjectItemCaseSensitive(item, "hostIP"),
		    *proto = cJSON_GetObjectItemCaseSensitive(item, "protocol");

	memset(out, 0, sizeof(*out));
	if (get_port(item, i, "hostPort", &out->host_port, err) < 0 ||
		get_port(item, i, "containerPort", &out->container_port, err) < 0)
		return -1;
	out->proto = protos[0];
	if (proto != NULL && !cJSON_IsNull(proto)) {
		size_t p = 0;

		while (p < N_PROTOS && cJSON_IsString(proto) &&
			strcasecmp(proto->valuestring, protos[p]) != 0)
			p++;
		if (p == N_PROTOS || !cJSON_IsString(proto))
			return bad(err, i, "protocol", "must be \"tcp\", \"udp\" or \"sctp\"");
		out->proto = protos[p];
	}
	if (ip == NULL || cJSON_IsNull(ip) || (cJSON_IsString(ip) && ip->valuestring[0] == '\0'))
		return 0;
	if (!cJSON_IsString(ip) || strchr(ip->valuestring, '/') != NULL ||
		cni_addr_parse(ip->valuestring, &out->host_ip) < 0)
		return bad(err, i, "hostIP", "must be an address");
	out->has_ip = !is_unspecified(&out->host_ip);
	out->is_local = !out->host_ip.is_v6 && out->host_ip.bytes[0] == 127;
	if (is_loopback_v6(&out->host_ip))
		return bad(err, i, "hostIP", "the kernel lets nothing from ::1 out: use 127.0.0.1");
	return 0;
}

static bool is_same_frontend(const struct cni_port *a, const struct cni_port *b)
{
	return a->proto == b->proto && a->host_port == b->host_port && a->has_ip == b->has_ip &&
		(!a->has_ip || cni_addr_same_ip(&a->host_ip, &b->host_ip));
}

int cni_portmap_parse(
	const cJSON *list, struct cni_port **out, unsigned int *out_n, struct cni_error *err)
{
	int len = cJSON_GetArraySize(list);
	struct cni_port *ports;
	const cJSON *item;
	unsigned int i = 0, n = 0;

	if (list != NULL && !cJSON_IsNull(list) && !cJSON_IsArray(list))
		return cni_fail(err, CNI_ERR_CONFIG, LABEL ": must be an array");
	if (len > PORTS_MAX)
		return cni_fail(err, CNI_ERR_CONFIG, LABEL ": more than %d mappings", PORTS_MAX);
	ports = calloc((size_t)len + 1, sizeof(*ports));
	if (ports == NULL)
		return cni_fail(err, CNI_ERR_IO, "out of memory");
	cJSON_ArrayForEach(item, list) {
		unsigned int j = 0;

		if (parse_one(item, i, &ports[n], err) < 0)
			goto err_ports;
		while (j < n && !is_same_frontend(&ports[j], &ports[n]))
			j++;
		if (j < n && ports[j].container_port != ports[n].container_port) {
			bad(err, i, "hostPort", "is mapped twice");
			goto err_ports;
		}
		n += j == n; /* for 0.0.0.0 and for :: is one mapping */
		i++;
	}
	*out = ports;
	*out_n = n;
	return 0;

err_ports:
	free(ports);
	return -1;
}

static void service_name(const char *id, const struct cni_port *port, char out[CNI_ID_LEN])
{
	char ip[CNI_ADDR_STRLEN], tail[CNI_ADDR_STRLEN + 16], hash[CNI_HASH_LEN];

	snprintf(tail, sizeof(tail), ":%s:%u%s%s", port->proto, port->host_port,
		port->has_ip ? ":" : "", port->has_ip ? cni_addr_format(&port->host_ip, ip) : "");
	if (snprintf(out, CNI_ID_LEN, CNI_PORTMAP_PREFIX "%s%s", id, tail) < CNI_ID_LEN)
		return;
	cni_hash_hex(id, "", hash);
	snprintf(out, CNI_ID_LEN, CNI_PORTMAP_PREFIX ":%s%s", hash, tail);
}

cJSON *cni_portmap_services(const struct cni_conf *conf, const char *id)
{
	cJSON *names = cJSON_CreateArray();
	char name[CNI_ID_LEN];

	for (unsigned int i = 0; i < conf->n_ports; i++) {
		if (conf->ports[i].is_local)
			continue;
		service_name(id, &conf->ports[i], name);
		cJSON_AddItemToArray(names, cJSON_CreateString(name));
	}
	return names;
}

bool cni_portmap_endpoint(const char *service, char out[CNI_ID_LEN])
{
	const size_t prefix_len = strlen(CNI_PORTMAP_PREFIX);
	const char *end = NULL;
	size_t len = strlen(service);

	if (strncmp(service, CNI_PORTMAP_PREFIX, prefix_len) != 0 || len >= CNI_ID_LEN)
		return false;
	service += prefix_len;
	/* the last one: an id may hold the word itself, what follows it cannot */
	for (const char *at = strchr(service, ':'); at != NULL; at = strchr(at + 1, ':'))
		for (size_t p = 0; p < N_PROTOS; p++)
			if (strncmp(at + 1, protos[p], strlen(protos[p])) == 0 &&
				at[1 + strlen(protos[p])] == ':')
				end = at;
	if (end == NULL || end == service || *service == ':')
		return false;
	strlcpy(out, service, (size_t)(end - service) + 1);
	return true;
}

bool cni_portmap_is_of(const char *service, const char *id)
{
	const size_t prefix_len = strlen(CNI_PORTMAP_PREFIX);
	char of[CNI_ID_LEN], hash[CNI_HASH_LEN];

	if (cni_portmap_endpoint(service, of))
		return strcmp(of, id) == 0;
	cni_hash_hex(id, "", hash);
	return strncmp(service, CNI_PORTMAP_PREFIX ":", prefix_len + 1) == 0 &&
		strncmp(service + prefix_len + 1, hash, strlen(hash)) == 0;
}

/* The pod's first address of each family that the frontend has. */
static cJSON *backends_json(
	const struct cni_port *port, const struct cni_addr *ips, unsigned int n_ips)
{
	bool is_done[2] = { port->has_ip && port->host_ip.is_v6,
		port->has_ip && !port->host_ip.is_v6 };
	cJSON *list = cJSON_CreateArray();
	char ip[CNI_ADDR_STRLEN];

	for (unsigned int i = 0; i < n_ips; i++) {
		cJSON *backend;

		if (is_done[ips[i].is_v6])
			continue;
		is_done[ips[i].is_v6] = true;
		backend = cJSON_CreateObject();
		cJSON_AddStringToObject(backend, "ip", cni_addr_format(&ips[i], ip));
		cJSON_AddNumberToObject(backend, "port", port->container_port);
		cJSON_AddStringToObject(backend, "local", "yes");
		cJSON_AddItemToArray(list, backend);
	}
	return list;
}

static cJSON *frontends_json(const struct cni_port *port)
{
	cJSON *list = cJSON_CreateArray(), *frontend = cJSON_CreateObject();
	char ip[CNI_ADDR_STRLEN];

	cJSON_AddStringToObject(frontend, "kind", "host-port");
	if (port->has_ip)
		cJSON_AddStringToObject(frontend, "ip", cni_addr_format(&port->host_ip, ip));
	cJSON_AddStringToObject(frontend, "proto", port->proto);
	cJSON_AddNumberToObject(frontend, "port", port->host_port);
	cJSON_AddItemToArray(list, frontend);
	return list;
}

/* Puts the mapping in front of the message. */
static int failed(struct cni_error *err, const struct cni_port *port)
{
	char msg[sizeof(err->msg)];

	strlcpy(msg, err->msg, sizeof(msg));
	return cni_fail(
		err, err->code, LABEL ": %s port %u: %.400s", port->proto, port->host_port, msg);
}

/* Takes out of `wanted` what the port has of it. */
static int strike_addresses(struct cni_leatd *leatd, const char *port,
	struct portmap_unowned *wanted, struct cni_error *err)
{
	cJSON *params = cJSON_CreateObject(), *shown = NULL;
	const cJSON *item;
	struct cni_addr addr;

	cJSON_AddStringToObject(params, "name", port);
	if (cni_leatd_call(leatd, "port.show", params, -1, &shown, err) != 0)
		return -1;
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(shown, "addresses")) {
		if (!cJSON_IsString(item) || cni_addr_parse(item->valuestring, &addr) < 0)
			continue;
		for (unsigned int i = 0; i < wanted->n; i++)
			if (cni_addr_same_ip(&wanted->ports[i]->host_ip, &addr))
				wanted->ports[i--] = wanted->ports[--wanted->n];
	}
	cJSON_Delete(shown);
	return 0;
}

int cni_portmap_check_ips(
	const struct cni_conf *conf, struct cni_leatd *leatd, struct cni_error *err)
{
	struct portmap_unowned wanted = { .n = 0 };
	char cursor[256] = "", ip[CNI_ADDR_STRLEN];

	for (unsigned int i = 0; i < conf->n_ports; i++)
		if (conf->ports[i].has_ip && !conf->ports[i].is_local)
			wanted.ports[wanted.n++] = &conf->ports[i];
	while (wanted.n > 0) {
		cJSON *params = cJSON_CreateObject(), *page = NULL;
		const cJSON *item;
		const char *next;
		int rc = 0;

		if (cursor[0] != '\0')
			cJSON_AddStringToObject(params, "cursor", cursor);
		if (cni_leatd_call(leatd, "port.list", params, -1, &page, err) != 0)
			return -1;
		cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(page, "items")) {
			const char *role = cni_json_string(item, "role"),
				   *name = cni_json_string(item, "name");

			if (rc == 0 && role != NULL && name != NULL && strcmp(role, "pod") != 0)
				rc = strike_addresses(leatd, name, &wanted, err);
		}
		next = cni_json_string(page, "next");
		snprintf(cursor, sizeof(cursor), "%s", next != NULL ? next : "");
		cJSON_Delete(page);
		if (rc < 0)
			return -1;
		if (cursor[0] == '\0')
			break;
	}
	if (wanted.n == 0)
		return 0;
	cni_fail(err, CNI_ERR_CONFIG,
		"hostIP %s is no address of an uplink or of leat0: nobody would answer",
		cni_addr_format(&wanted.ports[0]->host_ip, ip));
	return failed(err, wanted.ports[0]);
}

int cni_portmap_add(const struct cni_conf *conf, struct cni_leatd *leatd, const char *id,
	const struct cni_addr *ips, unsigned int n_ips, struct cni_error *err)
{
	for (unsigned int i = 0; i < conf->n_ports; i++) {
		const struct cni_port *port = &conf->ports[i];
		cJSON *params = cJSON_CreateObject(), *backends = backends_json(port, ips, n_ips);
		bool is_served = cJSON_GetArraySize(backends) > 0;
		char name[CNI_ID_LEN];

		if (port->is_local) {
			cJSON_Delete(params);
			cJSON_Delete(backends);
			continue;
		}
		service_name(id, port, name);
		cJSON_AddStringToObject(params, "name", name);
		cJSON_AddNumberToObject(params, "zone", conf->zone);
		cJSON_AddItemToObject(params, "frontends", frontends_json(port));
		cJSON_AddItemToObject(params, "backends", backends);
		if (!is_served) {
			cJSON_Delete(params);
			cni_fail(err, CNI_ERR_CONFIG, "the pod has no address of hostIP's family");
			return failed(err, port);
		}
		if (cni_leatd_call(leatd, "service.add", params, -1, NULL, err) != 0)
			return failed(err, port);
	}
	return 0;
}

/* Whether each object of `wanted` is in `there`, by the members that both name. */
static bool holds(const cJSON *there, const cJSON *wanted, const char *const keys[])
{
	const cJSON *want, *have;

	if (cJSON_GetArraySize(there) != cJSON_GetArraySize(wanted))
		return false;
	cJSON_ArrayForEach(want, wanted) {
		bool is_found = false;

		cJSON_ArrayForEach(have, there) {
			bool is_equal = true;

			for (const char *const *key = keys; *key != NULL; key++)
				is_equal = is_equal &&
					cJSON_Compare(cJSON_GetObjectItemCaseSensitive(want, *key),
						cJSON_GetObjectItemCaseSensitive(have, *key),
						true) ==
						(cJSON_HasObjectItem(want, *key) ||
							cJSON_HasObjectItem(have, *key));
			is_found = is_found || is_equal;
		}
		if (!is_found)
			return false;
	}
	return true;
}

static bool is_as_added(const struct cni_port *port, const cJSON *shown, const struct cni_addr *ips,
	unsigned int n_ips)
{
	static const char *const frontend_keys[] = { "kind", "ip", "proto", "port", NULL },
				 *const backend_keys[] = { "ip", "port", NULL };
	cJSON *frontends = frontends_json(port), *backends = backends_json(port, ips, n_ips);
	bool is_so = holds(cJSON_GetObjectItemCaseSensitive(shown, "frontends"), frontends,
			     frontend_keys) &&
		holds(cJSON_GetObjectItemCaseSensitive(shown, "backends"), backends, backend_keys);

	cJSON_Delete(frontends);
	cJSON_Delete(backends);
	return is_so;
}

int cni_portmap_check(const struct cni_conf *conf, struct cni_leatd *leatd, const char *id,
	const struct cni_addr *ips, unsigned int n_ips, struct cni_error *err)
{
	for (unsigned int i = 0; i < conf->n_ports; i++) {
		const struct cni_port *port = &conf->ports[i];
		cJSON *params, *shown = NULL;
		char name[CNI_ID_LEN];
		int rc;

		if (port->is_local)
			continue;
		service_name(id, port, name);
		params = cJSON_CreateObject();
		cJSON_AddStringToObject(params, "name", name);
		rc = cni_leatd_call(leatd, "service.show", params, -1, &shown, err);
		if (rc == LEAT_ERR_NOT_FOUND || (rc == 0 && !is_as_added(port, shown, ips, n_ips)))
			rc = cni_fail(err, CNI_ERR_STATE, "service %s is %s", name,
				rc == 0 ? "not as it was added" : "missing");
		cJSON_Delete(shown);
		if (rc != 0)
			return failed(err, port);
	}
	return 0;
}
