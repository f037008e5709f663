/* SPDX-License-Identifier: BSD-3-Clause */
/* The state file: what was acknowledged is read back, whatever happens to the rest. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/journal.h"

#define DEADLINE_MS 20000

static char dir[64];

struct lines {
	char text[8192];
	size_t len, n;
};

static void collect(void *arg, char *json, size_t len)
{
	struct lines *lines = arg;

	assert_int_equal(strlen(json), len);
	assert_true(lines->len + len + 2 < sizeof(lines->text));
	memcpy(lines->text + lines->len, json, len);
	lines->text[lines->len + len] = '\n';
	lines->len += len + 1;
	lines->text[lines->len] = '\0';
	lines->n++;
}

static struct journal *open_journal(struct lines *lines, struct journal_report *report)
{
	struct journal *journal;

	memset(lines, 0, sizeof(*lines));
	assert_int_equal(journal_open(dir, collect, lines, report, &journal), 0);
	return journal;
}

static uint64_t append(struct journal *journal, const char *text)
{
	uint64_t ticket;

	assert_int_equal(journal_append(journal, text, strlen(text), &ticket), 0);
	return ticket;
}

/* Waits until everything up to the ticket is on disk; what leatd does before it answers. */
static void wait_synced(struct journal *journal, uint64_t ticket)
{
	struct pollfd pfd = { .fd = journal_fd(journal), .events = POLLIN };
	int rc;

	while (journal_synced(journal, &rc) < ticket) {
		assert_int_equal(rc, 0);
		assert_int_equal(poll(&pfd, 1, DEADLINE_MS), 1);
	}
	assert_int_equal(rc, 0);
}

static char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static size_t read_state(char *buf, size_t size)
{
	FILE *in = fopen(path_of("state.journal"), "re");
	size_t n;

	assert_non_null(in);
	n = fread(buf, 1, size, in);
	assert_true(n < size);
	fclose(in);
	return n;
}

static void write_state(const char *data, size_t len)
{
	FILE *out = fopen(path_of("state.journal"), "we");

	assert_non_null(out);
	assert_int_equal(fwrite(data, 1, len, out), len);
	assert_int_equal(fclose(out), 0);
}

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/leat-test-journal-XXXXXX");
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(path_of("state.journal"));
	unlink(path_of("state.journal.new"));
	unlink(path_of("state.journal.bad"));
	return rmdir(dir);
}

static void test_crc_is_castagnoli(void **state)
{
	(void)state;
	assert_int_equal(journal_crc("123456789", 9), 0xe3069283);
	assert_int_equal(journal_crc("", 0), 0);
}

