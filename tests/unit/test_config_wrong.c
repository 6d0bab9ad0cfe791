// SPDX-License-Identifier: GPL-2.0-only
/* Every mistake is refused with the line that it stands in, whatever stood before it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "config_lab.h"

/* Every way to write a comment, each so that the mistake stands in line 7. */
static void lines_after_comments(void **state)
{
	static const char *const before[] = {
		"\n\n\n\n\n\n",
		"# a\n#b\n## c\n#\n # d \"\n#' e\n",
		"// a\n//b\n///c\n//\n // d \"\n//' e\n",
		"/* a\n b\n\n c\n d\n e */\n",
		"/* a */ /* b\n*/ /**/ /***/\n/*/ * /\n\n*/\n\n",
		"errno = EPERM # a\nerrno = EPERM#b\nports = {25}# c\nports = {25, # d\n26}\n\n",
		"errno = EPERM // a\nerrno = \"EPERM\"//b\nports = {25}// c\nports = {25, // "
		"d\n26}\n\n",
		"fence \"/a\" { # b\n# c\n/* d\n*/ comment = \"# // /*\" // e\n} # f\n\n",
		"fence '/a' { comment = '# // /* \"' }\nfence \"/b\" { comment = \"' \\\" #\" "
		"}\n\n\n\n\n",
		"fence \"/a\" { comment = \"one\ntwo # \nthree\\\nfour\" }\n\n\n",
		"fence \"/a\" { comment = '\n\n\n\n' }\n\n",
		"errno /* */ = /* \n */ EPERM\n\n/**\n * a\n */ # b\n",
		"\r\n# a\r\n/* b\r\n*/\r\nerrno = EPERM # c\r\n// d\r\n",
		"fence /a/b { } #/*\n#*/\n//*/\n/*//\n*///\n\n",
		"state_dir = /a//b\n\nstate_dir = /a/b//\n\n\n\n",
		"#\\\n#\"\n#'\n/* \" ' */\n//\\\n\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		char text[512];

		snprintf(text, sizeof(text), "%serrno = EIO\n", before[i]);
		bad(text, 7, "errno");
		snprintf(text, sizeof(text), "%smail \"a\" { }\n", before[i]);
		bad(text, 7, "mail");
		snprintf(text, sizeof(text), "%sporst = {25}\n", before[i]);
		bad(text, 7, "did you mean ports?");
		snprintf(text, sizeof(text), "%sfence \"/z\" { users = {root} }\n", before[i]);
		bad(text, 7, "users");
		good(before[i]);
		sf_policy_free(&policy);
	}
}

static void lines_within_sections(void **state)
{
	(void)state;
	bad("allow_user root {\n  ports = {25}\n  port = {26}\n}\n", 3, "port");
	bad("allow_user root {\n  # a\n  /* b\n */ porst = {26}\n}\n", 4, "porst");
	/* What a section means is known at its end. */
	bad("allow_user root {\n  ports = {25,\n  0}\n}\n", 4, "ports");
	bad("allow_user root {\n  expires = soon\n}\n", 3, "expires");
	bad("mail /a { users = {root,\n no-such-user-here} }\n", 2, "no-such-user-here");
}

