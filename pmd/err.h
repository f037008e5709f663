/* SPDX-License-Identifier: BSD-3-Clause */
/* Error sentences for a person, beside the -errno. Any thread. */
#ifndef LEAT_PMD_ERR_H
#define LEAT_PMD_ERR_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

/* Writes the sentence to buf (cut to fit; nothing if buf is NULL) and returns code. */
__attribute__((format(printf, 4, 5))) static inline int err_set(
	char *buf, size_t size, int code, const char *fmt, ...)
{
	va_list args;

	if (buf == NULL || size == 0)
		return code;
	va_start(args, fmt);
	vsnprintf(buf, size, fmt, args);
	va_end(args);
	return code;
}

#endif