static void test_written_is_read_back(void **state)
{
	struct journal_report report;
	struct lines lines;
	struct journal *journal = open_journal(&lines, &report);
	struct stat st;

	(void)state;
	assert_int_equal(report.n_lines + report.n_bad, 0);
	append(journal, "{\"a\":1}");
	wait_synced(journal, append(journal, "{\"b\":2}"));
	assert_int_equal(stat(path_of("state.journal"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, journal_size(journal));
	journal_close(journal);
	journal = open_journal(&lines, &report);
	assert_string_equal(lines.text, "{\"a\":1}\n{\"b\":2}\n");
	assert_int_equal(report.n_lines, 2);
	assert_int_equal(report.n_bad, 0);
	assert_false(report.is_torn);
	journal_close(journal);
}

/* A kill during a write leaves a part of the last line: cut the file at every byte of the last two lines. */
static void test_cut_at_every_byte(void **state)
{
	static const char *const texts[] = { "{\"first\":1}", "{\"second\":22}",
		"{\"third\":333}" };
	size_t ends[3], len;
	struct journal_report report;
	struct lines lines;
	struct journal *journal = open_journal(&lines, &report);
	char whole[512];

	(void)state;
	for (int i = 0; i < 3; i++) {
		append(journal, texts[i]);
		ends[i] = journal_size(journal);
	}
	journal_close(journal);
	len = read_state(whole, sizeof(whole));
	assert_int_equal(len, ends[2]);
	for (size_t cut = ends[0]; cut <= len; cut++) {
		size_t n_whole = 1 + (cut >= ends[1]) + (cut >= ends[2]);
		char want[256] = "";

		write_state(whole, cut);
		journal = open_journal(&lines, &report);
		for (size_t i = 0; i < n_whole; i++)
			snprintf(
				want + strlen(want), sizeof(want) - strlen(want), "%s\n", texts[i]);
		assert_string_equal(lines.text, want);
		assert_int_equal(report.n_bad, 0);
		assert_int_equal(report.is_torn, cut != ends[n_whole - 1]);
		/* what comes next does not join the torn line */
		append(journal, "{\"next\":4}");
		journal_close(journal);
		journal = open_journal(&lines, &report);
		snprintf(want + strlen(want), sizeof(want) - strlen(want), "{\"next\":4}\n");
		assert_string_equal(lines.text, want);
		assert_false(report.is_torn);
		journal_close(journal);
		assert_int_equal(access(path_of("state.journal.bad"), F_OK), -1);
	}
}

/* Any damaged byte costs its own line only (a lost line end: the two lines that it parted), and is noticed. */
static void test_damage_at_every_byte(void **state)
{
	size_t ends[4], len, line;
	struct journal_report report;
	struct lines lines;
	struct journal *journal = open_journal(&lines, &report);
	char whole[512], text[32];

	(void)state;
	for (int i = 0; i < 4; i++) {
		snprintf(text, sizeof(text), "{\"line\":%d}", i);
		append(journal, text);
		ends[i] = journal_size(journal);
	}
	journal_close(journal);
	len = read_state(whole, sizeof(whole));
	for (size_t at = 0; at < ends[2]; at++) {
		whole[at] ^= 0x10; /* never makes a line end */
		write_state(whole, len);
		whole[at] ^= 0x10;
		for (line = 0; at >= ends[line]; line++)
			;
		journal = open_journal(&lines, &report);
		assert_true(report.n_bad >= 1);
		for (size_t i = 0; i < 4; i++) {
			bool is_lost = i == line || (at == ends[line] - 1 && i == line + 1);

			snprintf(text, sizeof(text), "{\"line\":%zu}\n", i);
			if ((strstr(lines.text, text) == NULL) != is_lost)
				fail_msg("byte %zu damaged: line %zu is %s", at, i,
					is_lost ? "there" : "lost");
		}
		journal_close(journal);
		/* for a person to look at */
		assert_int_equal(access(path_of("state.journal.bad"), F_OK), 0);
	}
}

static void test_foreign_content_is_skipped(void **state)
{
	static const char *const contents[] = { "\n", "\n\n\n", "garbage\n", "00000000\n",
		"00000000 \n", "ABCDEF01 {}\n", "-0000001 {}\n", "\0\0\0\0\0\0\0\0\0\0\n",
		"no line end" };
	static const size_t lens[] = { 1, 3, 8, 9, 10, 12, 12, 11, 11 };
	struct journal_report report;
	struct lines lines;

	(void)state;
	for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
		struct journal *journal;

		write_state(contents[i], lens[i]);
		journal = open_journal(&lines, &report);
		/* "00000000 " is the empty line with its right checksum: good, and empty */
		assert_int_equal(lines.len, report.n_lines);
		assert_true(report.n_bad > 0 || report.is_torn || report.n_lines == 1);
		append(journal, "{}");
		journal_close(journal);
		journal = open_journal(&lines, &report);
		assert_non_null(strstr(lines.text, "{}\n"));
		journal_close(journal);
	}
}

static void test_compaction_keeps_everything(void **state)
{
	struct journal_report report;
	struct lines lines;
	struct journal *journal = open_journal(&lines, &report);
	uint64_t ticket;
	size_t before;

	(void)state;
	for (int i = 0; i < 50; i++)
		append(journal, "{\"old\":1}");
	before = journal_size(journal);
	assert_int_equal(journal_compact_begin(journal), 0);
	assert_int_equal(journal_compact_begin(journal), -EALREADY);
	assert_int_equal(journal_compact_add(journal, "{\"all\":1}", 9), 0);
	append(journal, "{\"meanwhile\":1}");
	assert_int_equal(journal_compact_end(journal), 0);
	ticket = append(journal,
		"{\"then\":1}"); /* the old file or the new one may be the one that counts */
	wait_synced(journal, ticket);
	wait_synced(journal, append(journal, "{\"last\":1}"));
	journal_close(journal);
	journal = open_journal(&lines, &report);
	assert_string_equal(
		lines.text, "{\"all\":1}\n{\"meanwhile\":1}\n{\"then\":1}\n{\"last\":1}\n");
	assert_true(journal_size(journal) < before);
	assert_int_equal(access(path_of("state.journal.new"), F_OK), -1);
	journal_close(journal);
}

/* A kill while the new file is being written: the old one counts, and the new one is swept away. */
static void test_kill_during_compaction(void **state)
{
	struct journal_report report;
	struct lines lines;
	struct journal *journal = open_journal(&lines, &report);

	(void)state;
	append(journal, "{\"old\":1}");
	assert_int_equal(journal_compact_begin(journal), 0);
	journal_compact_add(journal, "{\"half\":1}", 10);
	wait_synced(journal, append(journal, "{\"meanwhile\":1}"));
	journal_close(journal);
	assert_int_equal(access(path_of("state.journal.new"), F_OK), 0);
	journal = open_journal(&lines, &report);
	assert_string_equal(lines.text, "{\"old\":1}\n{\"meanwhile\":1}\n");
	assert_int_equal(access(path_of("state.journal.new"), F_OK), -1);
	journal_close(journal);
}

/* After each acknowledged line of a run with a compaction in its midst, a copy of the folder, as a kill would leave it, holds it. */
static void test_nothing_acknowledged_is_lost(void **state)
{
	struct journal_report report;
	struct lines lines;
	struct journal *journal = open_journal(&lines, &report);
	char file[8192], text[32];

	(void)state;
	for (int i = 0; i < 40; i++) {
		size_t len;

		if (i == 10)
			assert_int_equal(journal_compact_begin(journal), 0);
		/* what the compaction writes: all that there is */
		for (int k = 0; i == 20 && k < 10; k++) {
			snprintf(text, sizeof(text), "{\"line\":%d}", k);
			journal_compact_add(journal, text, strlen(text));
		}
		if (i == 21)
			assert_int_equal(journal_compact_end(journal), 0);
		snprintf(text, sizeof(text), "{\"line\":%d}", i);
		wait_synced(journal, append(journal, text));
		len = read_state(file, sizeof(file) - 1);
		file[len] = '\0';
		for (int k = 0; k <= i; k++) {
			snprintf(text, sizeof(text), "{\"line\":%d}\n", k);
			if (strstr(file, text) == NULL)
				fail_msg("line %d is not in the file after line %d", k, i);
		}
	}
	journal_close(journal);
	journal = open_journal(&lines, &report);
	assert_int_equal(lines.n, 40);
	assert_int_equal(report.n_bad, 0);
	journal_close(journal);
}

static void test_compaction_is_wanted_when_it_pays(void **state)
{
	struct journal_report report;
	struct lines lines;
	struct journal *journal = open_journal(&lines, &report);
	char line[1024];
	uint64_t ticket = 0;

	(void)state;
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	assert_false(journal_wants_compaction(journal, 0));
	while (!journal_wants_compaction(journal, 0)) {
		assert_true(journal_size(journal) < (1u << 20));
		ticket = append(journal, line);
	}
	/* with half of it or more in use it does not pay */
	assert_true(journal_wants_compaction(journal, journal_size(journal) / 2 - 1));
	assert_false(journal_wants_compaction(journal, journal_size(journal) / 2));
	assert_int_equal(journal_compact_begin(journal), 0);
	assert_false(journal_wants_compaction(journal, 0));
	assert_int_equal(journal_compact_add(journal, "{}", 2), 0);
	assert_int_equal(journal_compact_end(journal), 0);
	wait_synced(journal, ticket);
	wait_synced(journal, append(journal, "{\"next\":1}"));
	assert_false(journal_wants_compaction(journal, 0));
	journal_close(journal);
	journal = open_journal(&lines, &report);
	assert_string_equal(lines.text, "{}\n{\"next\":1}\n");
	journal_close(journal);
}

static void count(void *arg, char *json, size_t len)
{
	size_t *n = arg;

	(void)len;
	/* in order, and none twice */
	if (strstr(json, "late") != NULL)
		assert_int_equal(strtoul(strchr(json, ' '), NULL, 10), *n);
	++*n;
}

/* Objects of more than one buffer, a line longer than a buffer, and more lines meanwhile than one step copies. */
static void test_compaction_of_much(void **state)
{
	enum { N_OBJECTS = 700, N_LATE = 700, LINE_SIZE = 1000, LONG_SIZE = 300000 };
	struct journal_report report;
	struct lines lines;
	struct journal *journal = open_journal(&lines, &report);
	char *line = malloc(LONG_SIZE), text[LINE_SIZE];
	unsigned int n_steps = 0;
	uint64_t ticket = 0;
	size_t n = 0;
	int rc;

	(void)state;
	assert_non_null(line);
	memset(line, 'x', LONG_SIZE);
	assert_int_equal(journal_compact_begin(journal), 0);
	for (int i = 0; i < N_OBJECTS; i++)
		assert_int_equal(
			journal_compact_add(journal, line, i == 100 ? LONG_SIZE : LINE_SIZE), 0);
	for (int i = 0; i < N_LATE; i++) {
		snprintf(text, sizeof(text), "late %d %900d", N_OBJECTS + i, 0);
		ticket = append(journal, text);
	}
	while ((rc = journal_compact_end(journal)) == -EAGAIN)
		n_steps++;
	assert_int_equal(rc, 0);
	assert_true(n_steps > 0);
	wait_synced(journal, ticket);
	wait_synced(journal, append(journal, "last"));
	journal_close(journal);
	assert_int_equal(journal_open(dir, count, &n, &report, &journal), 0);
	assert_int_equal(n, N_OBJECTS + N_LATE + 1);
	assert_int_equal(report.n_bad, 0);
	journal_close(journal);
	free(line);
}

/* The file that a compaction writes to refuses: what was appended before, meanwhile and later is in the old one. */
static void test_failed_compaction_loses_nothing(void **state)
{
	struct rlimit limit, low;
	struct journal_report report;
	struct lines lines;
	struct journal *journal = open_journal(&lines, &report);
	static char big[600000];
	int rc;

	(void)state;
	memset(big, 'x', sizeof(big));
	append(journal, "{\"old\":1}");
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	signal(SIGXFSZ, SIG_IGN);
	low = limit;
	low.rlim_cur = 500000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_int_equal(journal_compact_begin(journal), 0);
	assert_int_equal(journal_compact_add(journal, big, sizeof(big)), -EFBIG);
	/* what would fit does not make it good again */
	append(journal, "{\"meanwhile\":1}");
	assert_int_equal(journal_compact_add(journal, "{}", 2), -EFBIG);
	rc = journal_compact_end(journal);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(rc, -EFBIG);
	assert_int_equal(access(path_of("state.journal.new"), F_OK), -1);
	wait_synced(journal, append(journal, "{\"last\":1}"));
	/* the next one may go well */
	assert_int_equal(journal_compact_begin(journal), 0);
	journal_compact_abandon(journal);
	journal_close(journal);
	journal = open_journal(&lines, &report);
	assert_string_equal(lines.text, "{\"old\":1}\n{\"meanwhile\":1}\n{\"last\":1}\n");
	journal_close(journal);
}

static void test_open_failures(void **state)
{
	struct journal_report report;
	struct journal *journal;
	struct lines lines = { 0 };

	(void)state;
	assert_int_equal(journal_open("/nonexistent", collect, &lines, &report, &journal), -ENOENT);
	/* somebody's link is not followed */
	assert_int_equal(symlink("/tmp/leat-test-journal-target", path_of("state.journal")), 0);
	assert_int_equal(journal_open(dir, collect, &lines, &report, &journal), -ELOOP);
	assert_int_equal(access("/tmp/leat-test-journal-target", F_OK), -1);
}

int main(void)
{
#define IN_DIR(fn) cmocka_unit_test_setup_teardown(fn, make_dir, remove_dir)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc_is_castagnoli),
		IN_DIR(test_written_is_read_back),
		IN_DIR(test_cut_at_every_byte),
		IN_DIR(test_damage_at_every_byte),
		IN_DIR(test_foreign_content_is_skipped),
		IN_DIR(test_compaction_keeps_everything),
		IN_DIR(test_kill_during_compaction),
		IN_DIR(test_nothing_acknowledged_is_lost),
		IN_DIR(test_compaction_is_wanted_when_it_pays),
		IN_DIR(test_compaction_of_much),
		IN_DIR(test_failed_compaction_loses_nothing),
		IN_DIR(test_open_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