static void wrong_forms(void **state)
{
	static const char *const one_line[] = {
		"}",
		"{",
		"=",
		"ports",
		"ports =",
		"ports = {25",
		"ports = {25,, 26}",
		"errno = {EPERM}",
		"FW_OUTPUT_MTA \"yes\"",
		"FW_OUTPUT_MTA = maybe",
		"FW_OUTPUT_MTA = \"\"",
		"ports = {0}",
		"ports = {65536}",
		"ports = {-1}",
		"ports = {25 26 27, x}",
		"ports = {4294967321}",
		"alert_window = 0",
		"alert_window = 3601",
		"alert_window = 99999999999999999999",
		"pin_dir = a",
		"pin_dir = \"/sys/fs/bpf/a\nports = {25}\nb\"",
		"cgroup_root = /a/",
		"mail { }",
		"mail \"/a\"",
		"mail \"/a\" { users = {root}",
		"mail \"/a\" { expires = \"2030-01-01T00:00:00Z\" }",
		"mail \"\" { }",
		"mail \"/a/../b\" { }",
		"mail \"/sys/fs/cgroup/a\" { }",
		"exempt \"a\" { }",
		"fence \"/a\" { ports = {25} }",
		"allow_user \"\" { }",
		"allow_user \"no-such-user\" { }",
		"allow_user \"4294967295\" { }",
		"allow_user \"-1\" { }",
		"allow_group \"no-such-group\" { }",
		"allow_net \"10.0.0.1/8\" { }",
		"allow_net \"::ffff:10.0.0.1\" { }",
		"allow_host \"10.0.0.1/8\" { }",
		"allow_host \"a b\" { }",
		"allow_net 10.0.0.0/8 { ports = {1,2,3,4,5,6,7,8,9} }",
		"allow_net 10.0.0.0/8 { ports = {\"\"} }",
		"allow_net 10.0.0.0/8 { users = {root} }",
		"quarantine_net 10.0.0.0/8 { ports = {25} }",
		"allow_user root { expires = \"1970-01-01T00:00:00Z\" }",
		"allow_user root { expires = \"2030-02-31T00:00:00Z\" }",
		"allow_user root { expires = \"\" }",
		"include(\"/etc/passwd\")",
		"ports = {25} ports",
		"unknown_key = 1",
		"errno = \"\\400\"",
		"errno = \"\\9\"",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(one_line) / sizeof(one_line[0]); i++) {
		char text[256];

		snprintf(text, sizeof(text), "# a\n%s\n", one_line[i]);
		if (!load(text)) {
			sf_policy_free(&policy);
			fail_msg("taken: %s", one_line[i]);
		}
		assert_true(err.is_usage);
		assert_null(policy.entries);
		assert_non_null(strstr(err.text, "/main.conf:"));
		/* A mistake must not spoil what is read after it: libconfuse's lexer is global. */
		good("FW_OUTPUT_MTA = yes\nfence \"/x\" { }\n");
		assert_int_equal(policy.entry_count, 1);
		sf_policy_free(&policy);
	}
}

static void without_an_end(void **state)
{
	(void)state;
	bad("\n\nsyslog_socket = \"/dev/log\n\n\nports = {25}\n", 3, "quote");
	bad("\n\nsyslog_socket = '/dev/log\n\n\nports = {25}\n", 3, "quote");
	bad("\nerrno = \"EPERM\\", 2, "quote");
	bad("\nerrno = \"EPERM\\\"\n", 2, "quote");
	bad("errno = 'EPERM\\'\n", 1, "quote");
	/* All behind it would be left out, unseen. */
	bad("errno = EPERM\nmail /a {\n users = {root}\n\nfence /b { }\n", 2, "}");
	bad("errno = EPERM\nports = {25\n\n", 2, "}");
	bad("fence /b { }\nmail /a { users = {root }\n", 2, "}");
	bad("errno = EPERM\nmail /a { # }\n", 2, "}");
	bad("ports = {25}\n/* note\nFW_OUTPUT_MTA = yes\n", 2, "*/");
	bad("ports = {25}\n/*/\nFW_OUTPUT_MTA = yes\n", 2, "*/");
	bad("/*", 1, "*/");
	good("/* a /* b */ FW_OUTPUT_MTA = yes\n");
	assert_int_equal(policy.mode, SF_MODE_ENFORCE);
	sf_policy_free(&policy);
}

