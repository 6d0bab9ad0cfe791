// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loaded before others into smtpfence and smtpfenced: memory and disk that run out, a bpf() that
 * fails, a wall clock that jumps. How much of it is said by a file that host.py maps, at any time;
 * what was done to the program is counted there. Other programs that inherit it are left alone.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define KINDS(X) X(MALLOC) X(WRITE) X(FSYNC) X(BPF) X(OPEN) X(RENAME) X(SEND)

enum kind {
#define X(name) name,
	KINDS(X)
#undef X
		KIND_COUNT
};

/* Shared with host.py: same order, same sizes. */
struct control {
	int64_t clock_offset; /* seconds; written by host.py, as `rate` */
	uint32_t rate[8];     /* of a million calls so many fail */
	uint64_t hits[8];     /* written here, by all that have it mapped */
};
_Static_assert(KIND_COUNT <= 8, "the file has room for 8 kinds");

static struct control *control;
static uint64_t state;

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("CHAOS_CONTROL");
	void *at;
	int fd;

	if (!path || strncmp(program_invocation_short_name, "smtpfence", 9))
		return;
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	at = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	syscall(SYS_close, fd);
	state = (uint64_t)getpid() * 0x9e3779b97f4a7c15u + (uint64_t)time(NULL);
	control = at == MAP_FAILED ? NULL : at;
}

static int fails(enum kind kind)
{
	uint32_t rate = control ? __atomic_load_n(&control->rate[kind], __ATOMIC_RELAXED) : 0;

	if (!rate)
		return 0;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	if (state % 1000000 >= rate)
		return 0;
	__atomic_add_fetch(&control->hits[kind], 1, __ATOMIC_RELAXED);
	return 1;
}

#define FAIL(kind, error, value)                                                                   \
	do {                                                                                       \
		if (fails(kind)) {                                                                 \
			errno = error;                                                             \
			return value;                                                              \
		}                                                                                  \
	} while (0)

void *malloc(size_t size)
{
	FAIL(MALLOC, ENOMEM, NULL);
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	FAIL(MALLOC, ENOMEM, NULL);
	return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	FAIL(MALLOC, ENOMEM, NULL);
	return __libc_realloc(old, size);
}

ssize_t write(int fd, const void *data, size_t size)
{
	FAIL(WRITE, ENOSPC, -1);
	return syscall(SYS_write, fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
	FAIL(WRITE, ENOSPC, -1);
	return syscall(SYS_pwrite64, fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
	return pwrite64(fd, data, size, at);
}

int fsync(int fd)
{
	FAIL(FSYNC, EIO, -1);
	return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	FAIL(FSYNC, EIO, -1);
	return (int)syscall(SYS_fdatasync, fd);
}

int rename(const char *from, const char *to)
{
	FAIL(RENAME, ENOSPC, -1);
	return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static mode_t mode_of(int flags, va_list args)
{
	return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(args, int) : 0;
}

int open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	FAIL(OPEN, EMFILE, -1);
	va_start(args, flags);
	mode = mode_of(flags, args);
	va_end(args);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) __attribute__((alias("open64")));

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
	       unsigned int length)
{
	FAIL(SEND, ENOBUFS, -1);
	return syscall(SYS_sendto, fd, data, size, flags, to, length);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
	return sendto(fd, data, size, flags, NULL, 0);
}

/* libbpf reaches bpf() by this. */
long syscall(long number, ...)
{
	static long (*real)(long, ...);
	va_list args;
	long a[6];

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_bpf)
		FAIL(BPF, state & 1 << 20 ? ENOMEM : EPERM, -1);
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int64_t offset(void)
{
	return control ? __atomic_load_n(&control->clock_offset, __ATOMIC_RELAXED) : 0;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	int ret = (int)syscall(SYS_clock_gettime, id, t);

	if (!ret && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		t->tv_sec += offset();
	return ret;
}

time_t time(time_t *out)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	if (out)
		*out = t.tv_sec;
	return t.tv_sec;
}

int gettimeofday(struct timeval *t, void *zone)
{
	struct timespec s;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &s);
	t->tv_sec = s.tv_sec;
	t->tv_usec = s.tv_nsec / 1000;
	return 0;
}
