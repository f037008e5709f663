/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/capture_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/buffer.h>

#include "control/loop.h"

#define BUFFER_MAX (4u << 20) /* not read yet */
#define LINGER_S 30	      /* for the rest, after the end */

struct capture_stream {
	int fd;
	struct evbuffer *out;
	struct event *read_event, *write_event;
	bool is_closing;
	void (*on_gone)(void *arg);
	void *arg;
};

static void destroy(struct capture_stream *stream)
{
	if (stream->read_event != NULL)
		event_free(stream->read_event);
	if (stream->write_event != NULL)
		event_free(stream->write_event);
	if (stream->out != NULL)
		evbuffer_free(stream->out);
	close(stream->fd);
	free(stream);
}

static void gone(struct capture_stream *stream)
{
	if (stream->is_closing) {
		destroy(stream);
		return;
	}
	evbuffer_drain(stream->out, evbuffer_get_length(stream->out));
	event_del(stream->read_event);
	event_del(stream->write_event);
	stream->on_gone(stream->arg);
}

/* Nothing is expected from the reader but its end. */
static void on_read(evutil_socket_t fd, short what, void *arg)
{
	char ignored[256];
	ssize_t n = read(fd, ignored, sizeof(ignored));

	(void)what;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		gone(arg);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
	struct capture_stream *stream = arg;

	(void)fd;
	if (what & EV_TIMEOUT)
		gone(stream);
	else
		capture_stream_flush(stream);
}

static ssize_t write_out(void *cookie, const char *data, size_t size)
{
	struct capture_stream *stream = cookie;

	return evbuffer_add(stream->out, data, size) == 0 ? (ssize_t)size : 0;
}

struct capture_stream *capture_stream_create(
	int fd, void (*on_gone)(void *arg), void *arg, FILE **out_file)
{
	const cookie_io_functions_t io = { .write = write_out };
	struct capture_stream *stream = calloc(1, sizeof(*stream));
	int flags = fcntl(fd, F_GETFL);

	if (stream == NULL) {
		close(fd);
		return NULL;
	}
	*stream = (struct capture_stream){ .fd = fd, .on_gone = on_gone, .arg = arg };
	stream->out = evbuffer_new();
	stream->read_event = event_new(loop_base, fd, EV_READ | EV_PERSIST, on_read, stream);
	stream->write_event = event_new(loop_base, fd, EV_WRITE, on_write, stream);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || stream->out == NULL ||
		stream->read_event == NULL || stream->write_event == NULL ||
		event_add(stream->read_event, NULL) < 0) {
		destroy(stream);
		return NULL;
	}
	*out_file = fopencookie(stream, "w", io);
	if (*out_file == NULL) {
		destroy(stream);
		return NULL;
	}
	return stream;
}

bool capture_stream_has_room(const struct capture_stream *stream)
{
	return evbuffer_get_length(stream->out) < BUFFER_MAX;
}

void capture_stream_flush(struct capture_stream *stream)
{
	const struct timeval linger = { .tv_sec = LINGER_S };

	if (evbuffer_get_length(stream->out) > 0 && evbuffer_write(stream->out, stream->fd) < 0 &&
		errno != EAGAIN && errno != EINTR) {
		gone(stream);
		return;
	}
	if (evbuffer_get_length(stream->out) > 0)
		event_add(stream->write_event, stream->is_closing ? &linger : NULL);
	else if (stream->is_closing)
		destroy(stream);
}

void capture_stream_close(struct capture_stream *stream)
{
	if (stream == NULL)
		return;
	stream->is_closing = true;
	capture_stream_flush(stream);
}