static void bytes_of_all_kinds(void **state)
{
	static const char nul_key[] = "errno = EPERM\nFW_OUTPUT_MTA = \"yes\0no\"\n";
	static const char nul_plain[] = "errno = EPERM\n\nFW_OUTPUT_MTA = yes\0\nports = {1}\n";
	static const char nul_name[] = "fence \"/a\0b\" { }\n";
	static const char nul_escaped[] = "fence \"/a\\\0b\" { }\n";
	static const char nul_comment[] = "# \0\nFW_OUTPUT_MTA = yes\n";
	char all[300] = "fence \"/";

	(void)state;
	bad_bytes(nul_key, sizeof(nul_key) - 1, 2, "NUL");
	bad_bytes(nul_plain, sizeof(nul_plain) - 1, 3, "NUL");
	bad_bytes(nul_name, sizeof(nul_name) - 1, 1, "NUL");
	bad_bytes(nul_escaped, sizeof(nul_escaped) - 1, 1, "NUL");
	bad_bytes(nul_comment, sizeof(nul_comment) - 1, 1, "NUL");
	/* Bytes above 127 are names like others; the message shows none of them raw. */
	for (int i = 0x80; i < 0x100; i++)
		all[strlen(all)] = (char)i;
	strcat(all, "\" { }");
	good(all);
	assert_int_equal(policy.entry_count, 1);
	assert_int_equal(strlen(policy.entries[0].value), 129);
	sf_policy_free(&policy);
	bad("errno = \"\x1b[31m\xff\n\"\n", 2, "\\x1b[31m\\xff\\x0a");
	bad("a\x1b[31m = 1\n", 1, "\\x1b[31m");
}

static void very_long(void **state)
{
	size_t length =
		1 << 16; /* libconfuse grows its texts by 32 bytes: more is slow under ASan */
	char *text = malloc(length + 256);

	(void)state;
	assert_non_null(text);
	/* One long line, as comment, as value, as name, as blank, as list. */
	memset(text, 'x', length);
	text[0] = '#';
	strcpy(text + length, "\nerrno = EIO\n");
	bad(text, 2, "errno");
	memcpy(text, "errno = \"", 9);
	strcpy(text + length, "\"\n");
	bad(text, 1, "errno");
	memset(text, 'x', length);
	memcpy(text, "fence \"/", 8);
	strcpy(text + length, "\" { }\n");
	bad(text, 1, "fence");
	memset(text, ' ', length);
	strcpy(text + length, "errno = EIO\n");
	bad(text, 1, "errno");
	memcpy(text, "ports={25", 9);
	for (size_t i = 9; i + 3 <= length; i += 3)
		memcpy(text + i, ",25", 3);
	strcpy(text + length / 3 * 3, "}\n");
	good(text);
	assert_int_equal(policy.ports.count, 1);
	sf_policy_free(&policy);
	free(text);
}

/* What may hold the mail server's right is left out only where it is known to be absent. */
static void files_that_are_no_policy(void **state)
{
	char main_file[PATH_MAX];

	(void)state;
	bad("", 1, "empty");
	good("# the defaults\n");
	sf_policy_free(&policy);
	tree_file("/main.conf", "# the defaults\n");
	tree_file("/file", "");
	snprintf(main_file, sizeof(main_file), "%s", tree_path("/main.conf"));
	assert_true(sf_config_load_with(main_file, tree_path("/file"), &policy, &err));
	assert_non_null(strstr(err.text, "empty"));
	/* ENOTDIR is not ENOENT: something is there, but not what should be. */
	assert_true(sf_config_load_with(main_file, tree_path("/file/managed.conf"), &policy, &err));
	assert_non_null(strstr(err.text, "can't be read"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_after_comments),
		cmocka_unit_test(lines_within_sections),
		cmocka_unit_test(wrong_forms),
		cmocka_unit_test(without_an_end),
		cmocka_unit_test(bytes_of_all_kinds),
		cmocka_unit_test(very_long),
		cmocka_unit_test(files_that_are_no_policy),
	};

	return cmocka_run_group_tests(tests, tree_setup, tree_teardown);
}
