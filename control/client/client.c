/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/client/leat_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <bsd/string.h>

#include "control/client/schema.h"

#define RESPONSE_MAX (64u << 20)

struct leat_client {
	int fd;
	int timeout_ms;
	unsigned int next_id;
	char *in;
	size_t in_len, in_size;
	cJSON *events; /* notifications that came while waiting for an answer */
};

__attribute__((format(printf, 4, 5))) static int fail(
	struct leat_error *err, int code, int sys_errno, const char *fmt, ...)
{
	va_list args;

	if (err == NULL)
		return code;
	memset(err, 0, sizeof(*err));
	err->code = code;
	err->sys_errno = sys_errno;
	va_start(args, fmt);
	vsnprintf(err->reason, sizeof(err->reason), fmt, args);
	va_end(args);
	return code;
}

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

/* Waits until the descriptor is ready or the deadline is over. deadline_ms < 0: forever. 0 or -errno. */
static int wait_fd(int fd, short events, long long deadline_ms)
{
	for (;;) {
		long long left_ms = deadline_ms < 0 ? -1 : deadline_ms - now_ms();
		struct pollfd pfd = { .fd = fd, .events = events };
		int n;

		if (deadline_ms >= 0 && left_ms < 0)
			left_ms = 0;
		n = poll(&pfd, 1, (int)left_ms);
		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int socket_path(const char *instance, struct sockaddr_un *out_addr)
{
	int n;

	if (instance == NULL)
		instance = LEAT_INSTANCE_DEFAULT;
	out_addr->sun_family = AF_UNIX;
	if (strchr(instance, '/') != NULL)
		n = snprintf(out_addr->sun_path, sizeof(out_addr->sun_path), "%s", instance);
	else
		n = snprintf(out_addr->sun_path, sizeof(out_addr->sun_path),
			LEAT_RUN_DIR "/%s/control.sock", instance);
	return n < 0 || (size_t)n >= sizeof(out_addr->sun_path) ? -ENAMETOOLONG : 0;
}

/* A full backlog makes a non-blocking connect() fail with EAGAIN: try again until the deadline. */
static int connect_until(int fd, const struct sockaddr_un *addr, long long deadline_ms)
{
	const struct timespec pause = { .tv_nsec = 5000000 };

	for (;;) {
		if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (now_ms() >= deadline_ms)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
}

int leat_open(const char *instance, int timeout_ms, struct leat_client **out_client,
	struct leat_error *err)
{
	struct sockaddr_un addr = { 0 };
	struct leat_client *client;
	int rc;

	rc = socket_path(instance, &addr);
	if (rc < 0) {
		fail(err, LEAT_ERR_TRANSPORT, -rc, "instance name too long");
		return rc;
	}
	client = calloc(1, sizeof(*client));
	if (client == NULL) {
		fail(err, LEAT_ERR_TRANSPORT, ENOMEM, "out of memory");
		return -ENOMEM;
	}
	client->timeout_ms = timeout_ms > 0 ? timeout_ms : LEAT_TIMEOUT_DEFAULT_MS;
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	rc = client->fd < 0 ? -errno
			    : connect_until(client->fd, &addr, now_ms() + client->timeout_ms);
	if (rc < 0) {
		fail(err, LEAT_ERR_TRANSPORT, -rc, "cannot reach leatd on %s: %s", addr.sun_path,
			rc == -ENOENT || rc == -ECONNREFUSED ? "it does not run" : strerror(-rc));
		leat_close(client);
		return rc;
	}
	*out_client = client;
	return 0;
}

void leat_close(struct leat_client *client)
{
	if (client == NULL)
		return;
	if (client->fd >= 0)
		close(client->fd);
	cJSON_Delete(client->events);
	free(client->in);
	free(client);
}

static int send_line(struct leat_client *client, const char *line, size_t len, const int *fds,
	size_t n_fds, long long deadline_ms)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * LEAT_CLIENT_FDS_MAX)];
		struct cmsghdr align;
	} control = { 0 };

	while (len > 0) {
		struct iovec iov = { .iov_base = (void *)(uintptr_t)line, .iov_len = len };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;
		int rc;

		if (n_fds > 0) {
			struct cmsghdr *cmsg;

			msg.msg_control = control.buf;
			msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
			cmsg = CMSG_FIRSTHDR(&msg);
			cmsg->cmsg_level = SOL_SOCKET;
			cmsg->cmsg_type = SCM_RIGHTS;
			cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
			memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
		}
		n = sendmsg(client->fd, &msg, MSG_NOSIGNAL);
		if (n >= 0) {
			line += n;
			len -= (size_t)n;
			n_fds = 0;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		rc = wait_fd(client->fd, POLLOUT, deadline_ms);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Next whole line as JSON. 0 or -errno; -EPROTO if it is not a JSON object. */
static int recv_object(struct leat_client *client, long long deadline_ms, cJSON **out)
{
	size_t scanned = 0;

	for (;;) {
		char *end = client->in_len == 0
			? NULL
			: memchr(client->in + scanned, '\n', client->in_len - scanned);
		ssize_t n;
		int rc;

		if (end != NULL) {
			size_t used = (size_t)(end - client->in) + 1;

			*out = cJSON_ParseWithLength(client->in, used - 1);
			memmove(client->in, client->in + used, client->in_len - used);
			client->in_len -= used;
			if (cJSON_IsObject(*out))
				return 0;
			cJSON_Delete(*out);
			return -EPROTO;
		}
		scanned = client->in_len;
		if (client->in_len == client->in_size) {
			size_t size = client->in_size == 0 ? 16384 : client->in_size * 2;
			char *in = size > RESPONSE_MAX ? NULL : realloc(client->in, size);

			if (in == NULL)
				return -ENOMEM;
			client->in = in;
			client->in_size = size;
		}
		n = recv(client->fd, client->in + client->in_len, client->in_size - client->in_len,
			0);
		if (n > 0) {
			client->in_len += (size_t)n;
			continue;
		}
		if (n == 0)
			return -ECONNRESET;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		rc = wait_fd(client->fd, POLLIN, deadline_ms);
		if (rc < 0)
			return rc;
	}
}

static int error_of(const cJSON *answer, struct leat_error *err)
{
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(answer, "error");
	const cJSON *code = cJSON_GetObjectItemCaseSensitive(error, "code");
	const cJSON *data = cJSON_GetObjectItemCaseSensitive(error, "data");
	const char *reason = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(data, "reason"));
	const char *field = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(data, "field"));
	int value;

	if (reason == NULL)
		reason = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(error, "message"));
	value = cJSON_IsNumber(code) && code->valueint != 0 ? code->valueint : LEAT_ERR_INTERNAL;
	fail(err, value, 0, "%s", reason != NULL ? reason : "error without a reason");
	if (err != NULL && field != NULL)
		strlcpy(err->field, field, sizeof(err->field));
	return value;
}

