/* SPDX-License-Identifier: BSD-3-Clause */
/* top: workers, what the ports carry and what is discarded, a second, again and again. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bsd/stdlib.h>

#include "control/ctl/ctl.h"
#include "control/ctl/table.h"

enum { WORKERS, PORTS, DROPS, N_LISTS };

static const char *const methods[N_LISTS] = { "worker.show", "port.list", "drop.show" };
/* Views of its own. */
static const struct method views[N_LISTS] = { { .name = "worker.show" }, { .name = "top.port" },
	{ .name = "top.drop" } };

struct sample {
	cJSON *items[N_LISTS];
	double time_s;
};

static void sample_fini(struct sample *sample)
{
	for (int i = 0; i < N_LISTS; i++)
		cJSON_Delete(sample->items[i]);
	memset(sample, 0, sizeof(*sample));
}

static int sample_take(struct ctl *ctl, struct sample *out)
{
	struct timespec ts;
	int rc = CTL_EXIT_OK;

	memset(out, 0, sizeof(*out));
	for (int i = 0; i < N_LISTS && rc == CTL_EXIT_OK; i++) {
		cJSON *result = NULL;

		rc = ctl_call_paged(ctl, methods[i], cJSON_CreateObject(), "items", &result);
		out->items[i] = cJSON_DetachItemFromObjectCaseSensitive(result, "items");
		cJSON_Delete(result);
	}
	clock_gettime(CLOCK_MONOTONIC, &ts);
	out->time_s = (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
	return rc;
}

static void add_rate(
	cJSON *item, const cJSON *since, const char *counter, const char *name, double factor)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(since, counter);

	cJSON_AddNumberToObject(
		item, name, cJSON_IsNumber(value) ? value->valuedouble * factor : 0);
}

/* What the counters gained since the sample before, a second. */
static void add_rates(struct sample *now, const struct sample *before)
{
	double per_s = 1 / (now->time_s > before->time_s ? now->time_s - before->time_s : 1);

	for (int i = PORTS; i < N_LISTS; i++) {
		cJSON *gained = cJSON_Duplicate(now->items[i], true), *item = now->items[i]->child;
		const cJSON *gain;

		ctl_items_since(gained, before->items[i]);
		cJSON_ArrayForEach(gain, gained) {
			if (i == PORTS) {
				add_rate(item, gain, "rx_packets", "rx_pps", per_s);
				add_rate(item, gain, "rx_bytes", "rx_bps", 8 * per_s);
				add_rate(item, gain, "tx_packets", "tx_pps", per_s);
				add_rate(item, gain, "tx_bytes", "tx_bps", 8 * per_s);
			} else {
				add_rate(item, gain, "packets", "packets_per_s", per_s);
			}
			item = item->next;
		}
		cJSON_Delete(gained);
	}
}

static int show(const struct ctl *ctl, const struct sample *sample)
{
	for (int i = 0; i < N_LISTS; i++) {
		if (ctl->is_json) {
			ctl_print_json(sample->items[i]);
			continue;
		}
		if (i == PORTS && ctl->sort != NULL &&
			table_sort(&views[i], sample->items[i], ctl->sort) < 0)
			return ctl_complain(CTL_EXIT_USAGE, "top has no column \"%s\"", ctl->sort);
		table_print(&views[i], sample->items[i], ctl->is_wide);
		putchar('\n');
	}
	fflush(stdout);
	return CTL_EXIT_OK;
}

int ctl_top(struct ctl *ctl, int argc, char **argv)
{
	const char *interval = ctl_take_option(&argc, argv, "interval"),
		   *count = ctl_take_option(&argc, argv, "count");
	struct sample before = { 0 }, now;
	long ms = 1000, rounds = -1;
	const char *bad = NULL;
	int rc;

	if (count != NULL)
		rounds = (long)strtonum(count, 1, LONG_MAX, &bad);
	if (interval != NULL && ctl_seconds("interval", interval, 0.1, &ms) < 0)
		return CTL_EXIT_USAGE;
	if (argc != 0 || bad != NULL)
		return ctl_complain(CTL_EXIT_USAGE,
			"usage: leatctl top [interval=SECONDS, at least 0.1] [count=N]");
	rc = sample_take(ctl, &before);
	while (rounds != 0 && rc == CTL_EXIT_OK) {
		ctl_wait_ms(ms);
		rc = sample_take(ctl, &now);
		if (rc == CTL_EXIT_OK) {
			add_rates(&now, &before);
			if (isatty(STDOUT_FILENO))
				fputs("\033[H\033[2J", stdout);
			rc = show(ctl, &now);
		}
		sample_fini(&before);
		before = now;
		rounds -= rounds > 0;
	}
	sample_fini(&before);
	return rc;
}
