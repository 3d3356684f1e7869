/* SPDX-License-Identifier: MIT
 *
 * The printer: writes the results that are there with one write, and takes no more until that is done. Draining is nothing to it:
 * it ends with the last worker. A pipe or terminal that does not go on must not hold up a forced end, so they are written to as
 * streams; a file takes all that it gets. */
#include <string.h>
#include <unistd.h>

#include "shutdown.h"

static void on_results(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count);

static uint64_t lines(const char* text, size_t len) {
  uint64_t n = 0;
  size_t i;

  for (i = 0; i < len; i++)
    n += text[i] == '\n';
  return n;
}

static int is_ending(const struct printer* printer) {
  return uvch_is_closing((const uvch_handle_t*) &printer->results);
}

static void drop_result(void* item, void* arg) {
  struct printer* printer = arg;

  (void) item;
  printer->dropped++;
}

/* Results that are queued go to drop_result, and with a forced end also a write that is under way. */
static void end(struct printer* printer) {
  if (is_ending(printer))
    return;
  must(uvch_close((uvch_handle_t*) &printer->results, NULL), "close");
  if (printer->kind != UV_FILE) {
    if (printer->writing)
      printer->written = printer->len - uv_stream_get_write_queue_size(&printer->out.stream);
    (void) uv_stream_set_blocking(&printer->out.stream, 1); /* as it was: a pipe may be others' output, too */
    uv_close((uv_handle_t*) &printer->out.stream, NULL);
  }
  must(uvch_watch_sender_close(&printer->phase), "close");
  member_leave(&printer->member);
}

/* Of the batch. A line that is not written to its end is not printed. */
static void done(struct printer* printer, int error) {
  uint64_t n = lines(printer->text, printer->written);

  printer->writing = 0;
  printer->printed += n;
  printer->dropped += lines(printer->text, printer->len) - n;
  if (error != 0 && !is_ending(printer)) {
    printer->error = error;
    phase_raise(&printer->phase, PHASE_FORCED); /* who computes for nothing is to stop; UV_EPIPE would tell it too late */
    end(printer);
  }
  if (!is_ending(printer))
    must(uvch_mpsc_recv_many_start(&printer->results, BATCH, on_results), "receive");
}

static void on_stream_written(uv_write_t* write, int status) {
  struct printer* printer = write->data;

  if (status == 0)
    printer->written = printer->len;
  done(printer, status);
}

static void on_file_written(uv_fs_t* fs);

static void write_file(struct printer* printer) {
  uv_buf_t buf = uv_buf_init(printer->text + printer->written, (unsigned int) (printer->len - printer->written));

  must(uv_fs_write(&printer->member.loop, &printer->fs, STDOUT_FILENO, &buf, 1, -1, on_file_written), "write");
}

static void on_file_written(uv_fs_t* fs) {
  struct printer* printer = fs->data;
  ssize_t n = fs->result;

  uv_fs_req_cleanup(fs);
  if (n > 0)
    printer->written += (size_t) n;
  if (n < 0 || printer->written == printer->len || is_ending(printer))
    done(printer, n < 0 ? (int) n : 0);
  else
    write_file(printer); /* what is left */
}

static void write_batch(struct printer* printer) {
  uv_buf_t buf = uv_buf_init(printer->text, (unsigned int) printer->len);
  int r;

  printer->writing = 1;
  printer->written = 0;
  if (printer->kind == UV_FILE) {
    write_file(printer);
    return;
  }
  r = uv_write(&printer->write, &printer->out.stream, &buf, 1, on_stream_written);
  if (r != 0)
    done(printer, r);
}

static void on_results(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  struct printer* printer = rx->data;
  const char* item = first;
  size_t i;

  if (status == UV_EOF) {
    end(printer);
    return;
  }
  must(uvch_mpsc_recv_stop(rx), "receive");
  printer->len = 0;
  for (i = 0; i < count; i++) {
    const struct result* result = (const void*) (item + i * stride);
    memcpy(printer->text + printer->len, result->text, result->len);
    printer->len += result->len;
  }
  write_batch(printer);
}

static void on_phase(uvch_watch_receiver_t* rx, int status, const void* value) {
  const enum phase* phase = value;

  must(status, "phase");
  if (*phase == PHASE_FORCED)
    end(rx->data);
}

int printer_usable(void) {
  uv_handle_type kind = uv_guess_handle(STDOUT_FILENO);

  return kind == UV_FILE || kind == UV_TTY || kind == UV_NAMED_PIPE;
}

static void open_output(struct printer* printer) {
  uv_loop_t* loop = &printer->member.loop;

  printer->kind = uv_guess_handle(STDOUT_FILENO);
  if (printer->kind == UV_TTY) {
    must(uv_tty_init(loop, &printer->out.tty, STDOUT_FILENO, 0), "standard output");
  } else if (printer->kind == UV_NAMED_PIPE) {
    must(uv_pipe_init(loop, &printer->out.pipe, 0), "standard output");
    must(uv_pipe_open(&printer->out.pipe, STDOUT_FILENO), "standard output");
  }
}

void printer_init(struct printer* printer, const uvch_watch_sender_t* phase, uvch_mpsc_sender_t* results, size_t capacity) {
  uvch_mpsc_options_t options = {.drop = drop_result, .arg = printer};

  member_init(&printer->member, phase, on_phase);
  must(uvch_watch_sender_clone(phase, &printer->phase), "clone");
  must(uvch_mpsc_init_ex(&printer->member.loop, &printer->results, results, sizeof(struct result), capacity, &options),
       "results");
  open_output(printer);
  printer->member.phase.data = printer->results.data = printer->write.data = printer->fs.data = printer;
  must(uvch_mpsc_recv_many_start(&printer->results, BATCH, on_results), "receive");
}
