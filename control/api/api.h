/* SPDX-License-Identifier: BSD-3-Clause */
/* Helpers of the handlers in this folder. Control thread only. */
#ifndef LEAT_API_H
#define LEAT_API_H

#include "control/call.h"
#include "control/client/req.h"
#include "datapath/base/addr.h"
#include "datapath/packet/translate.h"

extern const struct api_handler api_sys[], api_config[], api_port[], api_endpoint[], api_attach[],
	api_zone[], api_route[], api_neigh[], api_tunnel[], api_conntrack[], api_flow[], api_show[],
	api_observe[], api_metrics[], api_service[], api_group[], api_policy[], api_rule[],
	api_nat[], api_explain[];
extern const struct api_handler api_txn[], api_event[];

static inline struct ip_addr api_ip(const struct schema_ip *ip)
{
	struct ip_addr out;

	memcpy(out.b, ip->b, sizeof(out.b));
	return out;
}

static inline struct ip_prefix api_prefix(const struct schema_prefix *prefix)
{
	struct ip_prefix out = { .len = prefix->len };

	memcpy(out.addr.b, prefix->b, sizeof(out.addr.b));
	return out;
}

static inline struct rte_ether_addr api_mac(const struct schema_mac *mac)
{
	struct rte_ether_addr out;

	memcpy(out.addr_bytes, mac->b, sizeof(out.addr_bytes));
	return out;
}

void api_add_ip(cJSON *object, const char *name, const struct ip_addr *ip);
void api_add_prefix(cJSON *object, const char *name, const struct ip_prefix *prefix);
void api_add_mac(cJSON *object, const char *name, const struct rte_ether_addr *mac);
void api_add_translation(cJSON *object, const char *name, const struct translation *t);

/* Whether a host can have the address; if not, the call has been failed. */
bool api_check_host_ip(struct call *call, const char *field, const struct schema_ip *ip);

/* "0660" → mode; default for NULL. -1 if it is not octal or above 0777. */
int api_mode(const char *text, unsigned int def, uint32_t *out_mode);

/* What people call the pod of an endpoint: "pod" and "namespace", as far as its runtime told them. */
void api_add_pod(cJSON *object, const char *endpoint_id);

/* A page of a list: items are added until the limit is reached. */
struct api_page {
	cJSON *result, *items;
	int64_t left;
};
/* cursor: as api_cursor_number() read it. False: it is none, the call has been failed. */
bool api_page_begin(struct call *call, struct api_page *page, int64_t limit, uint64_t cursor);
/* Whether it found room; if not, the caller sets the cursor and ends. item is taken in both cases. */
bool api_page_add(struct api_page *page, cJSON *item);
/* Ends the call; cursor NULL: this was the last page. */
void api_page_end(struct call *call, struct api_page *page, const char *cursor);

/* Error code for a -errno of the layers below. */
int api_errno_code(int rc);

/* Makes the instance's folder of a vhost socket ("…/vhost/ID/vhost.sock"). 0 or -errno. */
int api_vhost_dir(const char *socket, int64_t uid, int64_t gid);

/* "12" → 12; 0 for NULL; UINT64_MAX if it is no number. */
uint64_t api_cursor_number(const char *cursor);

/* The configured twin of a call, for exist_ok: LEAT_OK if the object in the store was made with the same params, LEAT_ERR_NOT_FOUND if
 * there is none, LEAT_ERR_CONFLICT if it differs (*out_field: where, static). */
int api_compare_stored(const struct call *call, const char **out_field);

/* Common start of an "add": true if the call goes on; else it has been finished (exists: unchanged or failed). */
bool api_add_may_go_on(
	struct call *call, bool is_there, bool exist_ok, const char *what, const char *name);

/* Ends a "del" whose object is not there. True: it is only in the state (it could not be restored): the caller ends the
 * call with success, which removes it there too. */
bool api_del_missing(struct call *call, bool missing_ok, const char *what, const char *name);

#endif
