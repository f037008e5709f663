/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slow work off the control thread: netlink in pods' namespaces, opening devices. A few helper threads; done() runs on the
 * control thread.
 */
#ifndef LEAT_JOB_H
#define LEAT_JOB_H

typedef void job_fn(void *arg);

int job_init(unsigned int n_threads);

/* Waits for what has been submitted, runs its done(), stops the helpers. */
void job_fini(void);

/* Control thread. fn(arg) runs on a helper thread, then done(arg) on the control thread. 0 or -ENOMEM. */
int job_submit(job_fn *fn, job_fn *done, void *arg);

/* Waits until no job is left; their done() run meanwhile. */
void job_drain(void);

/* Jobs not yet done. Control thread. */
unsigned int job_pending(void);

#endif
