/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "control/call.h"
#include "control/journal.h"
#include "control/loop.h"
#include "datapath/base/log.h"

/* Compaction makes way for everything else: beside polling workers, a thread that runs for longer at a stretch takes a core away
 * from one of them for milliseconds. */
#define COMPACT_SLICE_NS 200000ull
#define COMPACT_PAUSE_US 2000

#define ITEM_FORMAT "{\"calls\":[{\"method\":\"%s\",\"params\":%s}]}"

static struct store *store;
static struct journal *journal;
static struct state_counts counts;
static int write_error; /* -errno of the last write, 0 */
static struct event *sync_event;
static uint64_t synced;
static void (*on_synced)(int rc);

/* What adopted flows wait for is loaded and brought back first: ports and who is behind them. The lines of the rest are kept as they
 * are until then, however many. */
#define CLASS_FIRST_LAST OBJECT_ENDPOINT

struct late_line {
	STAILQ_ENTRY(late_line) link;
	bool was_read; /* its calls of the first classes have been taken */
	size_t len;
	char text[];
};
static STAILQ_HEAD(, late_line) late_lines = STAILQ_HEAD_INITIALIZER(late_lines);

/* Of a load: without memory a call is not a bad one, and who started now would lose it with the next compaction. */
static int load_rc;
static bool is_late, takes_all; /* which calls of a line are taken */
static char load_dir[256];
static size_t n_bad_lines;

static struct {
	struct event *work;
	enum object_class class;
	uint64_t seq;
	enum { REPLAY_FIRST, REPLAY_LOAD, REPLAY_REST, REPLAY_DONE } phase;
	unsigned int n_pending;
	void (*done)(int rc);
} replay;

static struct {
	struct event *work;
	enum object_class class;
	uint64_t seq;
} compaction;

struct store *state_store(void)
{
	return store;
}

const struct state_counts *state_get_counts(void)
{
	return &counts;
}

static void load_call(cJSON *json)
{
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "method"));
	const struct method *method = name != NULL ? schema_method(name) : NULL;
	struct rpc_request rpc;
	struct leat_error err = { 0 };
	char key[STORE_KEY_MAX];

	/* What is not known is bad, once. */
	if ((method != NULL && method->class > CLASS_FIRST_LAST) != is_late && !takes_all)
		return;
	if (rpc_parse_call(json, &rpc, &err) != 0) {
		counts.n_bad++;
		log_warn("state", "saved call not understood: %s", err.reason);
	} else if (!(rpc.method->flags & (METHOD_SETS | METHOD_REMOVES)) ||
		schema_key(rpc.method, rpc.req.data, key, sizeof(key)) < 0) {
		counts.n_bad++;
		log_warn("state", "saved call is not a change method=%s", rpc.method->name);
	} else if (rpc.method->flags & METHOD_REMOVES) {
		store_del(store, key);
	} else {
		char *params = cJSON_PrintUnformatted(rpc.params);

		if (params == NULL || store_set(store, key, rpc.method, params) == NULL)
			load_rc = -ENOMEM;
		cJSON_free(params);
	}
	rpc_request_fini(&rpc);
}

static void load_calls(const char *text, size_t len)
{
	size_t n_bad = counts.n_bad;
	cJSON *line, *calls, *call;

	errno = 0;
	line = cJSON_ParseWithLength(text, len);
	calls = cJSON_GetObjectItemCaseSensitive(line, "calls");
	if (!cJSON_IsArray(calls)) {
		counts.n_bad++;
		log_warn("state", "saved line without calls");
	}
	cJSON_ArrayForEach(call, calls)
		load_call(call);
	if (counts.n_bad > n_bad && errno == ENOMEM)
		load_rc = -ENOMEM;
	cJSON_Delete(line);
}

/* Which calls a line has, by the names of their methods as leatd writes them, without parsing it. A name that is not known, and a line
 * without any, is for the first look. */
