# SPDX-License-Identifier: MIT
#
# The library's sources once more, cut into steps, see steps.h. Not with sanitizers: they do not follow fibers.

steps_programs = \
	test/model/test_steps \
	test/model/test_block_steps \
	test/model/test_broadcast_steps \
	test/model/test_mpsc_steps \
	test/model/test_oneshot_steps \
	test/model/test_permit_steps \
	test/model/test_port_steps \
	test/model/test_turn_steps \
	test/model/test_watch_steps
if HAVE_CHECK
if MAKECONTEXT
if !SANITIZER
steps_test = $(steps_programs)
check_PROGRAMS += $(steps_test)
check_LIBRARIES = \
	test/model/libblock.a \
	test/model/libbroadcast.a \
	test/model/libmpsc.a \
	test/model/liboneshot.a \
	test/model/libplain.a \
	test/model/libport.a \
	test/model/libwatch.a
endif
endif
endif

# What all of them stand on.
steps_engine = \
	test/model/bugs.h \
	test/model/memory.c \
	test/model/memory.h \
	test/model/names.c \
	test/model/races.c \
	test/model/steps.c \
	test/model/steps.h
# How their programs are run.
steps_runner = $(steps_engine) test/model/runner.c test/model/runner.h
steps_sources = $(steps_runner) test/model/fakes.c test/model/fakes.h
steps_channel = test/model/fake_channel.c test/model/fake_channel.h
steps_parker = test/model/fake_parker.c
steps_include = $(AM_CPPFLAGS) -include $(srcdir)/test/model/steps.h
steps_cppflags = -I$(builddir)/test/model/bugs $(steps_include)
# The sources under test are archives, since no other source is told of races, and the sanitizer's library is not linked.
steps_cflags = $(AM_CFLAGS) $(RACES_CFLAGS)

# The model itself; it needs no fakes.
test_model_libplain_a_SOURCES = test/model/plain.c test/model/plain.h
test_model_libplain_a_CPPFLAGS = $(steps_cppflags)
test_model_libplain_a_CFLAGS = $(steps_cflags)
test_model_test_steps_SOURCES = $(steps_engine) test/model/plain.h test/model/test_steps.c
test_model_test_steps_CPPFLAGS = $(steps_cppflags)
test_model_test_steps_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_model_test_steps_LDADD = test/model/libplain.a $(CHECK_LIBS) $(LIBUV_LIBS)

#
# Copies of the sources with bugs in them, which are off. Those of mpsc channels and of the port have folders of their own, since
# others include their headers.
#

bugs_low = \
	test/model/bugs/home.c \
	test/model/bugs/lock.h \
	test/model/bugs/spares.c \
	test/model/bugs/watcher.c
bugs_oneshot = \
	test/model/bugs/oneshot.c \
	test/model/bugs/oneshot.h \
	test/model/bugs/oneshot_closed.c \
	test/model/bugs/oneshot_recv.c
bugs_shared = \
	test/model/bugs/group.c \
	test/model/bugs/group.h \
	test/model/bugs/group_turn.c \
	test/model/bugs/hub.c \
	test/model/bugs/hub.h \
	test/model/bugs/hub_wait.c
bugs_broadcast = \
	test/model/bugs/broadcast.c \
	test/model/bugs/broadcast.h \
	test/model/bugs/broadcast_group.c \
	test/model/bugs/broadcast_recv.c \
	test/model/bugs/broadcast_ring.c \
	test/model/bugs/broadcast_send.c \
	test/model/bugs/broadcast_turn.c
bugs_watch = \
	test/model/bugs/watch.c \
	test/model/bugs/watch.h \
	test/model/bugs/watch_recv.c \
	test/model/bugs/watch_turn.c \
	test/model/bugs/watch_value.c \
	test/model/bugs/watch_wait.c
bugs_copies = $(bugs_low) $(bugs_oneshot) $(bugs_shared) $(bugs_broadcast) $(bugs_watch)
bugs_seds = test/model/broadcast_bugs.sed test/model/oneshot_bugs.sed test/model/watch_bugs.sed
block_bugs = \
	test/model/block_bugs/block.c \
	test/model/block_bugs/block.h \
	test/model/block_bugs/core.c \
	test/model/block_bugs/core.h \
	test/model/block_bugs/deliver.c \
	test/model/block_bugs/linger.h \
	test/model/block_bugs/park.c \
	test/model/block_bugs/receive.c \
	test/model/block_bugs/receiver.h \
	test/model/block_bugs/senders.c \
	test/model/block_bugs/slot.h \
	test/model/block_bugs/take.c
