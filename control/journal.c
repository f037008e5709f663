/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "state.journal"
#define NEW_NAME "state.journal.new"
#define BAD_NAME "state.journal.bad"
#define CRC_LEN 9 /* eight digits and a blank */
#define COMPACT_MIN (256u << 10)

struct journal {
	int dir_fd, fd, event_fd;
	size_t size, compacted_size;

	/* compaction, control thread */
	int new_fd; /* -1: none under way */
	size_t new_size;
	char *tail; /* lines appended since begin, before end */
	size_t tail_len, tail_size;
	bool is_tail_open;
	int compact_rc;

	/* shared with the helper */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t helper;
	uint64_t wanted, synced;
	int sync_rc;
	int sync_new_fd; /* also synced; -1: none */
	int close_fd; /* the file before the last compaction, for the helper to close; -1: none */
	bool must_rename, must_stop;
	enum { RENAME_NONE, RENAME_DONE, RENAME_FAILED } rename_state;
};

static uint32_t crc_table[256];

static void crc_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
		crc_table[i] = crc;
	}
}

/* CRC-32C (Castagnoli). */
uint32_t journal_crc(const char *text, size_t len)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	uint32_t crc = ~0u;

	pthread_once(&once, crc_init);
	for (size_t i = 0; i < len; i++)
		crc = crc_table[(crc ^ (unsigned char)text[i]) & 0xff] ^ (crc >> 8);
	return ~crc;
}

static int write_all(int fd, const char *data, size_t len, off_t offset)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, data, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		offset += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_line(int fd, const char *json, size_t len, size_t *io_size)
{
	char *line = malloc(CRC_LEN + len + 2);
	int rc;

	if (line == NULL)
		return -ENOMEM;
	snprintf(line, CRC_LEN + 1, "%08x ", journal_crc(json, len));
	memcpy(line + CRC_LEN, json, len);
	line[CRC_LEN + len] = '\n';
	rc = write_all(fd, line, CRC_LEN + len + 1, (off_t)*io_size);
	free(line);
	if (rc == 0)
		*io_size += CRC_LEN + len + 1;
	else if (ftruncate(fd, (off_t)*io_size) < 0)
		rc = -errno;
	return rc;
}

static bool line_is_good(const char *line, size_t len)
{
	uint32_t crc = 0;

	if (len < CRC_LEN || line[CRC_LEN - 1] != ' ')
		return false;
	for (int i = 0; i < CRC_LEN - 1; i++) {
		const char *digits = "0123456789abcdef",
			   *digit = line[i] != '\0' ? strchr(digits, line[i]) : NULL;

		if (digit == NULL)
			return false;
		crc = crc << 4 | (uint32_t)(digit - digits);
	}
	return journal_crc(line + CRC_LEN, len - CRC_LEN) == crc;
}

static int read_file(int fd, size_t size, char **out_text)
{
	char *text = malloc(size + 1);
	size_t used = 0;

	if (text == NULL)
		return -ENOMEM;
	while (used < size) {
		ssize_t n = pread(fd, text + used, size - used, (off_t)used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			free(text);
			return -errno;
		}
		if (n == 0)
			break;
		used += (size_t)n;
	}
	text[used] = '\0';
	*out_text = text;
	return (int)(used < size ? -EIO : 0);
}

static int load(
	struct journal *journal, journal_line_fn *fn, void *arg, struct journal_report *report)
{
	struct stat st;
	char *text = NULL, *line, *end;
	int rc;

	if (fstat(journal->fd, &st) < 0)
		return -errno;
	rc = read_file(journal->fd, (size_t)st.st_size, &text);
	if (rc < 0)
		return rc;
	for (line = text; line < text + st.st_size; line = end + 1) {
		end = memchr(line, '\n', (size_t)(text + st.st_size - line));
		if (end == NULL) {
			report->is_torn = true;
			break;
		}
		if (!line_is_good(line, (size_t)(end - line))) {
			report->n_bad++;
			continue;
		}
		report->n_lines++;
		*end = '\0';
		fn(arg, line + CRC_LEN, (size_t)(end - line) - CRC_LEN);
	}
	journal->size = (size_t)(line - text) < (size_t)st.st_size ? (size_t)(line - text)
								   : (size_t)st.st_size;
	free(text);
	if (report->n_bad > 0) {
		unlinkat(journal->dir_fd, BAD_NAME, 0);
		if (linkat(journal->dir_fd, FILE_NAME, journal->dir_fd, BAD_NAME, 0) < 0)
			return -errno;
	}
	/* New lines must not join a torn one. */
	return report->is_torn && ftruncate(journal->fd, (off_t)journal->size) < 0 ? -errno : 0;
}

