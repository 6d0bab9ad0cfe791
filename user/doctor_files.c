// SPDX-License-Identifier: GPL-2.0-only
#include "cleanup.h"
#include "doctor.h"
#include "escape.h"
#include "policy.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SUBJECT "files"

/* In a sticky directory nobody exchanges what is root's; a link's own mode means nothing. */
static bool is_open(const struct stat *st)
{
	if (st->st_uid != 0)
		return true;
	if (S_ISLNK(st->st_mode) || (S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX))
		return false;
	return st->st_mode & (S_IWGRP | S_IWOTH);
}

/* Whoever may write a file, or a directory above it, can put something else there. Says who. */
static bool is_open_path(const char *path, char *whose, size_t size)
{
	char part[PATH_MAX];
	char *slash;

	snprintf(part, sizeof(part), "%s", path);
	do {
		struct stat st;

		/* What is not there yet is made by who may write above. */
		if (!lstat(part[0] ? part : "/", &st) && is_open(&st)) {
			char shown[512];

			sf_escape_string(part[0] ? part : "/", shown, sizeof(shown));
			snprintf(whose, size, "%s belongs to uid %u, mode %04o", shown, st.st_uid,
				 st.st_mode & 07777);
			return true;
		}
		slash = strrchr(part, '/');
		if (slash && part[0])
			*slash = '\0';
		else
			slash = NULL;
	} while (slash);
	return false;
}

/* As it is written, and where that leads to. */
static bool can_others_change(const char *path, char *whose, size_t size)
{
	_cleanup_free_ char *real = realpath(path, NULL);

	return is_open_path(path, whose, size) || (real && is_open_path(real, whose, size));
}

void sf_doctor_check_files(const struct sf_doctor_input *in, struct sf_doctor_report *report)
{
	const struct {
		const char *what, *path;
	} files[] = {
		{"the configuration", in->config_file},
		{"managed_file", in->policy ? in->policy->managed_file : NULL},
		{"state_dir", in->policy ? in->policy->state_dir : NULL},
		{"pin_dir", in->pin_dir},
	};
	bool ours = true;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char whose[640];

		if (!files[i].path || !can_others_change(files[i].path, whose, sizeof(whose)))
			continue;
		ours = false;
		sf_doctor_say(report, SUBJECT, SF_DOCTOR_FAIL,
			      "%s: somebody but root can change it, and so open the fence: %s; "
			      "chown it to root and chmod go-w it",
			      files[i].what, whose);
	}
	if (ours)
		sf_doctor_say(report, SUBJECT, SF_DOCTOR_OK,
			      "only root can change the configuration, the state and the pins");
}