static void line_classes(const char *text, bool *out_has_first, bool *out_has_late)
{
	static const char mark[] = "{\"method\":\"";
	static const struct method *last;
	const char *at = text;

	*out_has_first = *out_has_late = false;
	while ((at = strstr(at, mark)) != NULL) {
		const struct method *method;
		char name[64];
		size_t len;

		at += sizeof(mark) - 1;
		len = strcspn(at, "\"");
		/* most often that of the call before */
		if (last == NULL || strncmp(at, last->name, len) != 0 || last->name[len] != '\0') {
			snprintf(name, sizeof(name), "%.*s", (int)(len < sizeof(name) ? len : 0),
				at);
			last = schema_method(name);
		}
		method = last;
		if (method != NULL && method->class > CLASS_FIRST_LAST)
			*out_has_late = true;
		else
			*out_has_first = true;
	}
	*out_has_first |= !*out_has_late;
}

static void load_line(void *arg, char *text, size_t len)
{
	struct late_line *late;
	bool has_first, has_late;

	(void)arg;
	line_classes(text, &has_first, &has_late);
	if (has_first)
		load_calls(text, len);
	if (!has_late && has_first)
		return;
	late = malloc(sizeof(*late) + len + 1);
	if (late == NULL) {
		load_rc = -ENOMEM;
		return;
	}
	late->was_read = has_first;
	late->len = len;
	memcpy(late->text, text, len + 1);
	STAILQ_INSERT_TAIL(&late_lines, late, link);
}

static char *item_line(const struct store_item *item, size_t *out_len)
{
	char *line = NULL;
	int len = asprintf(&line, ITEM_FORMAT, item->method->name, item->params);

	if (len < 0)
		return NULL;
	*out_len = (size_t)len;
	return line;
}

static void compact_pause(void)
{
	const struct timeval pause = { .tv_usec = COMPACT_PAUSE_US };

	if (event_add(compaction.work, &pause) < 0)
		journal_compact_abandon(journal);
}

static void compact_work(evutil_socket_t fd, short what, void *arg)
{
	uint64_t end_ns = loop_now_ns() + COMPACT_SLICE_NS;
	struct store_item *item;
	int rc = 0;

	(void)fd;
	(void)what;
	(void)arg;
	while (rc == 0 && (item = store_next(store, compaction.class, compaction.seq)) != NULL) {
		size_t len;
		char *line = item_line(item, &len);

		compaction.class = item->method->class;
		compaction.seq = item->seq;
		rc = line != NULL ? journal_compact_add(journal, line, len) : -ENOMEM;
		free(line);
		if (rc == 0 && loop_now_ns() > end_ns) {
			compact_pause();
			return;
		}
	}
	if (rc == 0)
		rc = journal_compact_end(journal);
	else
		journal_compact_abandon(journal);
	if (rc == -EAGAIN)
		compact_pause();
	else if (rc < 0)
		log_warn("state", "cannot compact the state file: %s", strerror(-rc));
}

static void compact_start(void)
{
	int rc = journal_compact_begin(journal);

	compaction.class = OBJECT_NONE;
	compaction.seq = 0;
	if (rc == 0)
		compact_pause();
	else
		log_warn("state", "cannot compact the state file: %s", strerror(-rc));
}

/* What the file would take if it were compacted now. */
static size_t live_bytes(void)
{
	return store_size(store) +
		store_n_items(store) * journal_line_size(sizeof(ITEM_FORMAT) - 1);
}

static void note_write(int rc)
{
	write_error = rc < 0 ? rc : 0;
	counts.n_write_failed += rc < 0;
}

size_t state_n_failed(void)
{
	uint64_t seq = 0;
	enum object_class class = OBJECT_NONE;
	const struct store_item *item;
	size_t n = 0;

	while (counts.n_failed > 0 && (item = store_next(store, class, seq)) != NULL) {
		n += item->is_failed;
		class = item->method->class;
		seq = item->seq;
	}
	return n;
}

