// SPDX-License-Identifier: GPL-2.0-only
/*
 * The history's file: made, checked, refused or set aside. Settings of a connection and the tables
 * are here; what stands in the tables is written by history.c and read by history_read.c.
 */
#include "history_db.h"
#include "escape.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUSY_MS	    2000
#define LOG_KEPT    "4194304" /* bytes of the write-ahead log that stay on the disk */
#define LENGTH_MAX  65536     /* of a row: ours are below 3 KiB, a hostile file's need not be */
#define CACHE	    "-256"    /* KiB: the daemon has 16 MiB in all */
#define STRICT_FROM 3037000   /* SQLite 3.37; EL 8 and 9 have older ones */

/*
 * The hour comes first in the key: what is written together (all senders of this hour) then lies
 * together, and a thousand rows touch a few pages instead of a thousand.
 */
static const char schema[] =
	"CREATE TABLE who (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)%s;"
	"CREATE TABLE hour (hour INTEGER NOT NULL, who INTEGER NOT NULL REFERENCES who,"
	" syn INTEGER NOT NULL, fenced INTEGER NOT NULL, retransmitted INTEGER NOT NULL,"
	" answered INTEGER NOT NULL, refused INTEGER NOT NULL, silent INTEGER NOT NULL,"
	" denied INTEGER NOT NULL, would_deny INTEGER NOT NULL, destinations INTEGER NOT NULL,"
	" PRIMARY KEY (hour, who)) WITHOUT ROWID%s;"
	"CREATE INDEX hour_by_who ON hour (who, hour);"
	"CREATE TABLE alarm (id INTEGER PRIMARY KEY AUTOINCREMENT, raised INTEGER NOT NULL,"
	" cleared INTEGER NOT NULL, who INTEGER NOT NULL REFERENCES who, rule TEXT NOT NULL,"
	" severity TEXT NOT NULL, text TEXT NOT NULL)%s;"
	"CREATE INDEX alarm_by_who ON alarm (who, raised);"
	"CREATE INDEX alarm_by_time ON alarm (raised);"
	"CREATE TABLE boot (id TEXT NOT NULL);"
	"CREATE TABLE total (kind INTEGER NOT NULL, word0 INTEGER NOT NULL, word1 INTEGER NOT NULL,"
	" first INTEGER NOT NULL, syn INTEGER NOT NULL, fenced INTEGER NOT NULL,"
	" retransmitted INTEGER NOT NULL, answered INTEGER NOT NULL, refused INTEGER NOT NULL,"
	" silent INTEGER NOT NULL, denied INTEGER NOT NULL, would_deny INTEGER NOT NULL,"
	" PRIMARY KEY (kind, word0, word1)) WITHOUT ROWID;"
	"PRAGMA application_id = %d;"
	"PRAGMA user_version = %d;";

#define TEXT(number)  TEXT_(number)
#define TEXT_(number) #number
/* How an hour takes more of a count in. */
#define SUM(count) #count " = min(" TEXT(SF_COUNT_MAX) ", " #count " + excluded." #count "), "

