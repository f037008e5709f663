/* SPDX-License-Identifier: BSD-3-Clause */
/* Who uses an object, by name, for the answer to a "del" that is refused. Control thread only. */
#ifndef LEAT_API_USERS_H
#define LEAT_API_USERS_H

#include <stdint.h>

#include "datapath/pipeline/port.h"

#define API_USER_TEXT_MAX 80

struct api_users {
	unsigned int n, n_named;
	char text[340];
};

/* Each looks for all users of one object ({ 0 } before): a walk over the tables that can name it. */
void api_users_of_port(struct api_users *users, const struct port *port);
void api_users_of_tunnel(struct api_users *users, uint32_t tunnel);
void api_users_of_zone(struct api_users *users, uint16_t zone);
void api_users_of_group(struct api_users *users, uint32_t group);
void api_users_of_pool(struct api_users *users, uint32_t pool);
void api_users_of_policy(struct api_users *users, uint32_t policy);

/* "endpoint a, route 10.0.0.0/8 and 12 more". Once, at the end. */
const char *api_users_text(struct api_users *users);

#endif