static void helper_round(struct journal *journal)
{
	uint64_t wanted = journal->wanted;
	int fd = journal->fd, new_fd = journal->sync_new_fd, rc;
	bool must_rename = journal->must_rename, is_renamed = false;

	if (journal->close_fd >= 0)
		close(journal->close_fd);
	journal->close_fd = -1;
	journal->must_rename = false;
	pthread_mutex_unlock(&journal->lock);
	rc = fdatasync(fd) < 0 ? -errno : 0;
	if (new_fd >= 0 && (must_rename ? fsync(new_fd) : fdatasync(new_fd)) < 0 && rc == 0)
		rc = -errno;
	if (must_rename && rc == 0) {
		is_renamed = renameat(journal->dir_fd, NEW_NAME, journal->dir_fd, FILE_NAME) == 0;
		if (!is_renamed || fsync(journal->dir_fd) < 0)
			rc = -errno;
	}
	pthread_mutex_lock(&journal->lock);
	if (rc < 0)
		journal->sync_rc = rc;
	journal->synced = wanted;
	/* Once renamed, the new file is the one that counts, even if the folder could not be synced. */
	if (must_rename)
		journal->rename_state = is_renamed ? RENAME_DONE : RENAME_FAILED;
	eventfd_write(journal->event_fd, 1);
}

static void *helper_main(void *arg)
{
	struct journal *journal = arg;

	pthread_mutex_lock(&journal->lock);
	while (!journal->must_stop || journal->wanted != journal->synced || journal->must_rename) {
		if (journal->wanted != journal->synced || journal->must_rename)
			helper_round(journal);
		else
			pthread_cond_wait(&journal->wake, &journal->lock);
	}
	pthread_mutex_unlock(&journal->lock);
	return NULL;
}

int journal_open(const char *dir, journal_line_fn *fn, void *arg, struct journal_report *out_report,
	struct journal **out_journal)
{
	struct journal *journal = calloc(1, sizeof(*journal));
	int rc;

