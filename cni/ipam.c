/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/ipam.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bsd/string.h>

#include "cni/exec.h"

#define IPAM_TIMEOUT_MS 60000
#define PROBE_TIMEOUT_MS 10000

extern char **environ;

static char *find(const char *cni_path, const char *type)
{
	while (*cni_path != '\0') {
		size_t n = strcspn(cni_path, ":");
		struct stat st;
		char *path;

		if (n > 0 && asprintf(&path, "%.*s/%s", (int)n, cni_path, type) >= 0) {
			if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
				return path;
			free(path);
		}
		cni_path += n + (cni_path[n] == ':');
	}
	return NULL;
}

static bool is_replaced(const char *entry)
{
	static const char *const names[] = {
		"CNI_COMMAND=", "CNI_CONTAINERID=", "CNI_IFNAME=", "CNI_NETNS="
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(entry, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static char *env_entry(const char *name, const char *value)
{
	char *entry = NULL;

	return value != NULL && asprintf(&entry, "%s=%s", name, value) >= 0 ? entry : NULL;
}

/* The environment with the call's own variables. The first *out_n entries are to be freed, then the array. */
static char **make_env(enum cni_verb verb, const struct cni_attachment *attachment, size_t *out_n)
{
	static const struct cni_attachment none;
	size_t n = 0, len = 0;
	char **envp;

	if (attachment == NULL)
		attachment = &none;
	while (environ[len] != NULL)
		len++;
	envp = calloc(len + 5, sizeof(*envp));
	if (envp == NULL)
		return NULL;
	envp[n++] = env_entry("CNI_COMMAND", cni_verb_name(verb));
	if (attachment->container != NULL)
		envp[n++] = env_entry("CNI_CONTAINERID", attachment->container);
	if (attachment->ifname != NULL)
		envp[n++] = env_entry("CNI_IFNAME", attachment->ifname);
	if (attachment->netns != NULL && attachment->netns[0] != '\0')
		envp[n++] = env_entry("CNI_NETNS", attachment->netns);
	*out_n = n;
	for (size_t i = 0; i < len; i++)
		if (!is_replaced(environ[i]))
			envp[n++] = environ[i];
	return envp;
}

static int run(const struct cni_ipam *ipam, enum cni_verb verb,
	const struct cni_attachment *attachment, const char *in, int timeout_ms, char **out,
	int *out_status, struct cni_error *err)
{
	size_t n_own = 0;
	char **envp = make_env(verb, attachment, &n_own);
	int rc = envp == NULL
		? -ENOMEM
		: cni_exec(ipam->path, envp, in, strlen(in), timeout_ms, out, out_status);

	for (size_t i = 0; i < n_own; i++)
		free(envp[i]);
	free(envp);
	if (rc == -ETIMEDOUT)
		return cni_fail(err, CNI_ERR_AGAIN, "ipam %s: no answer to %s within %d s",
			ipam->type, cni_verb_name(verb), timeout_ms / 1000);
	if (rc < 0)
		return cni_fail(err, CNI_ERR_IO, "ipam %s: cannot run %s: %s", ipam->type,
			ipam->path, strerror(-rc));
	return 0;
}

/* The plugin's own error object, or what its end tells. */
static int plugin_error(const struct cni_ipam *ipam, enum cni_verb verb, const char *out,
	int status, struct cni_error *err)
{
	cJSON *json = cJSON_Parse(out);
	const cJSON *code = cJSON_GetObjectItemCaseSensitive(json, "code");
	const char *msg = cni_json_string(json, "msg"), *details = cni_json_string(json, "details");

	if (cJSON_IsNumber(code) && code->valueint > 0) {
		cni_fail(err, code->valueint, "ipam %s: %s", ipam->type,
			msg != NULL ? msg : "no message");
		if (details != NULL)
			strlcpy(err->details, details, sizeof(err->details));
	} else if (WIFSIGNALED(status)) {
		cni_fail(err, CNI_ERR_IPAM, "ipam %s: %s was killed by signal %d", ipam->type,
			cni_verb_name(verb), WTERMSIG(status));
	} else {
		cni_fail(err, CNI_ERR_IPAM, "ipam %s: %s ended with status %d and no error",
			ipam->type, cni_verb_name(verb), WEXITSTATUS(status));
	}
	cJSON_Delete(json);
	return -1;
}

static enum cni_version highest(const cJSON *versions)
{
	enum cni_version best = CNI_VERSION_NONE;
	const cJSON *item;

	cJSON_ArrayForEach(item, versions) {
		enum cni_version v = cJSON_IsString(item) ? cni_version_by_name(item->valuestring)
							  : CNI_VERSION_NONE;

		if (v != CNI_VERSION_NONE && (best == CNI_VERSION_NONE || v > best))
			best = v;
	}
	return best;
}

static int probe(struct cni_ipam *ipam, enum cni_version wanted, struct cni_error *err)
{
	char in[64], *out = NULL;
	int status;
	cJSON *json;

	snprintf(in, sizeof(in), "{\"cniVersion\":\"%s\"}", cni_version_name(wanted));
	if (run(ipam, CNI_VERSION, NULL, in, PROBE_TIMEOUT_MS, &out, &status, err) < 0)
		return -1;
	if (status != 0) {
		plugin_error(ipam, CNI_VERSION, out, status, err);
		free(out);
		return -1;
	}
	json = cJSON_Parse(out);
	free(out);
	ipam->version = highest(cJSON_GetObjectItemCaseSensitive(json, "supportedVersions"));
	cJSON_Delete(json);
	if (ipam->version == CNI_VERSION_NONE)
		return cni_fail(err, CNI_ERR_CONFIG,
			"ipam.type: %s speaks no CNI version from 0.3.1 to 1.1.0", ipam->type);
	return 0;
}

int cni_ipam_open(const struct cni_conf *conf, const struct cni_args *args, struct cni_ipam *out,
	struct cni_error *err)
{
	memset(out, 0, sizeof(*out));
	if (conf->ipam == NULL)
		return 0;
	out->type = conf->ipam_type;
	out->path = find(args->path, conf->ipam_type);
	if (out->path == NULL)
		return cni_fail(err, CNI_ERR_CONFIG,
			"ipam.type: no plugin '%.64s' in CNI_PATH (%.256s)", conf->ipam_type,
			args->path);
	if (probe(out, conf->version, err) < 0) {
		cni_ipam_close(out);
		return -1;
	}
	return 0;
}

void cni_ipam_close(struct cni_ipam *ipam)
{
	free(ipam->path);
	ipam->path = NULL;
}

bool cni_ipam_has(const struct cni_ipam *ipam, enum cni_verb verb)
{
	if (ipam->path == NULL)
		return false;
	if (verb == CNI_GC || verb == CNI_STATUS)
		return ipam->version >= CNI_V1_1_0;
	return verb != CNI_CHECK || ipam->version >= CNI_V0_4_0;
}

/* The configuration at the IPAM plugin's version. */
static char *make_conf(const struct cni_ipam *ipam, const struct cni_conf *conf)
{
	cJSON *json = cJSON_Duplicate(conf->json, true);
	cJSON *prev = cJSON_GetObjectItemCaseSensitive(json, "prevResult");
	char *text;

	cJSON_DeleteItemFromObjectCaseSensitive(json, "cniVersion");
	cJSON_AddStringToObject(json, "cniVersion", cni_version_name(ipam->version));
	if (cJSON_IsObject(prev))
		cni_result_convert(prev, ipam->version);
	text = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	return text;
}

int cni_ipam_call(const struct cni_ipam *ipam, enum cni_verb verb, const struct cni_conf *conf,
	const struct cni_attachment *attachment, cJSON **out_result, struct cni_error *err)
{
	char *in, *out = NULL;
	int status = 0, rc;

	if (out_result != NULL)
		*out_result = NULL;
	if (ipam->path == NULL)
		return 0;
	in = make_conf(ipam, conf);
	if (in == NULL)
		return cni_fail(err, CNI_ERR_IO, "out of memory");
	rc = run(ipam, verb, attachment, in, IPAM_TIMEOUT_MS, &out, &status, err);
	free(in);
	if (rc < 0)
		return -1;
	if (status != 0)
		rc = plugin_error(ipam, verb, out, status, err);
	else if (out_result != NULL) {
		*out_result = cJSON_Parse(out);
		if (!cJSON_IsObject(*out_result)) {
			cJSON_Delete(*out_result);
			*out_result = NULL;
			rc = cni_fail(err, CNI_ERR_IPAM, "ipam %s: %s answered no JSON object",
				ipam->type, cni_verb_name(verb));
		}
	}
	free(out);
	return rc;
}
