// SPDX-License-Identifier: GPL-2.0-only
#include "fuzz.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <json-c/json.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void fuzz_violated(const char *file, int line, const char *property)
{
	fprintf(stderr, "==%d== ERROR: property violated: %s:%d: %s\n", (int)getpid(), file, line,
		property);
	abort();
}

static void must(int worked, const char *what)
{
	if (worked)
		return;
	fprintf(stderr, "fuzz: %s: %s\n", what, strerror(errno));
	_exit(2);
}

struct fuzz_part fuzz_next_part(struct fuzz_part *rest)
{
	static const char divider[] = "\n====\n";
	const size_t length = sizeof(divider) - 1;
	struct fuzz_part part = *rest;
	const uint8_t *at = rest->size ? memmem(rest->data, rest->size, divider, length) : NULL;

	if (at) {
		part.size = (size_t)(at - rest->data) + 1; /* with the line's end */
		rest->data = at + length;
		rest->size -= part.size - 1 + length;
	} else {
		rest->data += rest->size;
		rest->size = 0;
	}
	return part;
}

uint64_t fuzz_take(struct fuzz_part *rest, size_t bytes)
{
	uint64_t value = 0;
	size_t n = bytes < rest->size ? bytes : rest->size;

	if (n)
		memcpy(&value, rest->data, n);
	rest->data += n;
	rest->size -= n;
	return value;
}

char *fuzz_string(struct fuzz_part part)
{
	char *text = malloc(part.size + 1);

	must(text != NULL, "malloc");
	if (part.size)
		memcpy(text, part.data, part.size);
	text[part.size] = '\0';
	return text;
}

/* Files ---------------------------------------------------------------------------------------- */

static void write_all(int fd, struct fuzz_part content)
{
	if (content.size)
		must(pwrite(fd, content.data, content.size, 0) == (ssize_t)content.size, "write");
}

const char *fuzz_file(int slot, struct fuzz_part content)
{
	static int fds[4] = {-1, -1, -1, -1};
	static char paths[4][32];

	if (fds[slot] < 0) {
		fds[slot] = memfd_create("input", MFD_CLOEXEC);
		must(fds[slot] >= 0, "memfd_create");
		snprintf(paths[slot], sizeof(paths[slot]), "/proc/self/fd/%d", fds[slot]);
	}
	must(!ftruncate(fds[slot], 0), "ftruncate");
	write_all(fds[slot], content);
	return paths[slot];
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)kind;
	if (where->level > 0)
		remove(path);
	return 0;
}

static char root[64];

static void remove_root(void)
{
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	rmdir(root);
}

static void make_root(void)
{
	const char *below =
		getenv("SF_FUZZ_DIR"); /* the runner's: it takes away what a crash leaves */

	snprintf(root, sizeof(root), "%.40s/fz-XXXXXX", below ? below : "/dev/shm");
	must(mkdtemp(root) != NULL, root);
	atexit(remove_root);
}

/* The directories above `path`, which lies below root: names of `.` and `..` are none. */
static int make_parents(char *path)
{
	for (char *p = path + strlen(root) + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		mkdir(path, 0700);
		*p = '/';
	}
	return 0;
}

static int is_inside(const char *name)
{
	for (const char *p = name; p; p = strchr(p, '/')) {
		p += strspn(p, "/");
		if (!strncmp(p, "..", 2) && (!p[2] || p[2] == '/'))
			return 0;
	}
	return 1;
}

static void make_file(const char *name, const char *target, struct fuzz_part content)
{
	char path[4096];
	int fd, n = snprintf(path, sizeof(path), "%s/%s", root, name + strspn(name, "/"));

	if (n >= (int)sizeof(path) || !is_inside(name))
		return;
	make_parents(path);
	if (path[n - 1] == '/')
		return;
	if (target) { /* never out of the tree: a link to anywhere is a text for readlink */
		if (symlink(target, path))
			return;
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	write_all(fd, content);
	close(fd);
}

const char *fuzz_tree(struct fuzz_part rest)
{
	if (!root[0])
		make_root();
	else
		nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	for (int files = 0; rest.size > 2 && files < 64; files++) {
		const uint8_t *end = memchr(rest.data, '\n', rest.size);
		const uint8_t *next;
		struct fuzz_part line = {rest.data, end ? (size_t)(end - rest.data) : rest.size};
		char *name, *arrow;

		rest.data += line.size + (end != NULL);
		rest.size -= line.size + (end != NULL);
		next = rest.size ? memmem(rest.data, rest.size, "\n@ ", 3) : NULL;
		name = fuzz_string(line);
		arrow = strstr(name, " -> ");
		if (arrow)
			*arrow = '\0';
		if (!strncmp(name, "@ ", 2) && name[2]) {
			size_t content = arrow || (rest.size > 1 && !memcmp(rest.data, "@ ", 2)) ? 0
					 : next ? (size_t)(next + 1 - rest.data)
						: rest.size;

			make_file(name + 2, arrow ? arrow + 4 : NULL,
				  (struct fuzz_part){rest.data, content});
			rest.data += content;
			rest.size -= content;
		}
		free(name);
	}
	return root;
}

/* Properties ----------------------------------------------------------------------------------- */

int fuzz_is_clean(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		if (*p < 0x20 || *p == 0x7f)
			return 0;
	return 1;
}

int fuzz_is_clean_utf8(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	while (*p) {
		static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
		uint32_t code = *p;
		int more = *p < 0x80	   ? 0
			   : *p >> 5 == 6  ? 1
			   : *p >> 4 == 14 ? 2
			   : *p >> 3 == 30 ? 3
					   : -1;

		if (more < 0)
			return 0;
		code &= more == 0 ? 0x7f : 0x3fu >> more;
		for (int i = 0; i < more; i++) {
			if (*++p >> 6 != 2)
				return 0;
			code = code << 6 | (*p & 0x3f);
		}
		p++;
		if (code < 0x20 || (code >= 0x7f && code < 0xa0) || (more && code < least[more]) ||
		    (code >= 0xd800 && code < 0xe000) || code > 0x10ffff)
			return 0;
	}
	return 1;
}

int fuzz_is_json(const char *text)
{
	struct json_tokener *t = json_tokener_new();
	struct json_object *o;
	int ok;

	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(t, text, (int)strlen(text) + 1);
	ok = json_tokener_get_error(t) == json_tokener_success;
	json_object_put(o);
	json_tokener_free(t);
	return ok;
}

/* Output --------------------------------------------------------------------------------------- */

static int printed_fd = -1;

void fuzz_catch_stdout(void)
{
	if (printed_fd < 0) {
		printed_fd = memfd_create("stdout", MFD_CLOEXEC);
		must(printed_fd >= 0 && dup2(printed_fd, STDOUT_FILENO) >= 0, "stdout");
	}
	must(!ftruncate(printed_fd, 0) && !lseek(printed_fd, 0, SEEK_SET), "stdout");
}

const char *fuzz_printed(size_t *size)
{
	static char *text;
	struct stat st;

	fflush(stdout);
	must(!fstat(printed_fd, &st), "stdout");
	free(text);
	text = malloc((size_t)st.st_size + 1);
	must(text && pread(printed_fd, text, (size_t)st.st_size, 0) == st.st_size, "stdout");
	text[st.st_size] = '\0';
	*size = (size_t)st.st_size;
	return text;
}
