// SPDX-License-Identifier: GPL-2.0-only
#include "error.h"
#include <errno.h>
#include <stdio.h>

static int fill(struct sf_error *err, int code, int is_usage, const char *format, va_list args)
{
	if (err) {
		err->code = code;
		err->is_usage = is_usage;
		vsnprintf(err->text, sizeof(err->text), format, args);
	}
	return code;
}

int sf_fail(struct sf_error *err, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fill(err, code, 0, format, args);
	va_end(args);
	return code;
}

int sf_fail_usage(struct sf_error *err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fill(err, -EINVAL, 1, format, args);
	va_end(args);
	return -EINVAL;
}
