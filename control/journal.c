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
#define BUF_SIZE (256u << 10) /* what compaction writes or copies at a time */

struct journal {
	int dir_fd, fd, event_fd;
	size_t size;
	size_t failed_size; /* of the file when a compaction failed: no other one until it has doubled */

	/* compaction, control thread */
	int new_fd; /* -1: none under way */
	size_t new_size;
	bool is_gathering; /* between begin and the last call of end */
	size_t copy_from;  /* what stands in the old file from here on was appended meanwhile */
	char *buf; /* of BUF_SIZE, from begin to end: the first buf_len bytes are not written yet */
	size_t buf_len;
	int compact_rc; /* the first error; it stays */

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

#ifdef __SSE4_2__ /* has an instruction for it: a start reads the whole file before the first port is back */
	for (; len >= sizeof(uint64_t); len -= sizeof(uint64_t), text += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, text, sizeof(word));
		crc = (uint32_t)__builtin_ia32_crc32di(crc, word);
	}
#endif
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

/* Writes CRC_LEN + len + 1 bytes, and a NUL that does not count. */
static void format_line(char *line, const char *json, size_t len)
{
	snprintf(line, CRC_LEN + 1, "%08x ", journal_crc(json, len));
	memcpy(line + CRC_LEN, json, len);
	line[CRC_LEN + len] = '\n';
}

static int write_line(int fd, const char *json, size_t len, size_t *io_size)
{
	char *line = malloc(CRC_LEN + len + 1);
	int rc;

	if (line == NULL)
		return -ENOMEM;
	format_line(line, json, len);
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
	free(journal->buf);
	free(journal);
}

int journal_append(struct journal *journal, const char *json, size_t len, uint64_t *out_ticket)
{
	size_t size = journal->size;
	int rc = write_line(journal->fd, json, len, &journal->size);

	if (rc < 0)
		return rc;
	if (journal->new_fd >= 0 && !journal->is_gathering) {
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

static void compact_forget(struct journal *journal)
{
	unlinkat(journal->dir_fd, NEW_NAME, 0);
	journal->failed_size = journal->size;
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
			journal->size = journal->new_size;
			journal->failed_size = 0;
		} else {
			compact_forget(journal);
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

size_t journal_line_size(size_t len)
{
	return CRC_LEN + len + 1;
}

bool journal_wants_compaction(const struct journal *journal, size_t live_bytes)
{
	return journal->new_fd < 0 && journal->size > COMPACT_MIN &&
		journal->size / 2 > live_bytes && journal->size / 2 > journal->failed_size;
}

int journal_compact_begin(struct journal *journal)
{
	int rc;

	if (journal->new_fd >= 0)
		return -EALREADY;
	journal->buf = malloc(BUF_SIZE);
	if (journal->buf == NULL)
		return -ENOMEM;
	journal->new_fd = openat(journal->dir_fd, NEW_NAME,
		O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (journal->new_fd < 0) {
		rc = -errno;
		free(journal->buf);
		journal->buf = NULL;
		return rc;
	}
	journal->new_size = journal->buf_len = 0;
	journal->copy_from = journal->size;
	journal->is_gathering = true;
	journal->compact_rc = 0;
	return 0;
}

/* Writes what is in the buffer, and lets the disk begin at once: the sync at the end, which answers wait for, finds little to do. */
static void buf_flush(struct journal *journal)
{
	if (journal->compact_rc < 0 || journal->buf_len == 0)
		return;
	journal->compact_rc = write_all(
		journal->new_fd, journal->buf, journal->buf_len, (off_t)journal->new_size);
	if (journal->compact_rc < 0)
		return;
	(void)sync_file_range(journal->new_fd, (off_t)journal->new_size, (off_t)journal->buf_len,
		SYNC_FILE_RANGE_WRITE);
	journal->new_size += journal->buf_len;
	journal->buf_len = 0;
}

int journal_compact_add(struct journal *journal, const char *json, size_t len)
{
	size_t size = journal_line_size(len);

	if (size > BUF_SIZE - journal->buf_len)
		buf_flush(journal);
	if (journal->compact_rc < 0)
		return journal->compact_rc;
	if (size > BUF_SIZE) {
		journal->compact_rc = write_line(journal->new_fd, json, len, &journal->new_size);
	} else {
		format_line(journal->buf + journal->buf_len, json, len);
		journal->buf_len += size;
	}
	return journal->compact_rc;
}

void journal_compact_abandon(struct journal *journal)
{
	if (!journal->is_gathering)
		return;
	journal->is_gathering = false;
	compact_forget(journal);
	close(journal->new_fd);
	journal->new_fd = -1;
	free(journal->buf);
	journal->buf = NULL;
}

/* The next piece of what was appended to the old file meanwhile. */
static void tail_copy(struct journal *journal)
{
	size_t left = journal->size - journal->copy_from;
	ssize_t n = pread(journal->fd, journal->buf, left < BUF_SIZE ? left : BUF_SIZE,
		(off_t)journal->copy_from);

	if (n <= 0) {
		journal->compact_rc = n < 0 ? -errno : -EIO;
		return;
	}
	journal->buf_len = (size_t)n;
	journal->copy_from += (size_t)n;
	buf_flush(journal);
}

int journal_compact_end(struct journal *journal)
{
	buf_flush(journal);
	if (journal->compact_rc == 0 && journal->copy_from < journal->size)
		tail_copy(journal);
	if (journal->compact_rc < 0) {
		journal_compact_abandon(journal);
		return journal->compact_rc;
	}
	if (journal->copy_from < journal->size)
		return -EAGAIN;
	journal->is_gathering = false;
	free(journal->buf);
	journal->buf = NULL;
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