mpsc_bugs = \
	test/model/mpsc_bugs/core.c \
	test/model/mpsc_bugs/core.h \
	test/model/mpsc_bugs/deliver.c \
	test/model/mpsc_bugs/linger.h \
	test/model/mpsc_bugs/mpsc.c \
	test/model/mpsc_bugs/mpsc_request.c \
	test/model/mpsc_bugs/park.c \
	test/model/mpsc_bugs/parker.c \
	test/model/mpsc_bugs/permit.c \
	test/model/mpsc_bugs/queue.c \
	test/model/mpsc_bugs/receive.c \
	test/model/mpsc_bugs/receiver.h \
	test/model/mpsc_bugs/ring.c \
	test/model/mpsc_bugs/send.c \
	test/model/mpsc_bugs/senders.c \
	test/model/mpsc_bugs/sleep.c \
	test/model/mpsc_bugs/slot.h \
	test/model/mpsc_bugs/take.c
port_bugs = \
	test/model/port_bugs/fork.c \
	test/model/port_bugs/handle.c \
	test/model/port_bugs/home.c \
	test/model/port_bugs/linger.h \
	test/model/port_bugs/parker.c \
	test/model/port_bugs/port.c \
	test/model/port_bugs/registry.c \
	test/model/port_bugs/registry.h \
	test/model/port_bugs/request.c \
	test/model/port_bugs/timer.c \
	test/model/port_bugs/wake.c

# $(put_bugs) SEDS COPIES: into the folder of the target, which is a stamp.
put_bugs = copy_with_bugs() { \
	  $(MKDIR_P) $(@D) && touch $@ && seds= && for s in $$1; do seds="$$seds -f $(srcdir)/$$s"; done && \
	  for f in $$2; do sed $$seds $(srcdir)/src/`basename $$f` >$$f || { rm -f $@; return 1; }; done; }; copy_with_bugs
test/model/bugs/stamp: $(bugs_seds) $(libuvch_internal_la_SOURCES)
	$(AM_V_GEN)$(put_bugs) "$(bugs_seds)" "$(bugs_copies)"
test/model/block_bugs/stamp: test/model/block_bugs.sed $(libuvch_internal_la_SOURCES)
	$(AM_V_GEN)$(put_bugs) test/model/block_bugs.sed "$(block_bugs)"
test/model/mpsc_bugs/stamp: test/model/mpsc_bugs.sed $(libuvch_internal_la_SOURCES)
	$(AM_V_GEN)$(put_bugs) test/model/mpsc_bugs.sed "$(mpsc_bugs)"
test/model/port_bugs/stamp: test/model/port_bugs.sed $(libuvch_internal_la_SOURCES)
	$(AM_V_GEN)$(put_bugs) test/model/port_bugs.sed "$(port_bugs)"
$(bugs_copies): test/model/bugs/stamp
	@:
$(block_bugs): test/model/block_bugs/stamp
	@:
$(mpsc_bugs): test/model/mpsc_bugs/stamp
	@:
$(port_bugs): test/model/port_bugs/stamp
	@:
test/model/test_block_steps-test_block_steps.$(OBJEXT): test/model/bugs/stamp test/model/block_bugs/stamp
test/model/test_broadcast_steps-test_broadcast_steps.$(OBJEXT): test/model/bugs/stamp
test/model/test_mpsc_steps-mpsc_steps.$(OBJEXT): test/model/mpsc_bugs/stamp
test/model/test_mpsc_steps-test_mpsc_steps.$(OBJEXT): test/model/mpsc_bugs/stamp
test/model/test_permit_steps-mpsc_steps.$(OBJEXT): test/model/mpsc_bugs/stamp
test/model/test_permit_steps-test_permit_steps.$(OBJEXT): test/model/mpsc_bugs/stamp
test/model/test_turn_steps-mpsc_steps.$(OBJEXT): test/model/mpsc_bugs/stamp
test/model/test_turn_steps-test_turn_steps.$(OBJEXT): test/model/mpsc_bugs/stamp
test/model/test_oneshot_steps-test_oneshot_steps.$(OBJEXT): test/model/bugs/stamp
test/model/test_port_steps-test_port_steps.$(OBJEXT): test/model/port_bugs/stamp
test/model/test_watch_steps-test_watch_steps.$(OBJEXT): test/model/bugs/stamp
EXTRA_DIST += $(bugs_seds) test/model/block_bugs.sed test/model/mpsc_bugs.sed test/model/port_bugs.sed
CLEANFILES += \
	$(bugs_copies) \
	$(block_bugs) \
	$(mpsc_bugs) \
	$(port_bugs) \
	test/model/bugs/stamp \
	test/model/block_bugs/stamp \
	test/model/mpsc_bugs/stamp \
	test/model/port_bugs/stamp

#
# The programs
#

test_model_liboneshot_a_SOURCES = src/call.c src/handle.c src/request.c
nodist_test_model_liboneshot_a_SOURCES = $(bugs_low) $(bugs_oneshot)
test_model_liboneshot_a_CPPFLAGS = $(steps_cppflags)
test_model_liboneshot_a_CFLAGS = $(steps_cflags)
test_model_test_oneshot_steps_SOURCES = $(steps_sources) $(steps_channel) $(steps_parker) test/model/test_oneshot_steps.c
test_model_test_oneshot_steps_CPPFLAGS = $(steps_cppflags)
test_model_test_oneshot_steps_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_model_test_oneshot_steps_LDADD = test/model/liboneshot.a $(CHECK_LIBS) $(LIBUV_LIBS)

