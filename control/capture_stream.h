/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A capture's packets to a descriptor that a client sent along: a socket, a pipe. Never waits for the reader: what it has not taken
 * lies in a bounded buffer. Control thread only.
 */
#ifndef LEAT_CAPTURE_STREAM_H
#define LEAT_CAPTURE_STREAM_H

#include <stdbool.h>
#include <stdio.h>

struct capture_stream;

/* Takes fd over in any case. *out_file: to write to and to fclose() before capture_stream_close(). on_gone: the reader closed
 * its end. NULL without memory, or when the descriptor cannot be watched. */
struct capture_stream *capture_stream_create(
	int fd, void (*on_gone)(void *arg), void *arg, FILE **out_file);

/* Whether another packet may be written. */
bool capture_stream_has_room(const struct capture_stream *stream);

/* Sends what the reader takes now. May call on_gone. */
void capture_stream_flush(struct capture_stream *stream);

/* No more comes: the rest is sent, then the descriptor closed. NULL is fine. */
void capture_stream_close(struct capture_stream *stream);

#endif
