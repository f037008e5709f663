/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/health.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/http.h>

#include "control/loop.h"
#include "datapath/table/service.h"

#define BACKLOG 64
#define TIMEOUT_S 10

struct listener {
	struct evhttp *http;
	unsigned int n_refs; /* room in services */
	unsigned int
		n_services; /* ≤ n_refs: a call that runs holds a reference without a service */
	uint32_t *services;
};

static struct listener *listeners[UINT16_MAX + 1];
static uint16_t ports[SERVICE_TABLE_MAX]; /* by service */

static uint32_t fewest(const struct listener *l, unsigned int *out_n)
{
	uint32_t service = SERVICE_NONE;

	*out_n = 0;
	for (unsigned int i = 0; i < l->n_services; i++) {
		unsigned int n = service_n_local_ready(l->services[i]);

		if (service != SERVICE_NONE && n >= *out_n)
			continue;
		service = l->services[i];
		*out_n = n;
	}
	return service;
}

static void on_request(struct evhttp_request *request, void *arg)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	struct evbuffer *body = evbuffer_new();
	unsigned int n;
	uint32_t service = fewest(arg, &n);

	if (body == NULL || service == SERVICE_NONE) {
		evhttp_send_error(request, HTTP_SERVUNAVAIL, NULL);
	} else {
		/* a name is letters, digits and ._:- */
		evbuffer_add_printf(body, "{\"service\":\"%s\",\"localEndpoints\":%u}\n",
			service_name(service), n);
		evhttp_add_header(headers, "Content-Type", "application/json");
		evhttp_send_reply(request, n > 0 ? HTTP_OK : HTTP_SERVUNAVAIL, NULL, body);
	}
	if (body != NULL)
		evbuffer_free(body);
}

static int listen_on(struct evhttp *http, const struct sockaddr *addr, socklen_t len)
{
	const int one = 1;
	int rc = 0, fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (addr->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, addr, len) < 0 || listen(fd, BACKLOG) < 0)
		rc = -errno;
	else if (evhttp_accept_socket(http, fd) < 0)
		rc = -ENOMEM;
	if (rc < 0)
		close(fd);
	return rc;
}

static int listen_both(struct evhttp *http, uint16_t port)
{
	const struct sockaddr_in any4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	const struct sockaddr_in6 any6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int rc = listen_on(http, (const struct sockaddr *)&any4, sizeof(any4));

	if (rc < 0)
		return rc;
	rc = listen_on(http, (const struct sockaddr *)&any6, sizeof(any6));
	/* a kernel without IPv6 has nobody who could ask */
	return rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL ? 0 : rc;
}

static void listener_destroy(struct listener *l)
{
	if (l == NULL)
		return;
	if (l->http != NULL)
		evhttp_free(l->http);
	free(l->services);
	free(l);
}

static struct listener *listener_create(uint16_t port, int *out_rc)
{
	struct listener *l = calloc(1, sizeof(*l));

	*out_rc = -ENOMEM;
	if (l == NULL)
		return NULL;
	l->http = evhttp_new(loop_base);
	if (l->http != NULL) {
		evhttp_set_allowed_methods(l->http, UINT16_MAX); /* also what HTTP does not know */
		evhttp_set_max_headers_size(l->http, 8192);
		evhttp_set_max_body_size(l->http, 4096);
		evhttp_set_timeout(l->http, TIMEOUT_S);
		evhttp_set_gencb(l->http, on_request, l);
		*out_rc = listen_both(l->http, port);
	}
	if (*out_rc == 0)
		return l;
	listener_destroy(l);
	return NULL;
}

int health_get(uint16_t port)
{
	struct listener *l = listeners[port];
	uint32_t *services;
	int rc = 0;

	if (port == 0)
		return 0;
	if (l == NULL)
		l = listener_create(port, &rc);
	if (l == NULL)
		return rc;
	services = reallocarray(l->services, l->n_refs + 1, sizeof(*services));
	if (services != NULL) {
		l->services = services;
		l->n_refs++;
	}
	if (l->n_refs > 0)
		listeners[port] = l;
	else
		listener_destroy(l);
	return services != NULL ? 0 : -ENOMEM;
}

void health_put(uint16_t port)
{
	if (port == 0 || --listeners[port]->n_refs > 0)
		return;
	listener_destroy(listeners[port]);
	listeners[port] = NULL;
}

static void unbind(uint32_t service)
{
	struct listener *l = listeners[ports[service]];
	unsigned int i = 0;

	if (ports[service] == 0)
		return;
	while (l->services[i] != service)
		i++;
	l->services[i] = l->services[--l->n_services];
	health_put(ports[service]);
	ports[service] = 0;
}

void health_bind(uint32_t service, uint16_t port)
{
	unbind(service);
	if (port == 0)
		return;
	listeners[port]->services[listeners[port]->n_services++] = service;
	ports[service] = port;
}

uint16_t health_port(uint32_t service)
{
	return ports[service];
}

void health_stop(void)
{
	for (unsigned int port = 1; port <= UINT16_MAX; port++) {
		listener_destroy(listeners[port]);
		listeners[port] = NULL;
	}
}
