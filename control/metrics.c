/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/metrics.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/http.h>

#include "control/degraded.h"
#include "control/instance.h"
#include "control/loop.h"
#include "control/metrics_objects.h"
#include "control/server.h"

static struct evhttp *http;
static char socket_file[108];

static void on_metrics(struct evhttp_request *request, void *arg)
{
	struct evbuffer *body = evbuffer_new();
	enum metrics_format format = metrics_format_of(
		evhttp_find_header(evhttp_request_get_input_headers(request), "Accept"));

	(void)arg;
	if (body == NULL) {
		evhttp_send_error(request, HTTP_INTERNAL, NULL);
		return;
	}
	metrics_write(body, format);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
		metrics_content_type(format));
	evhttp_send_reply(request, HTTP_OK, "OK", body);
	evbuffer_free(body);
}

static void on_health(struct evhttp_request *request, void *arg)
{
	struct evbuffer *body = evbuffer_new();

	(void)arg;
	if (body != NULL)
		evbuffer_add_printf(body, "%s\n",
			!instance.is_ready			? "starting"
				: degraded_list(NULL, NULL) > 0 ? "degraded"
								: "ok");
	evhttp_send_reply(request, instance.is_ready ? HTTP_OK : HTTP_SERVUNAVAIL, "", body);
	if (body != NULL)
		evbuffer_free(body);
}

/* Host and port of "ADDRESS:PORT"; false: it is none. */
static bool split_address(const char *text, char host[64], char port[8])
{
	const char *colon = strrchr(text, ':');
	size_t len = colon != NULL ? (size_t)(colon - text) : 0;
	char *end;
	unsigned long number;

	if (len == 0 || colon[1] < '0' || colon[1] > '9')
		return false;
	number = strtoul(colon + 1, &end, 10);
	if (*end != '\0' || number == 0 || number > 65535)
		return false;
	if (text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len == 0 || len >= 64)
		return false;
	snprintf(host, 64, "%.*s", (int)len, text);
	snprintf(port, 8, "%lu", number);
	return true;
}

bool metrics_address_is_valid(const char *text)
{
	char host[64], port[8];

	return split_address(text, host, port);
}

int metrics_bind(const char *text)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *found;
	char host[64], port[8];
	int fd, rc = 0, one = 1;

	if (!split_address(text, host, port))
		return -EINVAL;
	rc = getaddrinfo(host, port, &hints, &found);
	if (rc != 0)
		return rc == EAI_SYSTEM ? -errno : rc == EAI_MEMORY ? -ENOMEM : -EADDRNOTAVAIL;
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		rc = -errno;
	else if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
		bind(fd, found->ai_addr, found->ai_addrlen) < 0)
		rc = -errno;
	freeaddrinfo(found);
	if (rc < 0 && fd >= 0)
		close(fd);
	return rc < 0 ? rc : fd;
}

static int accept_tcp(int fd)
{
	int rc = listen(fd, SOMAXCONN) < 0 ? -errno : 0;

	if (rc == 0 && evhttp_accept_socket(http, fd) < 0)
		rc = -ENOMEM;
	if (rc < 0)
		close(fd);
	return rc;
}

int metrics_start(const char *path, int tcp_fd)
{
	int fd;

	http = evhttp_new(loop_base);
	if (http == NULL)
		return -ENOMEM;
	evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_max_headers_size(http, 8192);
	evhttp_set_max_body_size(http, 4096);
	evhttp_set_timeout(http, 10);
	evhttp_set_cb(http, "/metrics", on_metrics, NULL);
	evhttp_set_cb(http, "/healthz", on_health, NULL);
	fd = server_listen(path, 0660);
	if (fd < 0)
		return fd;
	snprintf(socket_file, sizeof(socket_file), "%s", path);
	if (evhttp_accept_socket(http, fd) < 0) {
		close(fd);
		return -ENOMEM;
	}
	return tcp_fd >= 0 ? accept_tcp(tcp_fd) : 0;
}

void metrics_stop(void)
{
	if (http == NULL)
		return;
	evhttp_free(http);
	metrics_objects_fini();
	http = NULL;
	unlink(socket_file);
}
