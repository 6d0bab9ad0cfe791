/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One connect() through io_uring, by raw system calls (the test machine has no liburing).
 * Only what client.c needs: one ring, one entry, one completion.
 */
#ifndef SMTPFENCE_TEST_CLIENT_URING_H
#define SMTPFENCE_TEST_CLIENT_URING_H

#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *uring_map(int ring, size_t size, long offset)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, offset);
}

static void *uring_at(void *base, uint32_t offset)
{
	return (char *)base + offset;
}

/*
 * Returns what connect() would: 0 or -errno. sqe_flags: IOSQE_ASYNC sends the entry to a worker
 * thread (io-wq). setup_flags: IORING_SETUP_SQPOLL lets a kernel thread take it. In both, the
 * caller itself never enters connect(): that is what makes them worth a test.
 */
static int uring_connect(int fd, const struct sockaddr *dst, socklen_t len, uint8_t sqe_flags,
			 uint32_t setup_flags)
{
	struct io_uring_params p = {.flags = setup_flags, .sq_thread_idle = 100};
	uint32_t *sq_tail, *sq_array, *cq_head, *cq_tail;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	uint32_t enter = IORING_ENTER_GETEVENTS;
	void *sq, *cq, *sqes;
	int ring, ret;

	ring = (int)syscall(__NR_io_uring_setup, 4, &p);
	if (ring < 0)
		return -errno;
	sq = uring_map(ring, p.sq_off.array + p.sq_entries * sizeof(uint32_t), IORING_OFF_SQ_RING);
	cq = uring_map(ring, p.cq_off.cqes + p.cq_entries * sizeof(*cqe), IORING_OFF_CQ_RING);
	sqes = uring_map(ring, p.sq_entries * sizeof(*sqe), IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED)
		return -ENOMEM;

	sqe = sqes;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_CONNECT;
	sqe->flags = sqe_flags;
	sqe->fd = fd;
	sqe->addr = (uint64_t)(uintptr_t)dst;
	sqe->off = len;

	sq_array = uring_at(sq, p.sq_off.array);
	sq_tail = uring_at(sq, p.sq_off.tail);
	sq_array[0] = 0;
	__atomic_store_n(sq_tail, 1, __ATOMIC_RELEASE);

	if (setup_flags & IORING_SETUP_SQPOLL)
		enter |= IORING_ENTER_SQ_WAKEUP;
	cq_head = uring_at(cq, p.cq_off.head);
	cq_tail = uring_at(cq, p.cq_off.tail);
	while (__atomic_load_n(cq_tail, __ATOMIC_ACQUIRE) == *cq_head) {
		ret = (int)syscall(__NR_io_uring_enter, ring, 1, 1, enter, NULL, 0);
		if (ret < 0 && errno != EINTR)
			return -errno;
	}
	cqe = uring_at(cq, p.cq_off.cqes);
	ret = cqe->res;
	close(ring);
	return ret;
}

#endif
