/* SPDX-License-Identifier: BSD-3-Clause */
/* What a fuzz target offers: to libFuzzer (option `fuzz`, clang), or to replay.c, which feeds it
 * files. */
#ifndef LEAT_TESTS_FUZZ_FUZZ_H
#define LEAT_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
