/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LEAT_API_EXPLAIN_ANSWER_H
#define LEAT_API_EXPLAIN_ANSWER_H

#include <cjson/cJSON.h>

#include "datapath/pipeline/explain.h"

/* The answer to packet.explain about frame m, which came in on p. Control thread only. */
cJSON *explain_answer_json(
	const struct explain_result *res, const struct port *p, const struct rte_mbuf *m);

#endif