test_model_libbroadcast_a_SOURCES = src/handle.c src/lock.c src/request.c
nodist_test_model_libbroadcast_a_SOURCES = $(bugs_low) $(bugs_shared) $(bugs_broadcast)
test_model_libbroadcast_a_CPPFLAGS = $(steps_cppflags)
test_model_libbroadcast_a_CFLAGS = $(steps_cflags)
test_model_test_broadcast_steps_SOURCES = $(steps_sources) $(steps_parker) test/model/test_broadcast_steps.c
test_model_test_broadcast_steps_CPPFLAGS = $(steps_cppflags)
test_model_test_broadcast_steps_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_model_test_broadcast_steps_LDADD = test/model/libbroadcast.a $(CHECK_LIBS) $(LIBUV_LIBS)

test_model_libwatch_a_SOURCES = src/handle.c src/lock.c src/request.c
nodist_test_model_libwatch_a_SOURCES = $(bugs_low) $(bugs_shared) $(bugs_watch)
test_model_libwatch_a_CPPFLAGS = $(steps_cppflags)
test_model_libwatch_a_CFLAGS = $(steps_cflags)
test_model_test_watch_steps_SOURCES = $(steps_sources) $(steps_parker) test/model/test_watch_steps.c
test_model_test_watch_steps_CPPFLAGS = $(steps_cppflags)
test_model_test_watch_steps_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_model_test_watch_steps_LDADD = test/model/libwatch.a $(CHECK_LIBS) $(LIBUV_LIBS)

block_cppflags = -I$(builddir)/test/model/block_bugs $(steps_cppflags)
test_model_libblock_a_SOURCES = \
	src/call.c \
	src/handle.c \
	src/inbox.c \
	src/mpsc.c \
	src/mpsc_request.c \
	src/permit.c \
	src/queue.c \
	src/request.c \
	src/ring.c \
	src/send.c \
	src/sleep.c
nodist_test_model_libblock_a_SOURCES = $(bugs_low) $(bugs_oneshot) $(block_bugs)
test_model_libblock_a_CPPFLAGS = $(block_cppflags)
test_model_libblock_a_CFLAGS = $(steps_cflags)
test_model_test_block_steps_SOURCES = $(steps_sources) $(steps_parker) test/model/test_block_steps.c
test_model_test_block_steps_CPPFLAGS = $(block_cppflags)
test_model_test_block_steps_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_model_test_block_steps_LDADD = test/model/libblock.a $(CHECK_LIBS) $(LIBUV_LIBS)

mpsc_cppflags = -I$(builddir)/test/model/mpsc_bugs $(steps_include)
mpsc_steps = $(steps_sources) test/model/mpsc_steps.c test/model/mpsc_steps.h
test_model_libmpsc_a_SOURCES = src/block.c src/handle.c src/home.c src/request.c src/spares.c
nodist_test_model_libmpsc_a_SOURCES = $(mpsc_bugs)
test_model_libmpsc_a_CPPFLAGS = $(mpsc_cppflags)
test_model_libmpsc_a_CFLAGS = $(steps_cflags)
test_model_test_mpsc_steps_SOURCES = $(mpsc_steps) test/model/test_mpsc_steps.c
test_model_test_mpsc_steps_CPPFLAGS = $(mpsc_cppflags)
test_model_test_mpsc_steps_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_model_test_mpsc_steps_LDADD = test/model/libmpsc.a $(CHECK_LIBS) $(LIBUV_LIBS)
test_model_test_permit_steps_SOURCES = $(mpsc_steps) test/model/test_permit_steps.c
test_model_test_permit_steps_CPPFLAGS = $(mpsc_cppflags)
test_model_test_permit_steps_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_model_test_permit_steps_LDADD = test/model/libmpsc.a $(CHECK_LIBS) $(LIBUV_LIBS)
test_model_test_turn_steps_SOURCES = $(mpsc_steps) test/model/test_turn_steps.c
test_model_test_turn_steps_CPPFLAGS = $(mpsc_cppflags)
test_model_test_turn_steps_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_model_test_turn_steps_LDADD = test/model/libmpsc.a $(CHECK_LIBS) $(LIBUV_LIBS)

# The port stands on a libuv that is cut into steps as well.
port_cppflags = -I$(builddir)/test/model/port_bugs $(steps_include) -include $(srcdir)/test/model/fake_uv.h
test_model_libport_a_SOURCES = src/sleep.c src/spares.c
nodist_test_model_libport_a_SOURCES = $(port_bugs)
test_model_libport_a_CPPFLAGS = $(port_cppflags)
test_model_libport_a_CFLAGS = $(steps_cflags)
test_model_test_port_steps_SOURCES = $(steps_runner) test/model/fake_uv.c test/model/fake_uv.h test/model/test_port_steps.c
test_model_test_port_steps_CPPFLAGS = $(port_cppflags)
test_model_test_port_steps_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_model_test_port_steps_LDADD = test/model/libport.a $(CHECK_LIBS) $(LIBUV_LIBS)
