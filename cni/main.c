/* SPDX-License-Identifier: BSD-3-Clause */
/* leat-cni: reads the call, runs the verb, writes the result or the error object. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cni/verbs.h"

static char *read_stdin(size_t *out_len, struct cni_error *err)
{
	size_t len = 0, size = 65536;
	char *text = malloc(size);

	while (text != NULL) {
		ssize_t n = read(STDIN_FILENO, text + len, size - len - 1);
		char *more;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			cni_fail(err, CNI_ERR_IO, "cannot read the configuration: %s",
				strerror(errno));
			free(text);
			return NULL;
		}
		len += (size_t)n;
		text[len] = '\0';
		if (n == 0) {
			*out_len = len;
			return text;
		}
		if (len < size - 1)
			continue;
		size *= 2;
		more = size > CNI_CONF_SIZE_MAX ? NULL : realloc(text, size);
		if (more == NULL) {
			free(text);
			cni_fail(err, CNI_ERR_DECODE,
				"network configuration is longer than %u bytes",
				CNI_CONF_SIZE_MAX / 2);
			return NULL;
		}
		text = more;
	}
	cni_fail(err, CNI_ERR_IO, "out of memory");
	return NULL;
}

/* Takes the object over. 0 or -1: the reader is gone. */
static int print(cJSON *json)
{
	char *text = cJSON_Print(json);
	int rc = text == NULL || puts(text) == EOF || fflush(stdout) == EOF ? -1 : 0;

	free(text);
	cJSON_Delete(json);
	return rc;
}

static int print_error(const char *version, const struct cni_error *err)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddStringToObject(json, "cniVersion", version);
	cJSON_AddNumberToObject(json, "code", err->code);
	cJSON_AddStringToObject(json, "msg", err->msg);
	if (err->details[0] != '\0')
		cJSON_AddStringToObject(json, "details", err->details);
	print(json);
	return EXIT_FAILURE;
}

static int answer_version(const char *text, size_t len, struct cni_error *err)
{
	char version[32];
	cJSON *json, *list;

	if (cni_conf_peek_version(text, len, version, err) < 0)
		return -1;
	json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "cniVersion",
		version[0] != '\0' ? version : cni_version_name(CNI_VERSION_N - 1));
	list = cJSON_AddArrayToObject(json, "supportedVersions");
	for (int v = 0; v < CNI_VERSION_N; v++)
		cJSON_AddItemToArray(
			list, cJSON_CreateString(cni_version_name((enum cni_version)v)));
	print(json);
	return 0;
}

static int add(const struct cni_args *args, const struct cni_conf *conf, struct cni_error *err)
{
	struct cni_add state;
	cJSON *result = NULL;
	int rc = cni_add(args, conf, &state, &result, err);

	if (rc == 0 && print(result) < 0) {
		rc = cni_fail(err, CNI_ERR_IO, "nobody reads the result");
		cni_add_undo(args, conf, &state);
	}
	cni_add_fini(&state);
	return rc;
}

static int run(const struct cni_args *args, const struct cni_conf *conf, struct cni_error *err)
{
	switch (args->verb) {
	case CNI_ADD:
		return add(args, conf, err);
	case CNI_DEL:
		return cni_del(args, conf, err);
	case CNI_CHECK:
		return cni_check(args, conf, err);
	case CNI_GC:
		return cni_gc(args, conf, err);
	default:
		return cni_status(args, conf, err);
	}
}

/* Descriptors 0 to 2 are there, whatever the caller closed: no file of ours may take their place. */
static void open_standard_fds(void)
{
	FILE *file;

	do {
		file = fopen("/dev/null", "r+");
	} while (file != NULL && fileno(file) <= STDERR_FILENO);
	if (file != NULL)
		fclose(file);
}

int main(int argc, char **argv)
{
	char version[32] = "1.1.0";
	struct cni_error err = { 0 };
	struct cni_conf conf = { 0 };
	struct cni_args args;
	enum cni_verb verb;
	size_t len = 0;
	char *text;
	int rc;

	if (argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "--help") == 0)) {
		printf("leat-cni " LEAT_VERSION
		       ", CNI plugin for leat (protocol 0.3.1, 0.4.0, 1.0.0, 1.1.0); "
		       "called by container runtimes, see leat-cni(8)\n");
		return EXIT_SUCCESS;
	}
	open_standard_fds();
	signal(SIGPIPE, SIG_IGN);
	if (cni_args_verb(&verb, &err) < 0 || cni_args_read(verb, &args, &err) < 0)
		return print_error(version, &err);
	text = read_stdin(&len, &err);
	if (text == NULL)
		return print_error(version, &err);
	if (verb == CNI_VERSION) {
		rc = answer_version(text, len, &err);
	} else {
		struct cni_error ignored;
		char named[32];

		if (cni_conf_peek_version(text, len, named, &ignored) == 0 &&
			cni_version_by_name(named) != CNI_VERSION_NONE)
			memcpy(version, named, sizeof(version));
		rc = cni_conf_parse(text, len, &args, &conf, &err);
		if (rc == 0)
			rc = run(&args, &conf, &err);
	}
	if (rc < 0)
		print_error(version, &err);
	cni_conf_fini(&conf);
	free(text);
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
