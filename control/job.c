/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/job.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "control/loop.h"

#define THREADS_MAX 8

struct job {
	STAILQ_ENTRY(job) link;
	job_fn *fn, *done;
	void *arg;
};
STAILQ_HEAD(job_list, job);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_cond_t finished = PTHREAD_COND_INITIALIZER;
static struct job_list todo = STAILQ_HEAD_INITIALIZER(todo), ready = STAILQ_HEAD_INITIALIZER(ready);
static pthread_t threads[THREADS_MAX];
static unsigned int n_threads, n_pending;
static bool must_stop;
static int event_fd = -1;
static struct event *ready_event;

static void *thread_main(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	for (;;) {
		struct job *job = STAILQ_FIRST(&todo);

		if (job == NULL && must_stop)
			break;
		if (job == NULL) {
			pthread_cond_wait(&wake, &lock);
			continue;
		}
		STAILQ_REMOVE_HEAD(&todo, link);
		pthread_mutex_unlock(&lock);
		job->fn(job->arg);
		pthread_mutex_lock(&lock);
		STAILQ_INSERT_TAIL(&ready, job, link);
		pthread_cond_signal(&finished);
		eventfd_write(event_fd, 1);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

static struct job *take_ready(bool must_wait)
{
	struct job *job;

	pthread_mutex_lock(&lock);
	while ((job = STAILQ_FIRST(&ready)) == NULL && must_wait)
		pthread_cond_wait(&finished, &lock);
	if (job != NULL)
		STAILQ_REMOVE_HEAD(&ready, link);
	pthread_mutex_unlock(&lock);
	return job;
}

static void finish(struct job *job)
{
	job_fn *done = job->done;
	void *arg = job->arg;

	n_pending--;
	free(job);
	done(arg);
}

/* One a turn: completions may be costly, and others wait. */
static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct job *job = take_ready(false);
	eventfd_t count;

	(void)what;
	(void)arg;
	if (job == NULL) {
		eventfd_read(fd, &count);
		job = take_ready(false); /* one that came in between */
	}
	if (job != NULL)
		finish(job);
	pthread_mutex_lock(&lock);
	if (!STAILQ_EMPTY(&ready))
		eventfd_write(event_fd, 1);
	pthread_mutex_unlock(&lock);
}

int job_init(unsigned int n)
{
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event_fd < 0)
		return -errno;
	ready_event = loop_watch(event_fd, on_ready, NULL);
	if (ready_event == NULL)
		return -ENOMEM;
	event_priority_set(ready_event, LOOP_PRIO_LIGHT);
	must_stop = false;
	for (n_threads = 0; n_threads < n && n_threads < THREADS_MAX; n_threads++) {
		char name[16];
		int rc = -pthread_create(&threads[n_threads], NULL, thread_main, NULL);

		if (rc < 0)
			return rc;
		snprintf(name, sizeof(name), "leat-job%u", n_threads);
		pthread_setname_np(threads[n_threads], name);
	}
	return 0;
}

void job_drain(void)
{
	while (n_pending > 0)
		finish(take_ready(true));
}

void job_fini(void)
{
	job_drain();
	pthread_mutex_lock(&lock);
	must_stop = true;
	pthread_cond_broadcast(&wake);
	pthread_mutex_unlock(&lock);
	while (n_threads > 0)
		pthread_join(threads[--n_threads], NULL);
	if (ready_event != NULL)
		event_free(ready_event);
	if (event_fd >= 0)
		close(event_fd);
	ready_event = NULL;
	event_fd = -1;
}

int job_submit(job_fn *fn, job_fn *done, void *arg)
{
	struct job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		return -ENOMEM;
	*job = (struct job){ .fn = fn, .done = done, .arg = arg };
	pthread_mutex_lock(&lock);
	STAILQ_INSERT_TAIL(&todo, job, link);
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
	n_pending++;
	return 0;
}

unsigned int job_pending(void)
{
	return n_pending;
}
