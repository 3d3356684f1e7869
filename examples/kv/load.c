/* SPDX-License-Identifier: MIT
 *
 * The file back into commands. It ends in the middle of one if the system stopped then; some file systems fill up with zeros what
 * did not come to the disk. Nobody was told that such a command is safe, so it may go. Damage anywhere else is not ours to mend; but
 * a length that has become larger than the rest of the file looks like a torn end, too. */
#include <inttypes.h>
#include <string.h>

#include "log.h"
#include "log_file.h"
#include "parser.h"

/* Bytes of one read. */
enum { PIECE = 65536 };

/* What clients may send is limited by settings, which may have been others then. */
static const struct parser_limits limits = {.bulk = SIZE_MAX / 4, .arguments = SIZE_MAX / 4};

struct load {
  const char* path;
  uv_file fd;
  uint64_t offset; /* in the file, of what is in `buf` */
  struct buf buf;
  struct parser parser;
  log_apply_cb apply;
  void* arg;
};

static int fail(const struct load* load, const char* what, int r) {
  say(LEVEL_WARNING, "%s: cannot %s it: %s", load->path, what, uv_strerror(r));
  return r;
}

/* Up to PIECE bytes behind what is in the buffer. They do not belong to it yet. Returns how many, 0 at the end, or an error. */
static ssize_t read_at(struct load* load, uint64_t offset, char** data) {
  uv_buf_t buf = {.base = buf_room(&load->buf, PIECE), .len = PIECE};
  uv_fs_t req;
  ssize_t n;

  if (buf.base == NULL)
    return UV_ENOMEM;
  *data = buf.base;
  n = uv_fs_read(NULL, &req, load->fd, &buf, 1, (int64_t) offset, NULL);
  uv_fs_req_cleanup(&req);
  return n;
}

/* A line as "*3" or "$5". Returns 1, and then `at` is behind it; 0 if it is not whole, -1 if it is something else. */
static int take_line(const char** at, const char* end, char first, uint64_t* number) {
  const char* c = *at;

  if (c < end && *c++ != first)
    return -1;
  for (*number = 0; c < end && *c >= '0' && *c <= '9' && *number < UINT64_MAX / 16; c++)
    *number = *number * 10 + (uint64_t) (*c - '0');
  if (c < end && (*c != '\r' || c == *at + 1))
    return -1;
  if (end - c < 2)
    return 0;
  *at = c + 2;
  return c[1] == '\n' ? 1 : -1;
}

/* The parser takes from clients what Redis takes from them; here all has to be as it was written. Returns 1 for a whole command, 0 for
 * the begin of one, also for nothing, -1 if it is something else. */
static int look(const char* data, size_t len) {
  const char* end = data + len;
  uint64_t arguments;
  uint64_t bytes;
  int r = take_line(&data, end, '*', &arguments);

  for (; r == 1 && arguments > 0; arguments--) {
    uint64_t left;
    r = take_line(&data, end, '$', &bytes);
    left = (uint64_t) (end - data);
    if (r != 1)
      return r;
    if (left > bytes && data[bytes] != '\r')
      return -1;
    if (left < bytes + 2)
      return 0;
    if (data[bytes + 1] != '\n')
      return -1;
    data += bytes + 2;
  }
  return r;
}

static enum parser_result parse(struct parser* parser, char* data, size_t len) {
  enum parser_result result = PARSER_MORE;

  if (len > 0 && data[0] != '*') /* the parser would take it for a line of a person */
    return PARSER_ERROR;
  if (len > 0)
    result = parser_next(parser, data, len, &limits);
  if (result == PARSER_COMMAND && (parser->argc == 0 || look(data, parser->len) != 1))
    result = PARSER_ERROR;
  return result;
}

static int cut(struct load* load, uint64_t size) {
  uv_fs_t req;
  int r = uv_fs_ftruncate(NULL, &req, load->fd, (int64_t) load->offset, NULL);

  uv_fs_req_cleanup(&req);
  if (r != 0)
    return fail(load, "cut", r);
  say(LEVEL_WARNING, "%s: the end is no whole command: %" PRIu64 " bytes at offset %" PRIu64 " are cut off", load->path,
      size - load->offset, load->offset);
  return 0;
}

/* Bytes before the last zeros. */
static size_t without_zeros(const char* data, size_t len) {
  while (len > 0 && data[len - 1] == '\0')
    len--;
  return len;
}

/* Look for the end of zeros that begin in the buffer. Returns 0 and the size of the file, UV_EILSEQ if something else comes, or an
 * error. */
static int read_zeros(struct load* load, uint64_t* size) {
  uint64_t offset = load->offset + load->buf.len;
  char* data;
  ssize_t n;

  while ((n = read_at(load, offset, &data)) > 0) {
    if (without_zeros(data, (size_t) n) > 0)
      return UV_EILSEQ;
    offset += (uint64_t) n;
  }
  *size = offset;
  return (int) n;
}

/* The buffer does not begin with a whole command. It is the torn end if it is the begin of one, and then only zeros come. */
static int mend(struct load* load) {
  int is_begin = look(load->buf.data, without_zeros(load->buf.data, load->buf.len)) == 0;
  uint64_t size = 0;
  int r = is_begin ? read_zeros(load, &size) : UV_EILSEQ;

  if (r == 0)
    return cut(load, size);
  if (r != UV_EILSEQ)
    return fail(load, "read", r);
  say(LEVEL_WARNING, "%s: there is no command at offset %" PRIu64 " (%s); the file is left as it is", load->path, load->offset,
      load->parser.error == NULL ? "not as it was written" : load->parser.error);
  return r;
}

static int carry_out(struct load* load, uint64_t offset) {
  int r = load->apply(load->parser.argv, load->parser.argc, load->arg);

  if (r == 0)
    return 0;
  say(LEVEL_WARNING, "%s: the command at offset %" PRIu64 " cannot be carried out; the file is left as it is", load->path,
      offset);
  return r < 0 ? r : UV_EINVAL;
}

/* All commands that are whole. Returns 0 for more, 1 where there is no command, or an error. */
static int apply_commands(struct load* load) {
  enum parser_result result;
  size_t at = 0;
  int r = 0;

  while (r == 0 && (result = parse(&load->parser, load->buf.data + at, load->buf.len - at)) == PARSER_COMMAND) {
    r = carry_out(load, load->offset + at);
    at += load->parser.len;
  }
  if (r != 0)
    return r;
  buf_consume(&load->buf, at);
  load->offset += at;
  return result == PARSER_ERROR;
}

static int load_all(struct load* load) {
  char* data;
  ssize_t n;

  while ((n = read_at(load, load->offset + load->buf.len, &data)) > 0) {
    int r;
    buf_used(&load->buf, (size_t) n);
    r = apply_commands(load);
    if (r != 0)
      return r > 0 ? mend(load) : r;
  }
  if (n < 0)
    return fail(load, "read", (int) n);
  return load->buf.len == 0 ? 0 : mend(load);
}

int log_load(const char* path, log_apply_cb apply, void* arg) {
  struct load load = {.path = path, .apply = apply, .arg = arg};
  uint64_t size;
  uv_fs_t req;
  int r;

  load.fd = log_file_descriptor(path, UV_FS_O_RDWR, &size);
  if (load.fd == UV_ENOENT)
    return 0;
  if (load.fd < 0)
    return fail(&load, "open", load.fd);
  r = load_all(&load);
  buf_free(&load.buf);
  parser_free(&load.parser);
  (void) uv_fs_close(NULL, &req, load.fd, NULL);
  uv_fs_req_cleanup(&req);
  return r;
}
