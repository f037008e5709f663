/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LEAT_FAST_STRICT_H
#define LEAT_FAST_STRICT_H

#include "datapath/pipeline/batch.h"

/* Strict TCP tracking (conn_window.h) of packet i of a TCP connection: CONN_WINDOW_OK where it is off or the handshake was not
 * seen. *out_is_known: the connection's further segments are to be looked at too. */
enum conn_window_verdict strict_check(
	struct worker *w, struct batch *b, uint64_t i, bool is_v6, bool *out_is_known);

#endif