int state_write_error(void)
{
	return write_error;
}

static void on_sync(evutil_socket_t fd, short what, void *arg)
{
	int rc;

	(void)fd;
	(void)what;
	(void)arg;
	synced = journal_synced(journal, &rc);
	if (rc < 0)
		log_err("state", "cannot sync the state file: %s", strerror(-rc));
	note_write(rc);
	if (on_synced != NULL)
		on_synced(rc);
}

int state_open_memory(void)
{
	memset(&counts, 0, sizeof(counts));
	store = store_create();
	return store != NULL ? 0 : -ENOMEM;
}

/* What this version does not understand would be gone with the next compaction. */
static void keep_file(const char *dir)
{
	char path[sizeof(load_dir) + 16], kept[sizeof(load_dir) + 24];

	snprintf(path, sizeof(path), "%s/state.journal", dir);
	snprintf(kept, sizeof(kept), "%s/state.journal.bad", dir);
	unlink(kept);
	if (link(path, kept) < 0)
		log_err("state", "cannot keep %s: %s", kept, strerror(errno));
	else
		log_err("state", "calls not understood are left out, the file is kept as %s", kept);
}

static void late_lines_free(void)
{
	struct late_line *late;

	while ((late = STAILQ_FIRST(&late_lines)) != NULL) {
		STAILQ_REMOVE_HEAD(&late_lines, link);
		free(late);
	}
}

int state_open(const char *dir)
{
	struct journal_report report;
	int rc = state_open_memory();

	if (rc < 0)
		return rc;
	load_rc = 0;
	is_late = false;
	snprintf(load_dir, sizeof(load_dir), "%s", dir);
	rc = journal_open(dir, load_line, NULL, &report, &journal);
	if (rc == 0 && load_rc < 0) {
		rc = load_rc;
		journal_close(journal);
		journal = NULL;
	}
	if (rc < 0) {
		late_lines_free();
		store_destroy(store);
		store = NULL;
		return rc;
	}
	n_bad_lines = report.n_bad;
	if (report.n_bad > 0)
		log_err("state",
			"damaged lines skipped, the file is kept as %s/state.journal.bad n=%zu",
			dir, report.n_bad);
	if (report.is_torn)
		log_info("state", "the last line was cut off and had not been acknowledged");
	synced = 0;
	sync_event = loop_watch(journal_fd(journal), on_sync, NULL);
	compaction.work = evtimer_new(loop_base, compact_work, NULL);
	if (sync_event == NULL || compaction.work == NULL)
		return -ENOMEM;
	event_priority_set(compaction.work, LOOP_PRIO_HEAVY);
	return 0;
}

/* The whole file has been read. */
static void load_done(void)
{
	if (counts.n_bad > 0 && n_bad_lines == 0)
		keep_file(load_dir);
	counts.n_bad += n_bad_lines;
	if (counts.n_bad > 0 || journal_wants_compaction(journal, live_bytes()))
		compact_start();
}

int state_load(uint64_t end_ns)
{
	if (is_late)
		return load_rc;
	is_late = true;
	do {
		struct late_line *late = STAILQ_FIRST(&late_lines);

		if (late == NULL) {
			load_done();
			return 0;
		}
		/* Not written as leatd writes, a call of the first classes was not seen: it is kept for the next start. */
		takes_all = !late->was_read;
		load_calls(late->text, late->len);
		takes_all = false;
		if (load_rc < 0)
			return load_rc;
		STAILQ_REMOVE_HEAD(&late_lines, link);
		free(late);
	} while (loop_now_ns() < end_ns);
	is_late = false;
	return -EAGAIN;
}

void state_close(void)
{
	if (sync_event != NULL)
		event_free(sync_event);
	if (compaction.work != NULL)
		event_free(compaction.work);
	if (replay.work != NULL)
		event_free(replay.work);
	sync_event = compaction.work = replay.work = NULL;
	journal_close(journal);
	journal = NULL;
	late_lines_free();
	store_destroy(store);
	store = NULL;
}

