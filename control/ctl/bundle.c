/* SPDX-License-Identifier: BSD-3-Clause */
/* support-bundle: what leatd says about itself and what the machine is like, as one tar archive. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/ctl/ctl.h"

#define ITEMS_MAX 20000 /* of one list: connections and flows may be millions */

static const char *const methods[] = { "sys.hello", "sys.status", "sys.schema", "sys.log_show",
	"config.dump", "port.list", "endpoint.list", "route.list", "neigh.list", "tunnel.list",
	"zone.list", "service.list", "policy.list", "policy.mode_show", "rule.list", "group.list",
	"snat.list", "pool.list", "pair.list", "conntrack.show", "conn.list", "flow.list",
	"worker.show", "stage.show", "drop.show", "mirror.list", "capture.list", "metrics.text" };

static const char *const files[] = { "/proc/version", "/proc/cmdline", "/proc/cpuinfo",
	"/proc/meminfo", "/proc/mounts", "/proc/self/limits", "/etc/os-release" };

static const char *const commands[][6] = {
	{ "ip", "-details", "address", NULL },
	{ "ip", "route", "show", "table", "all", NULL },
	{ "ip", "-6", "route", "show", NULL },
	{ "uname", "-a", NULL },
	{ "journalctl", "--no-pager", "--lines=20000", "--unit=leatd@*", NULL },
};

static FILE *create(const char *dir, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return fopen(path, "we");
}

/* Page after page into the first answer's list, up to ITEMS_MAX; "next" stays where more would have come. */
static int fetch(struct ctl *ctl, const struct method *method, cJSON *params, cJSON **out,
	struct leat_error *err)
{
	const char *list = strcmp(method->name, "config.dump") == 0 ? "calls" : "items";
	int rc = leat_call(ctl->client, method->name, params, out, err);
	cJSON *items = rc == 0 ? cJSON_GetObjectItemCaseSensitive(*out, list) : NULL;
	int n = cJSON_GetArraySize(items);

	while (rc == 0 && items != NULL && n < ITEMS_MAX) {
		cJSON *next = cJSON_DetachItemFromObjectCaseSensitive(*out, "next"), *page, *item;

		if (next == NULL)
			break;
		cJSON_DeleteItemFromObjectCaseSensitive(params, "cursor");
		cJSON_AddItemToObject(params, "cursor", next);
		rc = leat_call(ctl->client, method->name, params, &page, err);
		if (rc != 0)
			break;
		while ((item = cJSON_DetachItemFromArray(
				cJSON_GetObjectItemCaseSensitive(page, list), 0)) != NULL) {
			cJSON_AddItemToArray(items, item);
			n++;
		}
		next = cJSON_DetachItemFromObjectCaseSensitive(page, "next");
		if (next != NULL)
			cJSON_AddItemToObject(*out, "next", next);
		cJSON_Delete(page);
	}
	return rc;
}

static void add_method(struct ctl *ctl, const char *dir, const char *name)
{
	cJSON *params = cJSON_CreateObject(), *result = NULL;
	struct leat_error err = { 0 };
	char file[64];
	FILE *out;
	char *text;

	snprintf(file, sizeof(file), "%s.json", name);
	out = create(dir, file);
	if (out != NULL && fetch(ctl, schema_method(name), params, &result, &err) == 0) {
		text = cJSON_Print(result);
		fputs(text != NULL ? text : "", out);
		cJSON_free(text);
	} else if (out != NULL) {
		cJSON *error = cJSON_CreateObject();

		cJSON_AddStringToObject(error, "error", err.reason);
		text = cJSON_Print(error);
		fputs(text != NULL ? text : "", out);
		cJSON_free(text);
		cJSON_Delete(error);
	}
	if (out != NULL)
		fclose(out);
	cJSON_Delete(result);
	cJSON_Delete(params);
}

static void add_file(const char *dir, const char *path)
{
	FILE *in = fopen(path, "re"), *out = create(dir, strrchr(path, '/') + 1);
	char buf[4096];
	size_t n;

	while (in != NULL && out != NULL && (n = fread(buf, 1, sizeof(buf), in)) > 0)
		fwrite(buf, 1, n, out);
	if (in != NULL)
		fclose(in);
	if (out != NULL)
		fclose(out);
}

/* Runs a program with its output in a file (out_fd -1: as it is). Exit status, or -1. */
static int run(const char *const argv[], int out_fd)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (out_fd >= 0 &&
			(dup2(out_fd, STDOUT_FILENO) < 0 || dup2(out_fd, STDERR_FILENO) < 0))
			_exit(127);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void add_command(const char *dir, unsigned int n, const char *const argv[])
{
	char name[64];
	FILE *out;

	snprintf(name, sizeof(name), "command-%u-%s.txt", n, argv[0]);
	out = create(dir, name);
	if (out == NULL)
		return;
	run(argv, fileno(out));
	fclose(out);
}

int ctl_bundle(struct ctl *ctl, int argc, char **argv)
{
	char dir[] = "/tmp/leat-bundle-XXXXXX";
	const char *const remove[] = { "rm", "-rf", dir, NULL };
	int rc;

	if (argc != 1)
		return ctl_complain(CTL_EXIT_USAGE, "usage: leatctl support-bundle FILE.tar.gz");
	if (mkdtemp(dir) == NULL)
		return ctl_complain(
			CTL_EXIT_FAILED, "cannot make a temporary folder: %s", strerror(errno));
	if (ctl_connect(ctl) == CTL_EXIT_OK)
		for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
			add_method(ctl, dir, methods[i]);
	else
		fprintf(stderr, "leatctl: the bundle holds what the machine says only\n");
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		add_file(dir, files[i]);
	for (unsigned int i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		add_command(dir, i, commands[i]);
	{
		const char *const tar[] = { "tar", "-czf", argv[0], "-C", dir, ".", NULL };

		rc = run(tar, -1);
	}
	run(remove, -1);
	if (rc != 0)
		return ctl_complain(CTL_EXIT_FAILED, "tar could not write %s", argv[0]);
	printf("%s\n", argv[0]);
	return CTL_EXIT_OK;
}