/* Where one sees whether a call was applied; false: it would have changed nothing. */
static bool checked_with(const char *name, char *buf, size_t size)
{
	const struct method *method = schema_method(name);

	if (strcmp(name, "txn.commit") == 0)
		snprintf(buf, size, "config dump");
	else if (method != NULL && (method->flags & (METHOD_SETS | METHOD_REMOVES)) != 0)
		snprintf(buf, size, "%.*s list", (int)strcspn(name, "."), name);
	else
		return false;
	return true;
}

/* The request is out and nothing came back. */
static int no_answer(
	const struct leat_client *client, const char *method, int rc, struct leat_error *err)
{
	char why[80], check[64];
	bool may_be_applied = checked_with(method, check, sizeof(check));

	if (rc == -ETIMEDOUT)
		snprintf(why, sizeof(why), "within %g s", client->timeout_ms / 1000.0);
	else
		snprintf(why, sizeof(why), "from leatd (%s)", strerror(-rc));
	if (may_be_applied)
		fail(err, LEAT_ERR_TRANSPORT, -rc,
			"no answer %s: it may still be applied; check with \"leatctl %s\"", why,
			check);
	else
		fail(err, LEAT_ERR_TRANSPORT, -rc, "no answer %s", why);
	if (err != NULL)
		err->may_be_applied = may_be_applied;
	return LEAT_ERR_TRANSPORT;
}

