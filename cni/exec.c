/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct child {
	pid_t pid;
	int in, out; /* our ends; -1 when closed */
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int spawn(const char *path, char *const envp[], struct child *child)
{
	int in[2], out[2];
	int rc;

	if (pipe2(in, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(out, O_CLOEXEC) < 0) {
		rc = -errno;
		goto err_in;
	}
	child->pid = fork();
	if (child->pid < 0) {
		rc = -errno;
		goto err_out;
	}
	if (child->pid == 0) {
		char *const argv[] = { (char *)(uintptr_t)path, NULL };

		signal(SIGPIPE, SIG_DFL);
		if (dup2(in[0], STDIN_FILENO) >= 0 && dup2(out[1], STDOUT_FILENO) >= 0)
			execve(path, argv, envp);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	child->in = in[1];
	child->out = out[0];
	fcntl(child->in, F_SETFL, O_NONBLOCK);
	return 0;

err_out:
	close(out[0]);
	close(out[1]);
err_in:
	close(in[0]);
	close(in[1]);
	return rc;
}

static void feed(struct child *child, const char **in, size_t *in_len)
{
	ssize_t n = write(child->in, *in, *in_len);

	if (n > 0) {
		*in += n;
		*in_len -= (size_t)n;
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		*in_len = 0; /* it does not want to read */
	}
	if (*in_len == 0)
		close_end(&child->in);
}

/* Feeds and drains until the child closes its output. */
static int exchange(
	struct child *child, const char *in, size_t in_len, int64_t deadline_ms, char *out)
{
	size_t used = 0;

	for (;;) {
		struct pollfd fds[] = { { .fd = child->out, .events = POLLIN },
			{ .fd = child->in, .events = POLLOUT } };
		int64_t left_ms = deadline_ms - now_ms();
		ssize_t n;

		if (left_ms <= 0)
			return -ETIMEDOUT;
		if (poll(fds, 2, (int)left_ms) < 0 && errno != EINTR)
			return -errno;
		if (child->in >= 0 && fds[1].revents != 0)
			feed(child, &in, &in_len);
		if (fds[0].revents == 0)
			continue;
		n = read(child->out, out + used, CNI_EXEC_OUT_MAX - used);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0) {
			out[used] = '\0';
			return used == CNI_EXEC_OUT_MAX ? -EMSGSIZE : 0;
		}
		used += n > 0 ? (size_t)n : 0;
	}
}

static int reap(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

int cni_exec(const char *path, char *const envp[], const char *in, size_t in_len, int timeout_ms,
	char **out, int *out_status)
{
	struct child child = { .in = -1, .out = -1 };
	char *text = malloc(CNI_EXEC_OUT_MAX + 1);
	int rc = text == NULL ? -ENOMEM : spawn(path, envp, &child);

	if (rc < 0) {
		free(text);
		return rc;
	}
	rc = exchange(&child, in, in_len, now_ms() + timeout_ms, text);
	close_end(&child.in);
	close_end(&child.out);
	if (rc < 0)
		kill(child.pid, SIGKILL);
	*out_status = reap(child.pid);
	if (rc < 0) {
		free(text);
		return rc;
	}
	*out = text;
	return 0;
}
