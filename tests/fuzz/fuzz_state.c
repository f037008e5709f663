/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A saved state that was damaged or written by somebody else, through leatd's own reader. Input: lines of a journal;
 * where one begins with '+', its checksum is computed here, any other is taken as it is. Beyond the sanitizers: whatever could
 * be read is read again, the same, after the journal has been compacted and after it has not.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/journal.h"
#include "control/loop.h"
#include "control/state.h"
#include "datapath/base/log.h"
#include "tests/fuzz/fuzz.h"

static char dir[64];

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void remove_files(void)
{
	static const char *const names[] = { "state.journal", "state.journal.new",
		"state.journal.bad" };
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
}

static void clean_up(void)
{
	remove_files();
	rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	snprintf(dir, sizeof(dir), "%s/leat-fuzz-state-XXXXXX",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	must(mkdtemp(dir) != NULL);
	atexit(clean_up);
	must(loop_init() == 0);
	/* Bad lines are what this is about: nobody reads a log line for each. */
	log_set_level(LOG_LEVEL_ERR);
	return 0;
}

static void write_file(const uint8_t *data, size_t size)
{
	const uint8_t *at = data, *end = data + size;
	char path[128];
	FILE *out;

	snprintf(path, sizeof(path), "%s/state.journal", dir);
	out = fopen(path, "we");
	must(out != NULL);
	while (at < end) {
		const uint8_t *newline = memchr(at, '\n', (size_t)(end - at)),
			      *stop = newline != NULL ? newline : end;

		if (*at == '+') {
			at++;
			fprintf(out, "%08x ", journal_crc((const char *)at, (size_t)(stop - at)));
		}
		fwrite(at, 1, (size_t)(stop - at), out);
		if (newline != NULL)
			fputc('\n', out);
		at = stop + 1;
	}
	must(fclose(out) == 0);
}

/* Everything that the store holds, as text; each item is sound. */
static char *dump(void)
{
	struct store_item *item = NULL;
	char *text = NULL, key[STORE_KEY_MAX];
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	while ((item = store_next(state_store(), item != NULL ? item->method->class : OBJECT_NONE,
			item != NULL ? item->seq : 0)) != NULL) {
		cJSON *params = cJSON_Parse(item->params);
		struct leat_error err;
		struct schema_req req;

		must(item->method->flags & METHOD_SETS);
		must(schema_decode(item->method, params, &req, &err) == 0);
		must(schema_key(item->method, req.data, key, sizeof(key)) == 0 &&
			strcmp(key, item->key) == 0);
		schema_req_fini(&req);
		cJSON_Delete(params);
		fprintf(out, "%s %s %s\n", item->key, item->method->name, item->params);
	}
	must(fclose(out) == 0);
	return text;
}

static char *load(bool must_compact)
{
	const struct timeval compacted = { .tv_usec = 4000 };
	char *text;

	must(state_open(dir) == 0 && state_load(UINT64_MAX) == 0);
	text = dump();
	if (must_compact) { /* it begins after a pause, and this much is one slice */
		event_base_loopexit(loop_base, &compacted);
		event_base_dispatch(loop_base);
	}
	state_close();
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *first, *second, *third;

	write_file(data, size);
	first = load(false);
	second = load(true);
	third = load(true);
	must(strcmp(first, second) == 0 && strcmp(first, third) == 0);
	free(first);
	free(second);
	free(third);
	remove_files();
	return 0;
}
