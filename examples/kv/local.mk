# SPDX-License-Identifier: MIT
#
# The key-value server, and tests of its parts. All but its main() is an archive, so that each test takes what it needs.

noinst_LIBRARIES = examples/kv/libkv.a
examples_kv_libkv_a_SOURCES = \
	examples/kv/accept.c \
	examples/kv/accept.h \
	examples/kv/admin.c \
	examples/kv/audience.c \
	examples/kv/audience.h \
	examples/kv/buf.c \
	examples/kv/buf.h \
	examples/kv/client.c \
	examples/kv/client.h \
	examples/kv/commands.c \
	examples/kv/commands.h \
	examples/kv/effects.c \
	examples/kv/expire.c \
	examples/kv/glob.c \
	examples/kv/hash.c \
	examples/kv/hash.h \
	examples/kv/info.c \
	examples/kv/info.h \
	examples/kv/keys.c \
	examples/kv/keyspace.h \
	examples/kv/kv.c \
	examples/kv/kv.h \
	examples/kv/listen.c \
	examples/kv/load.c \
	examples/kv/log.c \
	examples/kv/log.h \
	examples/kv/log_file.c \
	examples/kv/log_file.h \
	examples/kv/parser.c \
	examples/kv/parser.h \
	examples/kv/phase.c \
	examples/kv/phase.h \
	examples/kv/pubsub.c \
	examples/kv/pubsub.h \
	examples/kv/restore.c \
	examples/kv/restore.h \
	examples/kv/round.c \
	examples/kv/round.h \
	examples/kv/scan.c \
	examples/kv/server.c \
	examples/kv/server.h \
	examples/kv/session.c \
	examples/kv/settings.c \
	examples/kv/settings.h \
	examples/kv/shard.c \
	examples/kv/shard.h \
	examples/kv/status.c \
	examples/kv/status.h \
	examples/kv/store.c \
	examples/kv/store.h \
	examples/kv/store_commands.c \
	examples/kv/strings.c \
	examples/kv/table.c \
	examples/kv/table.h \
	examples/kv/worker.c \
	examples/kv/worker.h

noinst_PROGRAMS += examples/kv/kv
examples_kv_kv_SOURCES = examples/kv/main.c
examples_kv_kv_LDADD = examples/kv/libkv.a libuvch.la $(LIBUV_LIBS)

kv_tests = \
	examples/kv/test_log \
	examples/kv/test_parser \
	examples/kv/test_pubsub \
	examples/kv/test_settings \
	examples/kv/test_store
if HAVE_CHECK
check_PROGRAMS += $(kv_tests)
TESTS += $(kv_tests)
endif
kv_test_libs = examples/kv/libkv.a libtest_support.la libuvch_internal.la $(CHECK_LIBS) $(LIBUV_LIBS)
kv_test_cppflags = $(AM_CPPFLAGS) -I$(srcdir)/test
examples_kv_test_log_SOURCES = examples/kv/test_log.c
examples_kv_test_log_CPPFLAGS = $(kv_test_cppflags)
examples_kv_test_log_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
examples_kv_test_log_LDADD = $(kv_test_libs)
examples_kv_test_parser_SOURCES = examples/kv/test_parser.c examples/kv/fuzz_parser.c examples/kv/fuzz_parser.h
examples_kv_test_parser_CPPFLAGS = $(kv_test_cppflags)
examples_kv_test_parser_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
examples_kv_test_parser_LDADD = $(kv_test_libs)
examples_kv_test_pubsub_SOURCES = examples/kv/test_pubsub.c
examples_kv_test_pubsub_CPPFLAGS = $(kv_test_cppflags)
examples_kv_test_pubsub_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
examples_kv_test_pubsub_LDADD = $(kv_test_libs)
examples_kv_test_settings_SOURCES = examples/kv/test_settings.c
examples_kv_test_settings_CPPFLAGS = $(kv_test_cppflags)
examples_kv_test_settings_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
examples_kv_test_settings_LDADD = $(kv_test_libs)
examples_kv_test_store_SOURCES = examples/kv/test_store.c
examples_kv_test_store_CPPFLAGS = $(kv_test_cppflags)
examples_kv_test_store_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
examples_kv_test_store_LDADD = $(kv_test_libs)

# For tools/fuzz, as test/fuzz/fuzz.
EXTRA_PROGRAMS += examples/kv/fuzz_parser
examples_kv_fuzz_parser_SOURCES = \
	examples/kv/buf.c \
	examples/kv/fuzz_parser.c \
	examples/kv/fuzz_parser.h \
	examples/kv/parser.c
examples_kv_fuzz_parser_CPPFLAGS = $(AM_CPPFLAGS)
examples_kv_fuzz_parser_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
examples_kv_fuzz_parser_LDADD =
CLEANFILES += examples/kv/fuzz_parser$(EXEEXT)

# Tests with real clients. What they need is looked for by themselves.
kv_client_tests = \
	examples/kv/check/test_clients.py \
	examples/kv/check/test_compare.py \
	examples/kv/check/test_durable.py \
	examples/kv/check/test_end.py \
	examples/kv/check/test_pressure.py
TESTS += $(kv_client_tests)

if HAVE_HIREDIS
check_PROGRAMS += examples/kv/check/hiredis_client
endif
examples_kv_check_hiredis_client_SOURCES = examples/kv/check/hiredis_client.c
examples_kv_check_hiredis_client_CPPFLAGS = $(AM_CPPFLAGS) $(HIREDIS_CFLAGS)
examples_kv_check_hiredis_client_LDADD = $(HIREDIS_LIBS) $(LIBUV_LIBS)

EXTRA_DIST += \
	$(kv_client_tests) \
	examples/kv/README.md \
	examples/kv/check/compare.txt \
	examples/kv/check/kvtest.py
