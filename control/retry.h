/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pods that could not be taken up at start (descriptors ran out, the pod refused a route for now) are tried again, one a second in turn;
 * those whose namespace has gone stay as they are until they are detached. Control thread.
 */
#ifndef LEAT_RETRY_H
#define LEAT_RETRY_H

/* When everything has been restored as far as it goes. */
void retry_start(void);

#endif
