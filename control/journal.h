/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state file: a journal of checksummed lines, "crc32c SP json LF", appended for each applied change. A line is written
 * by the control thread and synced by a helper thread (one sync for all that waits); an answer that promises
 * durability is held until journal_synced() has reached its ticket. Compaction writes a new file beside the old one, syncs it,
 * renames it and syncs the folder; meanwhile changes go to both, so a kill at any point loses nothing.
 * Control thread only.
 */
#ifndef LEAT_JOURNAL_H
#define LEAT_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal;

struct journal_report {
	size_t n_lines; /* good ones */
	size_t n_bad;	/* with a wrong checksum: skipped, the file is kept as state.journal.bad */
	bool is_torn;	/* the last line was cut off: it had never been acknowledged */
};

/* Called for each good line, in order. The text is terminated and may be changed. */
typedef void journal_line_fn(void *arg, char *json, size_t len);

/* Opens or creates dir/state.journal, reads it, and starts the helper. 0 or -errno. */
int journal_open(const char *dir, journal_line_fn *fn, void *arg, struct journal_report *out_report,
	struct journal **out_journal);

/* Syncs what is left and stops the helper. */
void journal_close(struct journal *journal);

/* Appends one line. *out_ticket: what journal_synced() must reach. 0 or -errno (-ENOSPC: disk full), with the file as before. */
int journal_append(struct journal *journal, const char *json, size_t len, uint64_t *out_ticket);

/* Ticket up to which everything is on disk. *out_rc: 0, or -errno of a sync that failed since the last call. */
uint64_t journal_synced(struct journal *journal, int *out_rc);

/* Readable after the helper finished a sync; journal_synced() clears it. */
int journal_fd(const struct journal *journal);

/* Compaction: begin, add every object's line (in any number of slices), end until it is not -EAGAIN. Lines appended meanwhile are
 * copied from the old file by end, a piece a call. 0 or -errno; the first error stays, end or abandon then clears up, and the old
 * file goes on. */
int journal_compact_begin(struct journal *journal);
int journal_compact_add(struct journal *journal, const char *json, size_t len);
int journal_compact_end(struct journal *journal);
void journal_compact_abandon(struct journal *journal);

/* Returns true if at least half of a large file is of no use. live_bytes: what all objects' lines take (journal_line_size()). After a
 * compaction that failed, not before the file has doubled. */
bool journal_wants_compaction(const struct journal *journal, size_t live_bytes);

/* Bytes in the file of a line with len bytes of JSON. */
size_t journal_line_size(size_t len);

size_t journal_size(const struct journal *journal);

uint32_t journal_crc(const char *text, size_t len);

#endif