	memset(out_report, 0, sizeof(*out_report));
	if (journal == NULL)
		return -ENOMEM;
	journal->fd = journal->event_fd = journal->new_fd = journal->sync_new_fd =
		journal->close_fd = -1;
	journal->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (journal->dir_fd < 0)
		goto err_errno;
	unlinkat(journal->dir_fd, NEW_NAME, 0); /* of a compaction that was cut short */
	journal->fd = openat(
		journal->dir_fd, FILE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (journal->fd < 0 || fsync(journal->dir_fd) < 0)
		goto err_errno;
	journal->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (journal->event_fd < 0)
		goto err_errno;
	rc = load(journal, fn, arg, out_report);
	if (rc < 0)
		goto err_close;
	journal->compacted_size = journal->size;
	pthread_mutex_init(&journal->lock, NULL);
	pthread_cond_init(&journal->wake, NULL);
	rc = -pthread_create(&journal->helper, NULL, helper_main, journal);
	if (rc < 0)
		goto err_close;
	pthread_setname_np(journal->helper, "leat-journal");
	*out_journal = journal;
	return 0;
err_errno:
	rc = -errno;
err_close:
	if (journal->event_fd >= 0)
		close(journal->event_fd);
	if (journal->fd >= 0)
		close(journal->fd);
	if (journal->dir_fd >= 0)
		close(journal->dir_fd);
	free(journal);
	return rc;
}

void journal_close(struct journal *journal)
{
	if (journal == NULL)
		return;
	pthread_mutex_lock(&journal->lock);
	journal->must_stop = true;
	pthread_cond_signal(&journal->wake);
	pthread_mutex_unlock(&journal->lock);
	pthread_join(journal->helper, NULL);
	if (journal->new_fd >= 0)
		close(journal->new_fd);
	if (journal->close_fd >= 0)
		close(journal->close_fd);
	close(journal->event_fd);
	close(journal->fd);
	close(journal->dir_fd);
	free(journal->tail);
	free(journal);
}

static int tail_append(struct journal *journal, const char *json, size_t len)
{
	if (journal->tail_len + len + 1 > journal->tail_size) {
		size_t size = (journal->tail_len + len + 1) * 2;
		char *tail = realloc(journal->tail, size);

		if (tail == NULL)
			return -ENOMEM;
		journal->tail = tail;
		journal->tail_size = size;
	}
	memcpy(journal->tail + journal->tail_len, json, len);
	journal->tail[journal->tail_len + len] = '\n';
	journal->tail_len += len + 1;
	return 0;
}

int journal_append(struct journal *journal, const char *json, size_t len, uint64_t *out_ticket)
{
	size_t size = journal->size;
	int rc = write_line(journal->fd, json, len, &journal->size);

	if (rc < 0)
		return rc;
	if (journal->is_tail_open) {
		journal->compact_rc = tail_append(journal, json, len);
	} else if (journal->new_fd >= 0) {
		rc = write_line(journal->new_fd, json, len, &journal->new_size);
		if (rc < 0) { /* the new file may be the one that counts already */
			journal->size = size;
			return ftruncate(journal->fd, (off_t)size) < 0 ? -errno : rc;
		}
	}
	pthread_mutex_lock(&journal->lock);
	*out_ticket = ++journal->wanted;
	pthread_cond_signal(&journal->wake);
	pthread_mutex_unlock(&journal->lock);
	return 0;
}

static void compact_abandon(struct journal *journal)
{
	unlinkat(journal->dir_fd, NEW_NAME, 0);
	journal->compacted_size = journal->size; /* not again at once */
}

uint64_t journal_synced(struct journal *journal, int *out_rc)
{
	uint64_t synced;
	eventfd_t count;

	eventfd_read(journal->event_fd, &count);
	pthread_mutex_lock(&journal->lock);
	synced = journal->synced;
	*out_rc = journal->sync_rc;
	journal->sync_rc = 0;
	if (journal->rename_state != RENAME_NONE) {
		bool is_done = journal->rename_state == RENAME_DONE;

		/* The helper may be syncing either file just now: it closes the one that is left over. */
		journal->close_fd = is_done ? journal->fd : journal->new_fd;
		journal->rename_state = RENAME_NONE;
		journal->sync_new_fd = -1;
		if (is_done) {
			journal->fd = journal->new_fd;
			journal->size = journal->compacted_size = journal->new_size;
		} else {
			compact_abandon(journal);
		}
		journal->new_fd = -1;
	}
	pthread_mutex_unlock(&journal->lock);
	return synced;
}

int journal_fd(const struct journal *journal)
{
	return journal->event_fd;
}

bool journal_wants_compaction(const struct journal *journal)
{
	return journal->new_fd < 0 && journal->size > COMPACT_MIN &&
		journal->size > 2 * journal->compacted_size;
}

int journal_compact_begin(struct journal *journal)
{
	if (journal->new_fd >= 0)
		return -EALREADY;
	journal->new_fd = openat(journal->dir_fd, NEW_NAME,
		O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (journal->new_fd < 0)
		return -errno;
	journal->new_size = journal->tail_len = 0;
	journal->is_tail_open = true;
	journal->compact_rc = 0;
	return 0;
}

int journal_compact_add(struct journal *journal, const char *json, size_t len)
{
	if (journal->compact_rc == 0)
		journal->compact_rc = write_line(journal->new_fd, json, len, &journal->new_size);
	return journal->compact_rc;
}

int journal_compact_end(struct journal *journal)
{
	size_t used = 0;

	while (used < journal->tail_len && journal->compact_rc == 0) {
		char *line = journal->tail + used,
		     *end = memchr(line, '\n', journal->tail_len - used);

		journal_compact_add(journal, line, (size_t)(end - line));
		used += (size_t)(end - line) + 1;
	}
	journal->is_tail_open = false;
	if (journal->compact_rc < 0) {
		compact_abandon(journal);
		close(journal->new_fd);
		journal->new_fd = -1;
		return journal->compact_rc;
	}
	pthread_mutex_lock(&journal->lock);
	journal->sync_new_fd = journal->new_fd;
	journal->must_rename = true;
	pthread_cond_signal(&journal->wake);
	pthread_mutex_unlock(&journal->lock);
	return 0;
}

size_t journal_size(const struct journal *journal)
{
	return journal->size;
}
