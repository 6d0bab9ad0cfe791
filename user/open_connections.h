/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connections to fenced ports that were open before the fence stood: found in every network
 * namespace, judged as a connect() would be now, and ended on demand.
 *
 * The same decision (bpf/lib/decide.h), from what a socket still tells: the cgroup that it was made
 * in, its owner, its addresses; and from the processes that hold it. In doubt it stays: see
 * sf_open_decide. Connections outside of the policy's cgroup_root are not looked at.
 */
#ifndef SF_USER_OPEN_CONNECTIONS_H
#define SF_USER_OPEN_CONNECTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "image.h"
#include "netns.h"
#include "policy.h"
#include "sock_diag.h"
#include "table.h"
#include "../bpf/lib/decide.h"

struct sf_open_connection {
	uint64_t netns; /* inode of its network namespace */
	struct sf_diag_socket socket;
	uint32_t family; /* SF_FAMILY_*; v4-mapped ones are IPv4 */
	struct sf_addr saddr, daddr;
	uint16_t sport, dport; /* host byte order */
	uint8_t reason;	       /* enum sf_reason: why it would be denied */
	uint8_t incoming;      /* somebody listens on its local port: accepted, not opened, here */
	uint8_t ended;	       /* asked to end, and not there any more when looked at again */
	uint8_t allowed;       /* by a process that holds it, though not by the socket's owner */
	pid_t pid;	       /* one that holds it; 0: not found */
	uid_t uid;	       /* the socket's owner */
	char cgroup[512];      /* as it is, cut; "": not known */
};

/* As whom a connection is judged. */
struct sf_open_sender {
	const char *cgroup; /* v2 path; NULL: not known */
	uint32_t uid, gid;
	uint8_t knows_uid; /* no process holds the socket: older kernels then say 0 */
	uint8_t knows_gid;
};

/*
 * The decision on an open connection (pure). An unknown uid passes for one of a mail server's
 * users, and for an allowed one if the policy allows anybody: what may be allowed is not ended.
 */
struct sf_decision sf_open_decide(const struct sf_image *image, uint64_t now_ns,
				  const struct sf_open_connection *connection,
				  const struct sf_open_sender *sender);

/* Addresses and ports of a socket, folded (pure). */
void sf_open_fold(const struct sf_diag_socket *socket, struct sf_open_connection *connection);

/* "ESTABLISHED", "SYN_SENT", ... */
const char *sf_open_state(uint8_t state);

struct sf_open_report {
	struct sf_table found; /* struct sf_open_connection by namespace and cookie */
	size_t ended;
	size_t incoming; /* would be denied, but look accepted: left alone, not in `found` */
	size_t unknown;	 /* their cgroup is gone, or its path too long: likewise */
	int can_end;	 /* 0: tried, and this kernel can't */
	struct sf_netns_walk namespaces;
};

const struct sf_open_connection *sf_open_at(const struct sf_open_report *report, size_t i);

/*
 * Look for what this policy would not allow; with `end`, end it and look again. Release with
 * sf_open_report_free, also after an error: it holds what was found until then.
 */
int sf_open_connections(const struct sf_policy *policy, int end, struct sf_open_report *report,
			struct sf_error *err);
void sf_open_report_free(struct sf_open_report *report);

#endif
