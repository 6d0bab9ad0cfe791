/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the targets share: inputs as files and trees of files, and properties. A target is one file,
 * target_NAME.c, with LLVMFuzzerTestOneInput; a property that does not hold ends the process like a
 * crash, so that libFuzzer keeps the input.
 */
#ifndef SF_TESTS_FUZZ_H
#define SF_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define PROPERTY(holds)                                                                            \
	do {                                                                                       \
		if (!(holds))                                                                      \
			fuzz_violated(__FILE__, __LINE__, #holds);                                 \
	} while (0)

void fuzz_violated(const char *file, int line, const char *property) __attribute__((noreturn));

/* A stretch of the input. */
struct fuzz_part {
	const uint8_t *data;
	size_t size;
};

/* Parts are divided by a line `====`: so inputs of several files stay text. The last is the rest;
 * what is not there is empty. */
struct fuzz_part fuzz_next_part(struct fuzz_part *rest);
/* Bytes from the front; 0 where there are none any more. */
uint64_t fuzz_take(struct fuzz_part *rest, size_t bytes);
/* As a C string (cut at a NUL); free() it. */
char *fuzz_string(struct fuzz_part part);

/* A file in memory with this content; its path. `slot` below 4: a file of its own. */
const char *fuzz_file(int slot, struct fuzz_part content);

/*
 * A directory of this process in memory, empty at each call. The input describes what lies in it:
 * `@ PATH` begins a file, `@ PATH -> TARGET` is a link, `@ PATH/` a directory.
 */
const char *fuzz_tree(struct fuzz_part description);

/* No byte that acts on a terminal or ends a line: nothing below a blank, no DEL. */
int fuzz_is_clean(const char *text);
/* Valid UTF-8 (RFC 3629) without C0, DEL and C1. Told from the RFC, not from escape.c. */
int fuzz_is_clean_utf8(const char *text);
/* Is it one whole JSON value, as json-c reads it in its strict form? */
int fuzz_is_json(const char *text);

/* What is printed to stdout from now on; fuzz_printed gives it (valid until the next call). */
void fuzz_catch_stdout(void);
const char *fuzz_printed(size_t *size);

#endif
