/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Is this host fit for the fence, and is anything in its way? A list of checks with an answer
 * each; nothing is changed, nothing printed. What the fence does right now is not asked here
 * (status.h knows), nor whether the daemon runs.
 */
#ifndef SF_USER_DOCTOR_H
#define SF_USER_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

enum sf_doctor_state {
	SF_DOCTOR_OK = 0,
	SF_DOCTOR_WARN,
	SF_DOCTOR_FAIL,
};

/* "ok", "warn", "fail" */
const char *sf_doctor_state_name(enum sf_doctor_state state);

#define SF_DOCTOR_CHECKS_MAX 96

struct sf_doctor_check {
	const char *subject; /* a few words: "kernel", "mail server"; not unique */
	enum sf_doctor_state state;
	char text[1024]; /* escaped */
};

/* About 100 KiB: not for the stack of a thread. */
struct sf_doctor_report {
	size_t count;
	bool cut; /* there was more to say than fits */
	struct sf_doctor_check checks[SF_DOCTOR_CHECKS_MAX];
};

struct sf_doctor_input {
	const char *mount;   /* of the v2 hierarchy (sf_cgroup_mount), or NULL: there is none */
	const char *pin_dir; /* NULL: /sys/fs/bpf */
	const char *const *mail_paths; /* role paths of kind mail, from the v2 root */
	size_t mail_path_count;
	const struct sf_policy
		*policy;	 /* uplinks and customers; NULL: interfaces are not looked at */
	const char *config_file; /* NULL: not looked at */
	const char *root;	 /* prefix for /etc, /usr, /run, /var and /proc; usually "" */
};

/* The order is fixed: kernel, mounts, features, mail servers, cgroups, containers, interfaces,
 * files, conflicts. */
int sf_doctor_run(const struct sf_doctor_input *in, struct sf_doctor_report *report);

/* One check more, cut where there is no room; for the parts of the doctor. */
void sf_doctor_say(struct sf_doctor_report *report, const char *subject, enum sf_doctor_state state,
		   const char *format, ...) __attribute__((format(printf, 4, 5)));
/* doctor_wires.c: uplinks, and virtual machines that nobody fences. */
void sf_doctor_check_wires(const struct sf_policy *policy, struct sf_doctor_report *report);
/* doctor_files.c: who but root can change what smtpfence believes. */
void sf_doctor_check_files(const struct sf_doctor_input *in, struct sf_doctor_report *report);

/* The worst state in it. */
enum sf_doctor_state sf_doctor_worst(const struct sf_doctor_report *report);

#endif
