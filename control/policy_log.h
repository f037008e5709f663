/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules that log: an event "policy-log" for each message, and a line in the log. Control thread only. */
#ifndef LEAT_POLICY_LOG_H
#define LEAT_POLICY_LOG_H

#include "datapath/pipeline/punt.h"

/* msg: PUNT_LOG. */
void policy_log_write(const struct punt_msg *msg);

#endif
