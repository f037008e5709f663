/* SPDX-License-Identifier: BSD-3-Clause */
/* capture start file=-: what leatd captures, to standard output, for Wireshark. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/ctl/ctl.h"

bool ctl_is_capture_stream(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], "-") == 0 || strcmp(argv[i], "file=-") == 0)
			return true;
	return false;
}

/* Until leatd ends it or nobody reads on. */
static int copy(int from)
{
	char buf[1 << 16];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno != EINTR)
			return ctl_complain(
				CTL_EXIT_FAILED, "cannot read the capture: %s", strerror(errno));
		for (ssize_t done = 0; done < n;) {
			ssize_t out = write(STDOUT_FILENO, buf + done, (size_t)(n - done));

			if (out < 0 && errno != EINTR)
				return ctl_complain(
					CTL_EXIT_FAILED, "cannot write: %s", strerror(errno));
			done += out > 0 ? out : 0;
		}
	}
	return CTL_EXIT_OK;
}

int ctl_capture_stream(struct ctl *ctl, int argc, char **argv)
{
	const struct method *method = schema_method("capture.start");
	struct leat_error err = { 0 };
	cJSON *params;
	int n = 0, fds[2], rc;

	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], "-") != 0 && strcmp(argv[i], "file=-") != 0)
			argv[n++] = argv[i];
	params = ctl_params(method, n, argv);
	if (params == NULL)
		return CTL_EXIT_USAGE;
	if (isatty(STDOUT_FILENO)) {
		cJSON_Delete(params);
		return ctl_complain(CTL_EXIT_USAGE,
			"file=- is for a program: leatctl capture start file=- | wireshark -k -i "
			"-");
	}
	rc = ctl_connect(ctl);
	if (rc == CTL_EXIT_OK && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		rc = ctl_complain(CTL_EXIT_FAILED, "no socket: %s", strerror(errno));
	if (rc == CTL_EXIT_OK) {
		if (leat_call_fds(ctl->client, method->name, params, &fds[1], 1, NULL, &err) != 0)
			rc = ctl_fail(ctl_exit_code(&err), method, params, &err);
		close(fds[1]);
		if (rc == CTL_EXIT_OK)
			rc = copy(fds[0]);
		close(fds[0]);
	}
	cJSON_Delete(params);
	return rc;
}
