/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/args.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *const verbs[CNI_VERB_N] = {
	[CNI_ADD] = "ADD",
	[CNI_DEL] = "DEL",
	[CNI_CHECK] = "CHECK",
	[CNI_GC] = "GC",
	[CNI_STATUS] = "STATUS",
	[CNI_VERSION] = "VERSION",
};

const char *cni_verb_name(enum cni_verb verb)
{
	return verbs[verb];
}

static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && value[0] != '\0' ? value : NULL;
}

int cni_args_verb(enum cni_verb *out, struct cni_error *err)
{
	const char *command = env("CNI_COMMAND");

	if (command == NULL)
		return cni_fail(err, CNI_ERR_ENV, "environment variable CNI_COMMAND is missing");
	for (int v = 0; v < CNI_VERB_N; v++) {
		if (strcmp(command, verbs[v]) == 0) {
			*out = (enum cni_verb)v;
			return 0;
		}
	}
	return cni_fail(err, CNI_ERR_ENV,
		"environment variable CNI_COMMAND: unknown command '%.64s'", command);
}

static int set_arg(char out[CNI_ARG_LEN], const char *key, const char *value, size_t len,
	struct cni_error *err)
{
	if (len == 0 || len >= CNI_ARG_LEN)
		return cni_fail(
			err, CNI_ERR_ENV, "environment variable CNI_ARGS: bad length of %s", key);
	memcpy(out, value, len);
	out[len] = '\0';
	return 0;
}

static bool is_key(const char *text, size_t len, const char *key)
{
	return len == strlen(key) && memcmp(text, key, len) == 0;
}

/* A name for people: cut to fit, left out when it is none. It never stops a pod. */
static void set_name(char out[CNI_POD_LEN], const char *value, size_t len)
{
	if (len >= CNI_POD_LEN)
		len = CNI_POD_LEN - 1;
	out[0] = '\0';
	if (len == 0 || value[0] == '.' || value[0] == '-')
		return;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)value[i]) && strchr("._:-", value[i]) == NULL)
			return;
	memcpy(out, value, len);
	out[len] = '\0';
}

static bool is_true(const char *value, size_t len)
{
	return (len == 1 && *value == '1') || (len == 4 && strncasecmp(value, "true", 4) == 0);
}

int cni_args_parse_pairs(const char *text, struct cni_args *out, struct cni_error *err)
{
	bool ignore_unknown = false;
	char unknown[64] = "";

	while (*text != '\0') {
		size_t pair = strcspn(text, ";");
		const char *eq = memchr(text, '=', pair);
		size_t key, len;
		int rc = 0;

		if (eq == NULL && pair > 0)
			return cni_fail(err, CNI_ERR_ENV,
				"environment variable CNI_ARGS: '%.*s' is not KEY=VALUE",
				(int)(pair < 64 ? pair : 64), text);
		if (eq != NULL) {
			key = (size_t)(eq - text);
			len = pair - key - 1;
			if (key == 13 && memcmp(text, "IgnoreUnknown", 13) == 0)
				ignore_unknown = is_true(eq + 1, len);
			else if (key == 2 && memcmp(text, "IP", 2) == 0)
				rc = set_arg(out->ip, "IP", eq + 1, len, err);
			else if (key == 3 && memcmp(text, "MAC", 3) == 0)
				rc = set_arg(out->mac, "MAC", eq + 1, len, err);
			else if (is_key(text, key, "K8S_POD_NAME"))
				set_name(out->pod, eq + 1, len);
			else if (is_key(text, key, "K8S_POD_NAMESPACE"))
				set_name(out->pod_namespace, eq + 1, len);
			else if (unknown[0] == '\0')
				memcpy(unknown, text,
					key < sizeof(unknown) - 1 ? key : sizeof(unknown) - 1);
			if (rc < 0)
				return rc;
			if (key == 0)
				return cni_fail(err, CNI_ERR_ENV,
					"environment variable CNI_ARGS: empty key");
		}
		text += pair + (text[pair] == ';');
	}
	if (unknown[0] != '\0' && !ignore_unknown)
		return cni_fail(err, CNI_ERR_ENV, "environment variable CNI_ARGS: unknown key '%s'",
			unknown);
	return 0;
}

static int need(const char *name, const char **out, struct cni_error *err)
{
	*out = env(name);
	if (*out == NULL)
		return cni_fail(err, CNI_ERR_ENV, "environment variable %s is missing", name);
	return 0;
}

int cni_args_read(enum cni_verb verb, struct cni_args *out, struct cni_error *err)
{
	const char *text = env("CNI_ARGS");
	bool is_attachment = verb == CNI_ADD || verb == CNI_DEL || verb == CNI_CHECK;

	memset(out, 0, sizeof(*out));
	out->verb = verb;
	if (verb == CNI_VERSION)
		return 0;
	if (need("CNI_PATH", &out->path, err) < 0)
		return -1;
	if (!is_attachment)
		return 0;
	if (need("CNI_CONTAINERID", &out->container, err) < 0 ||
		need("CNI_IFNAME", &out->ifname, err) < 0)
		return -1;
	if (!cni_is_container_id(out->container))
		return cni_fail(err, CNI_ERR_ENV,
			"environment variable CNI_CONTAINERID: '%.80s' is not an id",
			out->container);
	if (!cni_is_ifname(out->ifname))
		return cni_fail(err, CNI_ERR_ENV,
			"environment variable CNI_IFNAME: '%.80s' is not an interface name",
			out->ifname);
	if (verb != CNI_DEL && need("CNI_NETNS", &out->netns, err) < 0)
		return -1;
	out->netns = env("CNI_NETNS");
	/* What DEL does not need must not stop it. */
	if (verb == CNI_DEL || text == NULL)
		return 0;
	return cni_args_parse_pairs(text, out, err);
}
