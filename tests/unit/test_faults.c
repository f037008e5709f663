/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory, descriptors or disk run out at every single step: the state file is whole, and the answer is true. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include <rte_eal.h>

#include "control/call.h"
#include "control/journal.h"
#include "control/loop.h"
#include "control/state.h"
#include "control/txn.h"
#include "datapath/base/log.h"
#include "datapath/base/rcu.h"
#include "datapath/table/conn.h"
#include "datapath/table/route.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif

#define DEADLINE_MS 20000

/* --- faults: the n-th step of a kind fails, alone or with all that follow ---------------------------------------------- */

enum fault_kind {
	FAULT_ALLOC,
	FAULT_WRITE,
	FAULT_OPEN,
	FAULT_SYNC,
	FAULT_RENAME,
	FAULT_TRUNCATE,
	FAULT_N
};

static struct {
	int kind, error; /* kind FAULT_N: none */
	unsigned int at;
	bool goes_on;
	_Atomic unsigned int n_seen, n_failed;
} fault = { .kind = FAULT_N };

/* Allocations of the test's own thread only: of others nothing may fail. */
static __thread bool is_counted;

static void fault_arm(int kind, int error, unsigned int at, bool goes_on)
{
	fault.error = error;
	fault.at = at;
	fault.goes_on = goes_on;
	fault.n_seen = fault.n_failed = 0;
	fault.kind = kind;
	is_counted = true;
}

/* Whether anything failed since fault_arm(). */
static bool fault_disarm(void)
{
	fault.kind = FAULT_N;
	is_counted = false;
	return fault.n_failed > 0;
}

static bool fault_hits(int kind)
{
	unsigned int n;

	if (fault.kind != kind || (kind == FAULT_ALLOC && !is_counted))
		return false;
	n = ++fault.n_seen;
	if (n != fault.at && !(fault.goes_on && n > fault.at))
		return false;
	fault.n_failed++;
	errno = fault.error;
	return true;
}

#ifndef HAS_SANITIZER /* which has its own */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
	return fault_hits(FAULT_ALLOC) ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return fault_hits(FAULT_ALLOC) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	return fault_hits(FAULT_ALLOC) ? NULL : __libc_realloc(old, size);
}
#endif

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
	if (!fault_hits(FAULT_WRITE))
		return syscall(SYS_pwrite64, fd, data, len, offset);
	/* A full disk takes a part first. */
	if (len > 1 && fault.n_seen % 2 == 0)
		return syscall(SYS_pwrite64, fd, data, len / 2, offset);
	return -1;
}

int openat(int dir_fd, const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = (flags & O_CREAT) != 0 ? va_arg(args, int) : 0;
	va_end(args);
	return fault_hits(FAULT_OPEN) ? -1 : (int)syscall(SYS_openat, dir_fd, path, flags, mode);
}

