/* SPDX-License-Identifier: BSD-3-Clause */
/* Counters since a mark: `mark FILE` keeps what the lists say now, `--since FILE` takes it off what they say later. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/ctl/cell.h"
#include "control/ctl/ctl.h"

static const char *const methods[] = { "port.list", "drop.show", "worker.show", "stage.show",
	"service.list", "rule.list", "snat.list", "pool.list", "pair.list" };

int ctl_mark(struct ctl *ctl, int argc, char **argv)
{
	cJSON *mark = cJSON_CreateObject(), *result = NULL;
	int fd, rc = CTL_EXIT_OK;
	FILE *out;
	char *text;

	if (argc != 1) {
		cJSON_Delete(mark);
		return ctl_complain(CTL_EXIT_USAGE, "usage: leatctl mark FILE");
	}
	rc = ctl_call(ctl, "sys.hello", cJSON_CreateObject(), &result);
	if (rc == CTL_EXIT_OK)
		cJSON_AddItemToObject(mark, "hello", result);
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]) && rc == CTL_EXIT_OK; i++) {
		rc = ctl_call_paged(ctl, methods[i], cJSON_CreateObject(), "items", &result);
		if (rc == CTL_EXIT_OK)
			cJSON_AddItemToObject(mark, methods[i], result);
	}
	text = rc == CTL_EXIT_OK ? cJSON_PrintUnformatted(mark) : NULL;
	cJSON_Delete(mark);
	if (text == NULL)
		return rc != CTL_EXIT_OK ? rc : CTL_EXIT_FAILED;
	fd = open(argv[0], O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	out = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (out == NULL || fputs(text, out) < 0 || fclose(out) != 0)
		rc = ctl_complain(CTL_EXIT_FAILED, "cannot write %s: %s", argv[0], strerror(errno));
	cJSON_free(text);
	return rc;
}

/* Whether both stand for the same object: all that names it is equal. */
static bool is_same(const cJSON *a, const cJSON *b)
{
	static const char *const names[] = { "name", "id", "port", "reason", "policy", "zone",
		"worker", "stage", "internal" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const cJSON *x = cJSON_GetObjectItemCaseSensitive(a, names[i]),
			    *y = cJSON_GetObjectItemCaseSensitive(b, names[i]);

		if ((x == NULL) != (y == NULL) || (x != NULL && !cJSON_Compare(x, y, true)))
			return false;
	}
	return true;
}

static void subtract(cJSON *item, const cJSON *before)
{
	cJSON *value;

	cJSON_ArrayForEach(value, item) {
		const cJSON *old = cJSON_GetObjectItemCaseSensitive(before, value->string);

		if (cJSON_IsNumber(value) && cJSON_IsNumber(old) &&
			cell_is_counter(value->string) && old->valuedouble <= value->valuedouble)
			cJSON_SetNumberValue(value, value->valuedouble - old->valuedouble);
	}
}

void ctl_items_since(cJSON *items, const cJSON *before)
{
	cJSON *item;
	const cJSON *old;

	/* Both lists are in the same order, but for what came and went: the search goes on where it ended. */
	old = before != NULL ? before->child : NULL;
	cJSON_ArrayForEach(item, items) {
		const cJSON *start = old;

		while (old != NULL && !is_same(item, old))
			old = old->next;
		if (old == NULL)
			for (old = before != NULL ? before->child : NULL;
				old != NULL && old != start; old = old->next)
				if (is_same(item, old))
					break;
		if (old != NULL && is_same(item, old)) {
			subtract(item, old);
			old = old->next;
		} else {
			old = start;
		}
	}
}

static cJSON *read_mark(const char *path)
{
	FILE *in = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;
	cJSON *mark = NULL;

	if (in != NULL && getdelim(&text, &size, '\0', in) > 0)
		mark = cJSON_Parse(text);
	if (in == NULL)
		ctl_complain(CTL_EXIT_USAGE, "cannot read %s: %s", path, strerror(errno));
	else if (mark == NULL)
		ctl_complain(CTL_EXIT_USAGE, "%s is no mark", path);
	if (in != NULL)
		fclose(in);
	free(text);
	return mark;
}

int ctl_apply_since(struct ctl *ctl, const char *method, cJSON *items)
{
	cJSON *mark = read_mark(ctl->since), *hello = NULL;
	const cJSON *saved = cJSON_GetObjectItemCaseSensitive(mark, method),
		    *started = cJSON_GetObjectItemCaseSensitive(
			    cJSON_GetObjectItemCaseSensitive(mark, "hello"), "started_s");
	int rc = CTL_EXIT_OK;

	if (mark == NULL)
		return CTL_EXIT_USAGE;
	if (saved == NULL)
		rc = ctl_complain(CTL_EXIT_USAGE, "a mark holds nothing of %s", method);
	if (rc == CTL_EXIT_OK)
		rc = ctl_call(ctl, "sys.hello", cJSON_CreateObject(), &hello);
	/* Counters of a leatd that has started anew began at 0. */
	if (rc == CTL_EXIT_OK &&
		cJSON_Compare(started, cJSON_GetObjectItemCaseSensitive(hello, "started_s"), true))
		ctl_items_since(items, cJSON_GetObjectItemCaseSensitive(saved, "items"));
	cJSON_Delete(hello);
	cJSON_Delete(mark);
	return rc;
}
