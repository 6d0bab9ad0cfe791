// SPDX-License-Identifier: GPL-2.0-only
#include "capture.h"
#include "cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>

static int find_program(const char *name, char *path, size_t size)
{
	static const char *const dirs[] = {"/usr/sbin", "/sbin", "/usr/bin", "/bin",
					   "/usr/local/sbin"};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		int n = snprintf(path, size, "%s/%s", dirs[i], name);

		if (n > 0 && (size_t)n < size && !access(path, X_OK))
			return 0;
	}
	return -ENOENT;
}

/* In the child: nothing here may allocate or return. */
static void __attribute__((noreturn)) become(const char *path, const char *const *argv, int out)
{
	static char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	/* A group of its own, so that what it starts can be ended with it. */
	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (null >= 0 && dup2(null, 0) == 0 && dup2(out, 1) == 1 && dup2(null, 2) == 2)
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): execve writes none of it */
		execve(path, (char *const *)(uintptr_t)argv, env);
	_exit(127);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* All that comes from `fd` until its end, into a buffer that grows. */
static int read_all(int fd, int64_t until_ms, size_t limit, char **text)
{
	_cleanup_free_ char *buffer = NULL;
	size_t used = 0, room = 0;

	for (;;) {
		struct pollfd wait = {.fd = fd, .events = POLLIN};
		int64_t left = until_ms - now_ms();
		ssize_t n;

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&wait, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
		if (!wait.revents)
			continue;
		if (room - used < 2) {
			char *more;

			if (used >= limit)
				return -EFBIG;
			room = room ? room * 2 : 16384;
			more = realloc(buffer, room);
			if (!more)
				return -ENOMEM;
			buffer = more;
		}
		n = read(fd, buffer + used, room - used - 1);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			break;
		if (n > 0)
			used += (size_t)n;
	}
	if (!buffer)
		return -ENODATA;
	buffer[used] = '\0';
	*text = buffer;
	buffer = NULL;
	return 0;
}

int sf_capture(const char *const *argv, unsigned int limit_ms, size_t limit_bytes, char **text)
{
	int64_t until_ms = now_ms() + limit_ms;
	_cleanup_close_ int in = -1, out = -1;
	_cleanup_free_ char *output = NULL;
	char path[PATH_MAX];
	int ends[2], status = 0, ret = find_program(argv[0], path, sizeof(path));
	pid_t pid;

	if (ret)
		return ret;
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	in = ends[0];
	out = ends[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		become(path, argv, out);
	setpgid(pid, pid);
	close(out);
	out = -1; /* NOLINT(clang-analyzer-deadcode.DeadStores): its cleanup reads it */
	ret = read_all(in, until_ms, limit_bytes, &output);
	/* It may also have closed its output and gone on. */
	if (ret != 0 && ret != -ENODATA)
		kill(-pid, SIGKILL);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		struct timespec pause = {.tv_nsec = 2000000};

		if (now_ms() >= until_ms)
			kill(-pid, SIGKILL);
		if (now_ms() >= until_ms + 1000) /* stuck in the kernel: leave it */
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	if (ret == -ENODATA) {
		output = calloc(1, 1);
		ret = output ? 0 : -ENOMEM;
	}
	if (ret)
		return ret;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return -EIO;
	*text = output;
	output = NULL;
	return 0;
}