int state_append(const char *line, size_t len, uint64_t *out_ticket)
{
	int rc;

	*out_ticket = 0;
	if (journal == NULL)
		return 0;
	rc = journal_append(journal, line, len, out_ticket);
	if (rc < 0)
		note_write(rc);
	if (rc == 0 && journal_wants_compaction(journal, live_bytes()))
		compact_start();
	return rc;
}

uint64_t state_synced(void)
{
	return synced;
}

void state_on_synced(void (*fn)(int rc))
{
	on_synced = fn;
}

static void replay_done(struct call *call, void *arg)
{
	struct store_item *item;
	char key[STORE_KEY_MAX];

	(void)arg;
	replay.n_pending--;
	if (call->err.code == LEAT_OK) {
		counts.n_restored[call->rpc.method->class]++;
	} else if (schema_key(call->rpc.method, call_req(call), key, sizeof(key)) == 0) {
		counts.n_failed++;
		item = store_find(store, key);
		if (item != NULL)
			item->is_failed = true;
		log_warn(
			"state", "not restored object=\"%s\" reason=\"%s\"", key, call->err.reason);
	}
	call_destroy(call);
	event_active(replay.work, EV_TIMEOUT, 0);
}

static void replay_item(struct store_item *item)
{
	struct rpc_request rpc = { .method = item->method, .params = cJSON_Parse(item->params) };
	struct leat_error err;
	struct call *call = NULL;

	replay.class = item->method->class;
	replay.seq = item->seq;
	if (schema_decode(item->method, rpc.params, &rpc.req, &err) == 0)
		call = call_create(&rpc, replay_done, NULL);
	if (call == NULL) {
		rpc_request_fini(&rpc);
		item->is_failed = true;
		counts.n_failed++;
		return;
	}
	call->is_replay = true;
	replay.n_pending++;
	call_start(call);
}

static void replay_end(int rc)
{
	void (*done)(int rc) = replay.done;

	replay.done = NULL;
	if (done != NULL)
		done(rc);
}

/* Starts what the store has. -EAGAIN: there is more; -EINPROGRESS: some are not done, replay_done() comes back; 0: all are. */
static int replay_items(uint64_t end_ns)
{
	struct store_item *item;

	while ((item = store_next(store, replay.class, replay.seq)) != NULL) {
		/* What the next class stands on must be complete. */
		if (item->method->class != replay.class && replay.n_pending > 0)
			return -EINPROGRESS;
		replay_item(item);
		if (loop_now_ns() > end_ns)
			return -EAGAIN;
	}
	return replay.n_pending > 0 ? -EINPROGRESS : 0;
}

/* Nothing is started while the rest is being loaded: a class is brought back once, when all of it is there. */
static void replay_work(evutil_socket_t fd, short what, void *arg)
{
	uint64_t end_ns = loop_now_ns() + 10 * LOOP_SLICE_NS;
	int rc;

	(void)fd;
	(void)what;
	(void)arg;
	if (replay.phase == REPLAY_DONE) /* each call that was done has asked for a turn */
		return;
	rc = replay.phase == REPLAY_LOAD ? state_load(end_ns) : replay_items(end_ns);
	if (rc == -EINPROGRESS)
		return;
	if (rc == 0)
		replay.phase++;
	if (replay.phase == REPLAY_DONE || (rc < 0 && rc != -EAGAIN))
		replay_end(rc);
	else
		event_active(replay.work, EV_TIMEOUT, 0);
}

void state_replay(void (*done)(int rc))
{
	replay.class = OBJECT_NONE;
	replay.seq = 0;
	replay.phase = REPLAY_FIRST;
	replay.n_pending = 0;
	replay.done = done;
	replay.work = event_new(loop_base, -1, 0, replay_work, NULL);
	event_priority_set(replay.work, LOOP_PRIO_LIGHT);
	event_active(replay.work, EV_TIMEOUT, 0);
}
