/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[LOG_LEVEL_N] = { "err", "warn", "info", "debug" };
static enum log_level threshold = LOG_LEVEL_INFO;
static bool as_json;

/* What is kept for log_recent(): a ring of bytes. */
static struct {
	pthread_mutex_t lock;
	uint64_t n; /* bytes written so far */
	char bytes[LOG_RECENT_BYTES];
} recent = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void recent_add(const char *line, size_t len)
{
	pthread_mutex_lock(&recent.lock);
	for (size_t i = 0; i < len; i++)
		recent.bytes[recent.n++ % LOG_RECENT_BYTES] = line[i];
	pthread_mutex_unlock(&recent.lock);
}

size_t log_recent(char buf[LOG_RECENT_BYTES])
{
	uint64_t at = 0;
	size_t n = 0;

	pthread_mutex_lock(&recent.lock);
	if (recent.n > LOG_RECENT_BYTES) { /* the oldest line is cut */
		at = recent.n - LOG_RECENT_BYTES;
		while (at < recent.n && recent.bytes[at++ % LOG_RECENT_BYTES] != '\n')
			;
	}
	while (at < recent.n)
		buf[n++] = recent.bytes[at++ % LOG_RECENT_BYTES];
	pthread_mutex_unlock(&recent.lock);
	return n;
}

void log_set_level(enum log_level level)
{
	threshold = level;
}

enum log_level log_get_level(void)
{
	return threshold;
}

void log_set_json(bool is_json)
{
	as_json = is_json;
}

int log_level_by_name(const char *name)
{
	for (int i = 0; i < LOG_LEVEL_N; i++)
		if (strcmp(name, level_names[i]) == 0)
			return i;
	return -1;
}

/* JSON string body: quotes, backslashes and control characters escaped; cut to fit. */
static size_t json_escape(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text != '\0' && n + 7 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\') {
			out[n++] = '\\';
			out[n++] = (char)c;
		} else if (c < 0x20) {
			n += (size_t)snprintf(&out[n], 7, "\\u%04x", c);
		} else {
			out[n++] = (char)c;
		}
	}
	out[n] = '\0';
	return n;
}

/* What a client, a file or a device sent may be part of a line: it must not end it nor steer a terminal. */
static void make_printable(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

void log_write(enum log_level level, const char *object, const char *fmt, ...)
{
	char text[768], line[2048], esc_object[256], esc_text[1536];
	int saved_errno = errno, n;
	struct timespec ts;
	struct tm tm;
	va_list args;

	if (level > threshold)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	if (as_json) {
		json_escape(esc_object, sizeof(esc_object), object);
		json_escape(esc_text, sizeof(esc_text), text);
		n = snprintf(line, sizeof(line),
			"{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ\",\"level\":\"%s\","
			"\"object\":\"%s\",\"message\":\"%s\"}\n",
			tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
			tm.tm_sec, ts.tv_nsec / 1000000, level_names[level], esc_object, esc_text);
	} else {
		make_printable(text);
		n = snprintf(line, sizeof(line), "%02d:%02d:%02d.%03ld %-5s %s: %s\n", tm.tm_hour,
			tm.tm_min, tm.tm_sec, ts.tv_nsec / 1000000, level_names[level], object,
			text);
	}
	if (n <= 0)
		n = 0;
	else if ((size_t)n >= sizeof(line))
		n = (int)sizeof(line) - 1;
	recent_add(line, (size_t)n);
	if (write(STDERR_FILENO, line, (size_t)n) < 0) {
		/* Nobody listens to standard error: nothing left to tell. */
	}
	errno = saved_errno;
}

bool log_limit_pass(struct log_limit *limit)
{
	struct timespec ts;
	uint64_t now_s;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	now_s = (uint64_t)ts.tv_sec;
	if (atomic_exchange_explicit(&limit->window_s, now_s, memory_order_relaxed) != now_s)
		atomic_store_explicit(&limit->n_lines, 0, memory_order_relaxed);
	return atomic_fetch_add_explicit(&limit->n_lines, 1, memory_order_relaxed) < limit->burst;
}
