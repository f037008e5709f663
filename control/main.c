/* SPDX-License-Identifier: BSD-3-Clause */
/* leatd: start, run, stop. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "control/call.h"
#include "control/cni_pending.h"
#include "control/config.h"
#include "control/dataplane.h"
#include "control/health.h"
#include "control/identity.h"
#include "control/instance.h"
#include "control/job.h"
#include "control/loop.h"
#include "control/metrics.h"
#include "control/notify.h"
#include "control/options.h"
#include "control/pci.h"
#include "control/purge.h"
#include "control/retry.h"
#include "control/server.h"
#include "control/state.h"
#include "control/tables.h"
#include "control/txn.h"
#include "datapath/base/log.h"

#define JOB_THREADS 4

static struct options opts;
static int exit_code;
static cJSON *config_calls; /* of --config, until they are applied */
static int metrics_fd = -1; /* of --metrics, until it is served */
static struct event *signal_events[2];

static void fatal(const char *fmt, const char *detail)
{
	char text[512];

	snprintf(text, sizeof(text), fmt, detail);
	log_err("leatd", "%s", text);
	exit_code = EXIT_FAILURE;
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	(void)arg;
	log_info("leatd", "stopping signal=%s", sigabbrev_np((int)fd));
	notify_send("STOPPING=1");
	loop_stop();
}

static int watch_signals(void)
{
	static const int signals[] = { SIGTERM, SIGINT };

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < 2; i++) {
		signal_events[i] = evsignal_new(loop_base, signals[i], on_signal, NULL);
		if (signal_events[i] == NULL)
			return -ENOMEM;
		event_priority_set(signal_events[i], LOOP_PRIO_URGENT);
		event_add(signal_events[i], NULL);
	}
	return 0;
}

static void serve(void)
{
	int rc;

	dataplane_open_gate();
	rc = server_start(instance.control_path);
	if (rc < 0) {
		log_err("leatd", "cannot listen on %s: %s", instance.control_path, strerror(-rc));
	} else {
		rc = metrics_start(instance.metrics_path, metrics_fd);
		metrics_fd = -1;
		if (rc < 0)
			log_err("leatd", "cannot listen on %s%s%s: %s", instance.metrics_path,
				opts.metrics_listen != NULL ? " or " : "",
				opts.metrics_listen != NULL ? opts.metrics_listen : "",
				strerror(-rc));
	}
	if (rc < 0) {
		exit_code = EXIT_FAILURE;
		loop_stop();
		return;
	}
	instance.is_ready = true;
	log_info("leatd", "ready instance=%s workers=%u start_ms=%llu", instance.name, opts.n_cores,
		(unsigned long long)((loop_now_ns() - instance.started_ns) / 1000000));
	notify_send("READY=1");
	retry_start();
}

static void on_config_done(const struct leat_error *err)
{
	if (err->code != LEAT_OK) {
		log_err("config", "%s: %s: %s", opts.config_file, err->field, err->reason);
		exit_code = EXIT_FAILURE;
		loop_stop();
		return;
	}
	serve();
}

static void on_replayed(int rc)
{
	cJSON *calls = config_calls;

	if (rc < 0) {
		fatal("cannot load the state file: %s", strerror(-rc));
		loop_stop();
		return;
	}
	cni_pending_detach(instance.state_dir);
	config_calls = NULL;
	if (calls == NULL)
		serve();
	else
		config_apply(calls, on_config_done);
}

/* What the options name, before anything is started for it. 0 or -1 (logged). */
static int check_options(void)
{
	struct leat_error err;

	if (opts.config_file != NULL) {
		config_calls = config_read(opts.config_file, &err);
		if (config_calls == NULL || config_check_calls(config_calls, &err) != 0) {
			log_err("config", "%s: %s%s%s", opts.config_file, err.field,
				err.field[0] != '\0' ? ": " : "", err.reason);
			return -1;
		}
	}
	if (opts.metrics_listen != NULL) {
		metrics_fd = metrics_bind(opts.metrics_listen);
		if (metrics_fd < 0) {
			log_err("metrics", "cannot listen on %s: %s", opts.metrics_listen,
				strerror(-metrics_fd));
			return -1;
		}
	}
	return 0;
}

static int check(void)
{
	struct leat_error err;
	cJSON *calls = config_read(opts.config_file, &err);
	int rc = calls == NULL ? err.code : config_check(calls, &err);

	cJSON_Delete(calls);
	if (rc != 0)
		fprintf(stderr, "leatd: %s%s%s\n", err.field, err.field[0] != '\0' ? ": " : "",
			err.reason);
	else
		printf("%s: good\n", opts.config_file);
	return rc != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int lock(void)
{
	int pid, rc = instance_lock(&pid);

	if (rc == -EBUSY)
		log_err("leatd", "another leatd runs as instance %s pid=%d", instance.name, pid);
	else if (rc < 0)
		log_err("leatd", "cannot use %s and %s: %s", instance.run_dir, instance.state_dir,
			strerror(-rc));
	return rc;
}

/* Ports and clients are descriptors: as many as we may have. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warn("leatd", "cannot raise the limit of open files: %s", strerror(errno));
}

static int run(void)
{
	char errbuf[400] = "";
	int rc;

	raise_limits();
	if (loop_init() < 0 || call_init() < 0 || watch_signals() < 0 || txn_init() < 0 ||
		job_init(JOB_THREADS) < 0) {
		fatal("%s", "cannot set up the event loop");
		return exit_code;
	}
	rc = state_open(instance.state_dir);
	if (rc < 0) {
		fatal("cannot open the state file: %s", strerror(-rc));
		goto out_loop;
	}
	rc = identity_load();
	if (rc < 0) {
		fatal("cannot keep the tunnel MAC in the state folder: %s", strerror(-rc));
		goto out_state;
	}
	pci_collect(&opts);
	rc = dataplane_start(&opts, errbuf, sizeof(errbuf));
	if (rc < 0) {
		fatal("%s", errbuf);
		goto out_state;
	}
	state_replay(on_replayed);
	loop_run();
	call_fini();
	server_stop();
	metrics_stop();
	health_stop();
	job_fini();
	txn_fini();
	dataplane_stop();
	log_info("leatd", "stopped instance=%s", instance.name);
out_state:
	state_close();
out_loop:
	for (size_t i = 0; i < 2; i++)
		event_free(signal_events[i]);
	loop_fini();
	return exit_code;
}

static int purge(void)
{
	int rc = loop_init() < 0 || purge_all() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;

	loop_fini();
	return rc;
}

int main(int argc, char **argv)
{
	int rc;

	options_parse(argc, argv, &opts);
	instance.started_s = time(NULL);
	instance.started_ns = loop_now_ns();
	if (instance_set_name(opts.instance) < 0) {
		fprintf(stderr, "leatd: --instance must be 1 to %d of A-Z a-z 0-9 . _ -\n",
			INSTANCE_NAME_MAX);
		return 2;
	}
	if (opts.mode == OPTIONS_CHECK)
		return check();
	if (opts.mode == OPTIONS_RUN && check_options() < 0)
		return EXIT_FAILURE;
	if (lock() < 0)
		return EXIT_FAILURE;
	if (opts.mode == OPTIONS_PURGE)
		rc = purge();
	else
		rc = run();
	instance_unlock();
	return rc;
}
