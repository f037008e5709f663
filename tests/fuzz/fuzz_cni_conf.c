/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a runtime hands to leat-cni. Input: one byte for the verb, CNI_ARGS up to the first newline, then the network
 * configuration. An accepted configuration is taken through the forms of all versions, its prevResult also as an
 * IPAM plugin's answer.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cni/conf.h"
#include "cni/result.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static void use(const struct cni_conf *conf)
{
	struct cni_ipam_result ipam;
	struct cni_error err;

	for (int v = 0; v < CNI_VERSION_N; v++) {
		const struct cni_interface iface = { "eth0", "0a:58:0a:00:00:05", "/n", conf->mtu,
			"/s" };
		cJSON *result = cni_result_create(conf->prev_result, (enum cni_version)v);
		int idx = cni_result_add_interface(result, (enum cni_version)v, &iface);
		char *text;

		for (unsigned int i = 0; i < conf->n_ips; i++) {
			cni_result_add_ip(result, (enum cni_version)v, &conf->ips[i], idx);
			cni_result_add_route(result, &conf->ips[i]);
		}
		cni_result_set_dns(result, conf->dns);
		if (cni_result_find_interface(result, "eth0") < 0)
			abort();
		text = cJSON_PrintUnformatted(result);
		free(text);
		cJSON_Delete(result);
	}
	cni_ipam_result_parse(conf->prev_result, &ipam, &err);
	cni_ipam_result_fini(&ipam);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cni_args args = { .container = "c", .ifname = "eth0", .netns = "/n", .path = "/p" };
	struct cni_error err;
	struct cni_conf conf;
	char version[32];
	char *text, *line_end;
	size_t len;

	if (size < 1)
		return 0;
	text = malloc(size);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	args.verb = (enum cni_verb)(data[0] % CNI_VERSION);
	line_end = memchr(text, '\n', size - 1);
	if (line_end != NULL) {
		*line_end = '\0';
		cni_args_parse_pairs(text, &args, &err);
		line_end++;
	} else {
		line_end = text;
	}
	len = size - 1 - (size_t)(line_end - text);
	cni_conf_peek_version(line_end, len, version, &err);
	if (cni_conf_parse(line_end, len, &args, &conf, &err) == 0) {
		use(&conf);
		cni_conf_fini(&conf);
	} else if (err.code == 0 || err.msg[0] == '\0') {
		abort(); /* every refusal has a code and a sentence */
	}
	free(text);
	return 0;
}