int fdatasync(int fd)
{
	return fault_hits(FAULT_SYNC) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	return fault_hits(FAULT_SYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	return fault_hits(FAULT_RENAME) ? -1 : (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
}

int ftruncate(int fd, off_t size)
{
	return fault_hits(FAULT_TRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

static char dir[64];

static char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void clear_dir(void)
{
	unlink(path_of("state.journal"));
	unlink(path_of("state.journal.new"));
	unlink(path_of("state.journal.bad"));
}

/* --- the file ---------------------------------------------------------------------------------------------------------- */

#define N_LINES 12

struct seen {
	unsigned int n[N_LINES], n_lines;
};

static void collect(void *arg, char *json, size_t len)
{
	struct seen *seen = arg;
	unsigned int i;

	(void)len;
	assert_int_equal(sscanf(json, "{\"line\":%u}", &i), 1);
	assert_in_range(i, 0, N_LINES - 1);
	seen->n[i]++;
	seen->n_lines++;
}

/* What became of each line. */
enum fate { REFUSED, UNSURE, SAVED };

static int wait_synced(struct journal *journal, uint64_t ticket)
{
	struct pollfd pfd = { .fd = journal_fd(journal), .events = POLLIN };
	int rc, worst = 0;

	while (journal_synced(journal, &rc) < ticket) {
		worst = rc < 0 ? rc : worst;
		assert_int_equal(poll(&pfd, 1, DEADLINE_MS), 1);
	}
	return rc < 0 ? rc : worst;
}

/* Appends lines, with a compaction from the third to the ninth. */
static void write_lines(enum fate fates[N_LINES])
{
	struct journal_report report;
	struct seen before = { 0 };
	struct journal *journal;
	bool is_compacting = false;
	char text[64];

	if (journal_open(dir, collect, &before, &report, &journal) < 0) {
		for (unsigned int i = 0; i < N_LINES; i++)
			fates[i] = REFUSED;
		return;
	}
	for (unsigned int i = 0; i < N_LINES; i++) {
		uint64_t ticket;
		int len = snprintf(text, sizeof(text), "{\"line\":%u}", i);

		if (i == 3 && journal_compact_begin(journal) == 0) {
			is_compacting = true;
			for (unsigned int k = 0; k < i; k++) {
				char line[64];
				int n = snprintf(line, sizeof(line), "{\"line\":%u}", k);

				if (fates[k] != REFUSED)
					(void)journal_compact_add(journal, line, (size_t)n);
			}
		}
		if (i == 6 && is_compacting)
			while (journal_compact_end(journal) == -EAGAIN)
				;
		fates[i] = REFUSED;
		if (journal_append(journal, text, (size_t)len, &ticket) == 0)
			fates[i] = wait_synced(journal, ticket) == 0 ? SAVED : UNSURE;
	}
	journal_close(journal);
}

static bool lines_survive(int kind, int error, unsigned int at, bool goes_on)
{
	enum fate fates[N_LINES];
	struct journal_report report;
	struct seen seen = { 0 };
	struct journal *journal;
	bool has_failed;

	clear_dir();
	fault_arm(kind, error, at, goes_on);
	write_lines(fates);
	has_failed = fault_disarm();
	assert_int_equal(journal_open(dir, collect, &seen, &report, &journal), 0);
	journal_close(journal);
	assert_int_equal(report.n_bad, 0);
	for (unsigned int i = 0; i < N_LINES; i++) {
		if (fates[i] == SAVED)
			assert_int_equal(seen.n[i], 1);
		else if (fates[i] == REFUSED)
			assert_int_equal(seen.n[i], 0);
	}
	return has_failed;
}

static void test_faults_of_the_disk_lose_no_line(void **state)
{
	static const struct {
		int kind, error;
	} faults[] = { { FAULT_WRITE, ENOSPC }, { FAULT_OPEN, EMFILE }, { FAULT_SYNC, EIO },
		{ FAULT_SYNC, ENOSPC }, { FAULT_RENAME, ENOSPC }, { FAULT_TRUNCATE, EIO } };

	(void)state;
	for (size_t f = 0; f < sizeof(faults) / sizeof(faults[0]); f++)
		for (int goes_on = 0; goes_on < 2; goes_on++) {
			unsigned int at = 1;

			while (lines_survive(faults[f].kind, faults[f].error, at, goes_on))
				at++;
		}
	clear_dir();
}

#ifndef HAS_SANITIZER
static void test_faults_of_memory_lose_no_line(void **state)
{
	(void)state;
	for (int goes_on = 0; goes_on < 2; goes_on++) {
		unsigned int at = 1;

		while (lines_survive(FAULT_ALLOC, ENOMEM, at, goes_on))
			at++;
		assert_true(at > 5);
	}
	clear_dir();
}

/* --- calls and transactions -------------------------------------------------------------------------------------------- */

static int n_done, last_code;
static char last_reason[sizeof(((struct leat_error *)0)->reason)], txn_id[32];

static void on_done(struct call *call, void *arg)
{
	const char *id = cJSON_GetStringValue(
		cJSON_GetObjectItemCaseSensitive(call->result, "txn"));

	(void)arg;
	n_done++;
	last_code = call->err.code;
	snprintf(last_reason, sizeof(last_reason), "%s", call->err.reason);
	if (id != NULL)
		snprintf(txn_id, sizeof(txn_id), "%s", id);
	call_destroy(call);
}

/* Runs a request to its end, with the fault in it from the call's start on. */
static int run_faulty(const char *method, const char *params, unsigned int at, bool goes_on)
{
	char line[2048];
	struct rpc_request rpc;
	struct leat_error err = { 0 };
	int before = n_done;
	struct call *call;

	snprintf(line, sizeof(line), "{\"id\":1,\"method\":\"%s\",\"params\":%s}", method, params);
	assert_int_equal(rpc_parse(line, strlen(line), &rpc, &err), 0);
	call = call_create(&rpc, on_done, NULL);
	fault_arm(FAULT_ALLOC, ENOMEM, at, goes_on);
	call_start(call);
	while (n_done == before)
		event_base_loop(loop_base, EVLOOP_ONCE);
	return last_code;
}

static void run(const char *method, const char *params)
{
	int code = run_faulty(method, params, 0, false);

	fault_disarm();
	assert_int_equal(code, 0);
}

/* Everything that is configured, as the store and as the tables have it. */
static void describe(char *buf, size_t size)
{
	enum object_class class = OBJECT_NONE;
	struct store_item *item;
	uint64_t seq = 0;
	int n = 0;

	while ((item = store_next(state_store(), class, seq)) != NULL) {
		n += snprintf(buf + n, size - (size_t)n, "%s %s %s\n", item->key,
			item->method->name, item->params);
		class = item->method->class;
		seq = item->seq;
	}
	assert_true((size_t)n < size);
}

static void describe_tables(char *buf, size_t size)
{
	int n = 0;

	for (uint16_t zone = 1; zone < 10; zone++)
		n += snprintf(buf + n, size - (size_t)n, "%u ", conn_zone_max[zone]);
	for (unsigned int i = 0; i < 4; i++) {
		const struct ip_prefix prefix = {
			.addr = ip_from_v4(rte_cpu_to_be_32(0x0a000000 + (i << 16))), .len = 16
		};

		n += snprintf(
			buf + n, size - (size_t)n, "%d", route_find(0, &prefix) != ROUTE_IDX_NONE);
	}
}

static int open_all(void)
{
	int rc = state_open(dir);

	return rc < 0 ? rc : state_load(UINT64_MAX);
}

static void reopen(void)
{
	state_close();
	assert_int_equal(open_all(), 0);
}

/* The objects that each try starts from. */
static void begin_try(void)
{
	state_close();
	clear_dir();
	assert_int_equal(open_all(), 0);
	for (uint16_t zone = 1; zone < 10; zone++)
		conn_zone_max[zone] = 0;
	for (unsigned int i = 0; i < 4; i++) {
		const struct ip_prefix prefix = {
			.addr = ip_from_v4(rte_cpu_to_be_32(0x0a000000 + (i << 16))), .len = 16
		};

		(void)route_del(0, &prefix);
	}
	run("zone.add", "{\"id\":7,\"max_conns\":70}");
	run("zone.add", "{\"id\":8,\"max_conns\":80}");
	run("route.add", "{\"prefix\":\"10.0.0.0/16\",\"type\":\"blackhole\"}");
}

static bool answer_is_true(
	const char *method, const char *params, const char *calls, unsigned int at, bool goes_on)
{
	char store[2][4096], tables[2][256], text[4096], wanted[4096];
	bool has_failed;
	int code;

	begin_try();
	describe(store[0], sizeof(store[0]));
	describe_tables(tables[0], sizeof(tables[0]));
	if (calls != NULL) {
		run("txn.begin", "{}");
		snprintf(text, sizeof(text), "{\"txn\":\"%s\",\"calls\":%s}", txn_id, calls);
		run("txn.add", text);
		snprintf(text, sizeof(text), "{\"txn\":\"%s\"}", txn_id);
		params = text;
	}
	code = run_faulty(method, params, at, goes_on);
	has_failed = fault_disarm();
	describe(store[1], sizeof(store[1]));
	describe_tables(tables[1], sizeof(tables[1]));
	if (code == LEAT_OK) {
		assert_string_not_equal(store[1], store[0]);
		assert_string_not_equal(tables[1], tables[0]);
		memcpy(wanted, store[1], sizeof(wanted));
	} else {
		if (strstr(last_reason, "could not be undone") == NULL) {
			assert_string_equal(store[1], store[0]);
			assert_string_equal(tables[1], tables[0]);
		} else {
			assert_true(goes_on);
			assert_string_not_equal(store[1], store[0]);
		}
		memcpy(wanted, store[0], sizeof(wanted));
	}
	reopen();
	assert_int_equal(state_get_counts()->n_bad, 0);
	describe(store[1], sizeof(store[1]));
	assert_string_equal(store[1], wanted);
	return has_failed;
}

static void answers_are_true(const char *method, const char *params, const char *calls)
{
	for (int goes_on = 0; goes_on < 2; goes_on++) {
		unsigned int at = 1;

		while (answer_is_true(method, params, calls, at, goes_on))
			at++;
		assert_true(at > 5);
	}
}

static void test_faults_of_memory_in_a_call_leave_all_or_nothing(void **state)
{
	(void)state;
	answers_are_true("zone.add", "{\"id\":1,\"max_conns\":10}", NULL);
	answers_are_true("zone.del", "{\"id\":7}", NULL);
	answers_are_true("route.add", "{\"prefix\":\"10.1.0.0/16\",\"type\":\"blackhole\"}", NULL);
	answers_are_true("route.del", "{\"prefix\":\"10.0.0.0/16\"}", NULL);
}

static void test_faults_of_memory_in_a_transaction_leave_all_or_nothing(void **state)
{
	(void)state;
	answers_are_true("txn.commit", NULL,
		"[{\"method\":\"zone.add\",\"params\":{\"id\":1,\"max_conns\":10}},"
		"{\"method\":\"zone.del\",\"params\":{\"id\":7}},"
		"{\"method\":\"route.del\",\"params\":{\"prefix\":\"10.0.0.0/16\"}},"
		"{\"method\":\"zone.add\",\"params\":{\"id\":7,\"max_conns\":71}},"
		"{\"method\":\"route.add\",\"params\":{\"prefix\":\"10.2.0.0/"
		"16\",\"type\":\"blackhole\"}},"
		"{\"method\":\"zone.del\",\"params\":{\"id\":8}}]");
}

/* A start that has no memory for a saved object does not go on without it. */
static void test_faults_of_memory_at_the_start_lose_no_object(void **state)
{
	char before[4096], after[4096];

	(void)state;
	begin_try();
	describe(before, sizeof(before));
	for (int goes_on = 0; goes_on < 2; goes_on++) {
		bool has_failed = true;

		for (unsigned int at = 1; has_failed; at++) {
			int rc;

			state_close();
			fault_arm(FAULT_ALLOC, ENOMEM, at, goes_on);
			rc = open_all();
			has_failed = fault_disarm();
			assert_true(has_failed || rc == 0);
			if (rc == 0) {
				describe(after, sizeof(after));
				assert_string_equal(after, before);
			}
		}
	}
}
#endif

static int setup(void **state)
{
	char prefix[64], name[] = "test_faults", no_huge[] = "--no-huge", no_pci[] = "--no-pci",
			 m[] = "-m", mb[] = "64", no_telemetry[] = "--no-telemetry";
	char *args[] = { name, no_huge, no_pci, m, mb, no_telemetry, prefix, NULL };

	(void)state;
	snprintf(prefix, sizeof(prefix), "--file-prefix=leat-faults-%d", getpid());
	snprintf(dir, sizeof(dir), "/tmp/leat-test-faults-XXXXXX");
	log_set_level(LOG_LEVEL_ERR);
	if (mkdtemp(dir) == NULL || rte_eal_init(7, args) < 0 || rcu_init() < 0 ||
		route_init(0, 0) < 0)
		return -1;
	return loop_init() < 0 || call_init() < 0 || txn_init() < 0 || state_open(dir) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	txn_fini();
	call_fini();
	state_close();
	loop_fini();
	route_fini();
	rcu_fini();
	rte_eal_cleanup();
	clear_dir();
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults_of_the_disk_lose_no_line),
#ifndef HAS_SANITIZER
		cmocka_unit_test(test_faults_of_memory_lose_no_line),
		cmocka_unit_test(test_faults_of_memory_in_a_call_leave_all_or_nothing),
		cmocka_unit_test(test_faults_of_memory_in_a_transaction_leave_all_or_nothing),
		cmocka_unit_test(test_faults_of_memory_at_the_start_lose_no_object),
#endif
	};

	return cmocka_run_group_tests_name("faults", tests, setup, teardown);
}