static int await_answer(struct leat_client *client, const char *method, unsigned int id,
	long long deadline_ms, cJSON **out_result, struct leat_error *err)
{
	for (;;) {
		cJSON *answer, *result;
		const cJSON *answer_id;
		int rc = recv_object(client, deadline_ms, &answer);

		if (rc < 0)
			return no_answer(client, method, rc, err);
		answer_id = cJSON_GetObjectItemCaseSensitive(answer, "id");
		if (cJSON_GetObjectItemCaseSensitive(answer, "method") != NULL) {
			if (client->events == NULL)
				client->events = cJSON_CreateArray();
			if (!cJSON_AddItemToArray(client->events, answer))
				cJSON_Delete(answer);
			continue;
		}
		if (cJSON_IsNumber(answer_id) && (unsigned int)answer_id->valuedouble != id) {
			cJSON_Delete(answer); /* of a call that timed out earlier */
			continue;
		}
		result = cJSON_DetachItemFromObjectCaseSensitive(answer, "result");
		rc = result == NULL ? error_of(answer, err) : LEAT_OK;
		cJSON_Delete(answer);
		if (out_result != NULL)
			*out_result = result;
		else
			cJSON_Delete(result);
		return rc;
	}
}

int leat_call_fds(struct leat_client *client, const char *method, const cJSON *params,
	const int *fds, size_t n_fds, cJSON **out_result, struct leat_error *err)
{
	long long deadline_ms = now_ms() + client->timeout_ms;
	unsigned int id = ++client->next_id;
	char *text = NULL, *line = NULL;
	int len, rc;

	if (out_result != NULL)
		*out_result = NULL;
	if (err != NULL)
		memset(err, 0, sizeof(*err));
	if (n_fds > LEAT_CLIENT_FDS_MAX)
		return fail(err, LEAT_ERR_TRANSPORT, EINVAL, "too many descriptors");
	text = params != NULL ? cJSON_PrintUnformatted(params) : strdup("{}");
	len = text == NULL
		? -1
		: asprintf(&line,
			  "{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"%s\",\"params\":%s}\n", id,
			  method, text);
	free(text);
	if (len < 0)
		return fail(err, LEAT_ERR_TRANSPORT, ENOMEM, "out of memory");
	if ((size_t)len > LEAT_LINE_MAX) {
		free(line);
		return fail(err, LEAT_ERR_LIMIT, 0,
			"request longer than %u bytes: use a transaction", LEAT_LINE_MAX);
	}
	rc = send_line(client, line, (size_t)len, fds, n_fds, deadline_ms);
	free(line);
	if (rc < 0)
		return fail(
			err, LEAT_ERR_TRANSPORT, -rc, "cannot send to leatd: %s", strerror(-rc));
	return await_answer(client, method, id, deadline_ms, out_result, err);
}

int leat_call(struct leat_client *client, const char *method, const cJSON *params,
	cJSON **out_result, struct leat_error *err)
{
	return leat_call_fds(client, method, params, NULL, 0, out_result, err);
}

int leat_event_next(
	struct leat_client *client, int timeout_ms, cJSON **out_event, struct leat_error *err)
{
	long long deadline_ms = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;

	for (;;) {
		cJSON *note = client->events != NULL ? cJSON_DetachItemFromArray(client->events, 0)
						     : NULL;
		int rc = 0;

		if (note == NULL)
			rc = recv_object(client, deadline_ms, &note);
		if (rc < 0)
			return fail(err, LEAT_ERR_TRANSPORT, -rc, "no event from leatd: %s",
				strerror(-rc));
		if (cJSON_GetObjectItemCaseSensitive(note, "method") != NULL) {
			*out_event = cJSON_DetachItemFromObjectCaseSensitive(note, "params");
			cJSON_Delete(note);
			if (*out_event != NULL)
				return 0;
			continue;
		}
		cJSON_Delete(note);
	}
}
