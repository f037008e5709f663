/* SPDX-License-Identifier: BSD-3-Clause */
/* Running another plugin: text in, text out. */
#ifndef LEAT_CNI_EXEC_H
#define LEAT_CNI_EXEC_H

#include <stddef.h>

#define CNI_EXEC_OUT_MAX (1u << 20)

/* Runs path with the environment, `in` on its standard input; *out is its standard output, terminated, to be freed.
 * 0 with the wait status in *out_status; or -errno: -ETIMEDOUT (it was killed), -EMSGSIZE (too much output) … */
int cni_exec(const char *path, char *const envp[], const char *in, size_t in_len, int timeout_ms,
	char **out, int *out_status);

#endif