static const char *const texts[SF_STATEMENT_COUNT] = {
	[SF_STATEMENT_WHO_ID] = "SELECT id FROM who WHERE name = ?1",
	[SF_STATEMENT_WHO_NEW] = "INSERT INTO who (name) VALUES (?1)",
	/* clang-format off */
	[SF_STATEMENT_ADD] =
		"INSERT INTO hour (hour, who, syn, fenced, retransmitted, answered, refused, silent,"
		" denied, would_deny, destinations)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
		" ON CONFLICT (hour, who) DO UPDATE SET "
		SUM(syn) SUM(fenced) SUM(retransmitted) SUM(answered)
		SUM(refused) SUM(silent) SUM(denied) SUM(would_deny)
		"destinations = max(destinations, excluded.destinations)",
	/* clang-format on */
	[SF_STATEMENT_RAISE] = "INSERT INTO alarm (raised, cleared, who, rule, severity, text)"
			       " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	[SF_STATEMENT_CLEAR] = "UPDATE alarm SET cleared ="
			       " CASE cleared WHEN 0 THEN ?2 ELSE cleared END WHERE id = ?1",
	[SF_STATEMENT_KNOWN] = "SELECT 1 FROM hour INDEXED BY hour_by_who"
			       " WHERE who = (SELECT id FROM who WHERE name = ?1)"
			       " AND (fenced > 0 OR denied > 0 OR would_deny > 0) LIMIT 1",
	[SF_STATEMENT_OLD_HOURS] = "DELETE FROM hour WHERE (hour, who) IN (SELECT hour, who"
				   " FROM hour WHERE hour < ?1 ORDER BY hour, who LIMIT ?2)",
	[SF_STATEMENT_OLD_ALARMS] = "DELETE FROM alarm WHERE id IN (SELECT id"
				    " FROM alarm WHERE raised < ?1 ORDER BY raised LIMIT ?2)",
	[SF_STATEMENT_OLDEST] = "SELECT (SELECT min(hour) FROM hour),"
				" (SELECT min(raised) FROM alarm)",
	[SF_STATEMENT_UNUSED_WHO] = "DELETE FROM who"
				    " WHERE NOT EXISTS (SELECT 1 FROM hour WHERE hour.who = who.id)"
				    " AND NOT EXISTS"
				    " (SELECT 1 FROM alarm WHERE alarm.who = who.id)",
	[SF_STATEMENT_TOTAL_BOOT] = "SELECT 1 FROM boot WHERE id = ?1",
	[SF_STATEMENT_TOTAL_BOOT_NEW] = "INSERT INTO boot (id) VALUES (?1)",
	[SF_STATEMENT_TOTAL] = "SELECT first, syn, fenced, retransmitted, answered, refused,"
			       " silent, denied, would_deny FROM total"
			       " WHERE kind = ?1 AND word0 = ?2 AND word1 = ?3",
	[SF_STATEMENT_TOTAL_PUT] = "INSERT OR REPLACE INTO total VALUES"
				   " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
	[SF_STATEMENT_TOTAL_NEXT] = "SELECT kind, word0, word1 FROM total"
				    " WHERE (kind, word0, word1) > (?1, ?2, ?3)"
				    " ORDER BY kind, word0, word1 LIMIT ?4",
	[SF_STATEMENT_TOTAL_GONE] = "DELETE FROM total"
				    " WHERE kind = ?1 AND word0 = ?2 AND word1 = ?3",
};

static int fail(const struct sf_history *h, int ret, const char *path, const char *what,
		struct sf_error *err)
{
	char shown[600], why[256];

	sf_escape_string(path, shown, sizeof(shown));
	sf_escape_string(h && h->db ? sqlite3_errmsg(h->db) : strerror(-ret), why, sizeof(why));
	if (ret == -EUCLEAN)
		return sf_fail(err, ret, "%s is damaged (%s)", shown, why);
	if (ret == -ENOSPC)
		return sf_fail(err, ret, "%s: no space left on the disk (%s)", shown, what);
	return sf_fail(err, ret, "can't %s %s: %s", what, shown, why);
}

/*
 * The file before SQLite sees it: there, regular, ours alone. It is never opened and closed here
 * once it exists: that would drop the locks of another connection in this process.
 */
static int prepare_file(const char *path, int writer, struct sf_error *err)
{
	struct stat st;
	int fd, ret;

	if (lstat(path, &st)) {
		ret = -errno;
		if (ret != -ENOENT || !writer)
			return fail(NULL, ret, path, "read", err);
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0)
			return fail(NULL, -errno, path, "make", err);
		close(fd);
		return 0;
	}
	if (!S_ISREG(st.st_mode))
		return fail(NULL, -EINVAL, path, "use, as it is not a regular file,", err);
	if (!writer && access(path, R_OK))
		return fail(NULL, -errno, path, "read", err);
	if (!writer && !st.st_size)
		return fail(NULL, -ENOENT, path, "read", err);
	if (writer && (st.st_mode & 07777) != 0600 && chmod(path, 0600))
		return fail(NULL, -errno, path, "change the mode of", err);
	return 0;
}

