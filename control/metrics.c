/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/http.h>

#include "control/instance.h"
#include "control/loop.h"
#include "control/server.h"

#define CONTENT_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

static struct evhttp *http;
static char socket_file[108];

static void on_metrics(struct evhttp_request *request, void *arg)
{
	struct evbuffer *body = evbuffer_new();

	(void)arg;
	if (body == NULL) {
		evhttp_send_error(request, HTTP_INTERNAL, NULL);
		return;
	}
	metrics_write(body);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", CONTENT_TYPE);
	evhttp_send_reply(request, HTTP_OK, "OK", body);
	evbuffer_free(body);
}

static void on_health(struct evhttp_request *request, void *arg)
{
	struct evbuffer *body = evbuffer_new();

	(void)arg;
	if (body != NULL)
		evbuffer_add_printf(body, "%s\n", instance.is_ready ? "ok" : "starting");
	evhttp_send_reply(request, instance.is_ready ? HTTP_OK : HTTP_SERVUNAVAIL, "", body);
	if (body != NULL)
		evbuffer_free(body);
}

static int listen_tcp(const char *text)
{
	const char *colon = strrchr(text, ':');
	char host[64], *end;
	unsigned long port;
	size_t len;

	if (colon == NULL || colon == text)
		return -EINVAL;
	port = strtoul(colon + 1, &end, 10);
	len = (size_t)(colon - text);
	if (*end != '\0' || port == 0 || port > 65535 || len >= sizeof(host))
		return -EINVAL;
	if (text[0] == '[' && text[len - 1] == ']')
		snprintf(host, sizeof(host), "%.*s", (int)len - 2, text + 1);
	else
		snprintf(host, sizeof(host), "%.*s", (int)len, text);
	return evhttp_bind_socket(http, host, (uint16_t)port) < 0 ? -EADDRNOTAVAIL : 0;
}

int metrics_start(const char *path, const char *tcp)
{
	int fd, rc;

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
	rc = tcp != NULL ? listen_tcp(tcp) : 0;
	return rc;
}

void metrics_stop(void)
{
	if (http == NULL)
		return;
	evhttp_free(http);
	http = NULL;
	unlink(socket_file);
}
