/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Logging: one line, "object: what happened key=value key=value", lower case (CONVENTIONS). To standard error,
 * text or JSON. Any thread but a worker's packet path (poisoned there). Lines stay whole: one write() each.
 */
#ifndef LEAT_BASE_LOG_H
#define LEAT_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_N };

/* Process-wide; set before threads start, or from the control thread. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
void log_set_json(bool is_json);

/* Level by name ("err", "warn", "info", "debug"), or -1. */
int log_level_by_name(const char *name);

/* object: the subject ("port eth0"); fmt: the rest of the line. Keeps errno. */
__attribute__((format(printf, 3, 4))) void log_write(
	enum log_level level, const char *object, const char *fmt, ...);

#define log_err(object, ...) log_write(LOG_LEVEL_ERR, object, __VA_ARGS__)
#define log_warn(object, ...) log_write(LOG_LEVEL_WARN, object, __VA_ARGS__)
#define log_info(object, ...) log_write(LOG_LEVEL_INFO, object, __VA_ARGS__)
#define log_debug(object, ...) log_write(LOG_LEVEL_DEBUG, object, __VA_ARGS__)

/* The last lines logged, oldest first, as they were written: LOG_RECENT_BYTES at most, whole lines. Length of the text put
 * into buf, which is not terminated. Any thread. */
#define LOG_RECENT_BYTES (256u << 10)
size_t log_recent(char buf[LOG_RECENT_BYTES]);

/* For what a packet or a client can trigger: at most `burst` lines a second pass. Any thread. */
struct log_limit {
	_Atomic uint64_t window_s;
	_Atomic uint32_t n_lines;
	uint32_t burst;
};
bool log_limit_pass(struct log_limit *limit);

#endif