/* The file's content is as hostile as what senders named themselves: nothing in it may act. */
static int configure(struct sf_history *h)
{
#ifdef SQLITE_DBCONFIG_DEFENSIVE
	sqlite3_db_config(h->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
#endif
#ifdef SQLITE_DBCONFIG_ENABLE_VIEW
	sqlite3_db_config(h->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
#endif
	sqlite3_db_config(h->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_limit(h->db, SQLITE_LIMIT_LENGTH, LENGTH_MAX);
	sqlite3_busy_timeout(h->db, BUSY_MS);
	return sf_db_exec(h, "PRAGMA trusted_schema = OFF; PRAGMA cache_size = " CACHE ";"
			     "PRAGMA mmap_size = 0;");
}

static int make_tables(struct sf_history *h)
{
	int strict = sqlite3_libversion_number() >= STRICT_FROM;
	const char *end = strict ? " STRICT" : "";
	char sql[sizeof(schema) + 128];
	int ret;

	snprintf(sql, sizeof(sql), schema, end, strict ? ", STRICT" : "", end, SF_HISTORY_APP,
		 SF_HISTORY_SCHEMA);
	ret = sf_db_exec(h, "BEGIN IMMEDIATE");
	if (!ret)
		ret = sf_db_exec(h, sql);
	if (!ret)
		ret = sf_db_exec(h, "COMMIT");
	if (ret)
		sf_db_rollback(h);
	return ret;
}

static int prepare_statements(struct sf_history *h)
{
	for (int i = 0; i < SF_STATEMENT_COUNT; i++) {
		int code = sqlite3_prepare_v3(h->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
					      &h->statement[i], NULL);

		/* Our tables are not what the version says: somebody was at them. */
		if ((code & 0xff) == SQLITE_ERROR)
			return -EUCLEAN;
		if (code)
			return sf_db_errno(h->db, code);
	}
	return 0;
}

/* 0: sound; -EUCLEAN; or why it could not be told. */
static int check_pages(struct sf_history *h, char *why, size_t size)
{
	sqlite3_stmt *check = NULL;
	int code = sqlite3_prepare_v2(h->db, "PRAGMA quick_check(1)", -1, &check, NULL), ret;

	why[0] = '\0';
	if (!code)
		code = sqlite3_step(check);
	if (code == SQLITE_ROW) {
		sf_db_text(check, 0, why, size);
		code = strcmp(why, "ok") ? SQLITE_CORRUPT : SQLITE_OK;
	} else {
		snprintf(why, size, "%s", sqlite3_errmsg(h->db));
	}
	/* "malformed database schema" has come as a plain error too. */
	ret = (code & 0xff) == SQLITE_ERROR ? -EUCLEAN : sf_db_errno(h->db, code);
	sqlite3_finalize(check);
	return ret;
}

static int refuse(const char *path, int64_t app, int64_t version, struct sf_error *err)
{
	char shown[600];

	sf_escape_string(path, shown, sizeof(shown));
	if (app != SF_HISTORY_APP)
		return sf_fail(err, -EPROTO, "%s is a database, but not smtpfence's: move it away",
			       shown);
	return sf_fail(err, -EPROTO,
		       "%s has schema %lld, this smtpfence knows %d: update smtpfence, or move the "
		       "file away",
		       shown, (long long)version, SF_HISTORY_SCHEMA);
}

/* The tables of this version are there, or are made by the writer of an empty file. */
static int check_content(struct sf_history *h, const char *path, struct sf_error *err)
{
	int64_t app, version, objects;
	char why[200], shown[600];
	int ret = sf_db_number(h, "PRAGMA application_id", &app);

	if (!ret)
		ret = sf_db_number(h, "PRAGMA user_version", &version);
	if (ret)
		return fail(h, ret, path, "read", err);
	/* First: what a later SQLite or smtpfence made must not look damaged to this one. */
	if (app == SF_HISTORY_APP && version != SF_HISTORY_SCHEMA)
		return refuse(path, app, version, err);
	ret = check_pages(h, why, sizeof(why));
	if (ret == -EUCLEAN) {
		sf_escape_string(path, shown, sizeof(shown));
		sf_escape_string(why, why + sizeof(why) / 2, sizeof(why) / 2);
		return sf_fail(err, ret, "%s is damaged (%s)", shown, why + sizeof(why) / 2);
	}
	if (!ret)
		ret = sf_db_number(h, "SELECT count(*) FROM sqlite_master", &objects);
	if (ret)
		return fail(h, ret, path, "read", err);
	if (app != SF_HISTORY_APP && (app || version || objects))
		return refuse(path, app, version, err);
	if (app != SF_HISTORY_APP)
		return h->writer ? 1 : fail(NULL, -ENOENT, path, "read", err);
	return 0;
}

/* How the writer keeps its file. `fresh`: nothing is in it yet. */
static int configure_writer(struct sf_history *h, int fresh, const char *path, struct sf_error *err)
{
	sqlite3_stmt *mode = NULL;
	int code, ret = 0;

	/* Only an empty file takes this; later, pages that are free go back to the disk. */
	if (fresh)
		ret = sf_db_exec(h, "PRAGMA auto_vacuum = INCREMENTAL");
	if (ret)
		return fail(h, ret, path, "write", err);
	code = sqlite3_prepare_v2(h->db, "PRAGMA journal_mode = WAL", -1, &mode, NULL);
	if (!code)
		code = sqlite3_step(mode);
	if (code != SQLITE_ROW)
		ret = fail(h, sf_db_errno(h->db, code), path, "write", err);
	else if (strcmp((const char *)sqlite3_column_text(mode, 0), "wal"))
		ret = sf_fail(err, -EOPNOTSUPP,
			      "%s can't have a write-ahead log: is it on a network file system?",
			      path);
	sqlite3_finalize(mode);
	if (ret)
		return ret;
	/* In WAL mode NORMAL loses at most the last transactions to a power cut, never the file. */
	ret = sf_db_exec(h, "PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = " LOG_KEPT);
	if (!ret && fresh)
		ret = make_tables(h);
	return ret ? fail(h, ret, path, "write", err) : 0;
}

int sf_db_open(const char *path, int writer, struct sf_history **history, struct sf_error *err)
{
	struct sf_history *h;
	int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, ret, code;

	ret = prepare_file(path, writer, err);
	if (ret)
		return ret;
	h = calloc(1, sizeof(*h));
	if (!h)
		return sf_fail(err, -ENOMEM, "no memory");
	h->writer = writer;
	code = sqlite3_open_v2(path, &h->db,
			       flags | (writer ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY),
			       NULL);
	ret = sf_db_errno(h->db, code);
	if (!ret) {
		sqlite3_extended_result_codes(h->db, 1);
		ret = configure(h);
		/* Our own words are right: it is the file's header that SQLite can't take. */
		if (ret && (sqlite3_errcode(h->db) & 0xff) == SQLITE_ERROR)
			ret = -EUCLEAN;
	}
	if (ret)
		ret = fail(h, ret, path, "open", err);
	else
		ret = check_content(h, path, err);
	if (ret >= 0 && writer)
		ret = configure_writer(h, ret, path, err);
	if (ret >= 0) {
		ret = prepare_statements(h);
		if (ret)
			ret = fail(h, ret, path, "read", err);
	}
	if (ret) {
		sf_history_close(h);
		return ret;
	}
	*history = h;
	return 0;
}

int sf_db_set_aside(const char *path, char *out, size_t size, struct sf_error *err)
{
	char aside[PATH_MAX], from[PATH_MAX + 8], to[PATH_MAX + 8];
	int64_t now = (int64_t)time(NULL);
	struct stat st;

	do
		snprintf(aside, sizeof(aside), "%s.damaged-%lld", path, (long long)now++);
	while (!lstat(aside, &st));
	/*
	 * The log first: one that stayed would be played into the new file. Together they can be
	 * looked at, or mended with sqlite3's .recover.
	 */
	snprintf(from, sizeof(from), "%s-wal", path);
	snprintf(to, sizeof(to), "%s-wal", aside);
	if (rename(from, to) && errno != ENOENT)
		return fail(NULL, -errno, from, "rename", err);
	if (rename(path, aside))
		return fail(NULL, -errno, path, "rename", err);
	snprintf(from, sizeof(from), "%s-shm", path);
	unlink(from); /* made anew from the log */
	snprintf(out, size, "%s", aside);
	return 0;
}
