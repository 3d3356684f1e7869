/* SPDX-License-Identifier: MIT
 *
 * What may go wrong with a file, and what is done about it. It is written at an offset of our own, not at its end: after a failed
 * write that may be in the middle of a record. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "log_file.h"

/* Records in one write, as many as Linux takes. */
enum { WRITE_MAX = 1024 };

/*
 * The calls: without a callback they block, and need no loop
 */

static int done(uv_fs_t* req, int r) {
  uv_fs_req_cleanup(req);
  return r;
}

static int close_fd(uv_file fd) {
  uv_fs_t req;

  return done(&req, uv_fs_close(NULL, &req, fd, NULL));
}

static int cut(const struct log_file* file) {
  uv_fs_t req;

  return done(&req, uv_fs_ftruncate(NULL, &req, file->fd, (int64_t) file->end, NULL));
}

static ssize_t write_at(const struct log_file* file, uint64_t offset, const uv_buf_t* bufs, size_t count) {
  unsigned int n = count < WRITE_MAX ? (unsigned int) count : WRITE_MAX;
  uv_fs_t req;
  ssize_t r = uv_fs_write(NULL, &req, file->fd, bufs, n, (int64_t) offset, NULL);

  if (req.result > 0) /* more than an int, perhaps */
    r = req.result;
  uv_fs_req_cleanup(&req);
  return r == 0 ? UV_EIO : r;
}

/*
 * Open and close
 */

int log_file_descriptor(const char* path, int flags, uint64_t* size) {
  uv_fs_t req;
  uv_file fd = done(&req, uv_fs_open(NULL, &req, path, flags | UV_FS_O_NONBLOCK, 0600, NULL)); /* a FIFO would block */
  int r;

  if (fd < 0)
    return fd;
  r = uv_fs_fstat(NULL, &req, fd, NULL);
  if (r == 0 && !S_ISREG(req.statbuf.st_mode))
    r = UV_EFTYPE;
  *size = r == 0 ? req.statbuf.st_size : 0;
  uv_fs_req_cleanup(&req);
  if (r == 0)
    return fd;
  close_fd(fd);
  return r;
}

/* A new file can be on the disk without its name. */
static int sync_directory(const char* path) {
  const char* slash = strrchr(path, '/');
  char* directory = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t) (slash - path));
  uv_fs_t req;
  uv_file fd;
  int r;

  if (directory == NULL)
    return UV_ENOMEM;
  fd = done(&req, uv_fs_open(NULL, &req, directory, UV_FS_O_RDONLY, 0, NULL));
  free(directory);
  if (fd < 0)
    return fd;
  r = done(&req, uv_fs_fsync(NULL, &req, fd, NULL));
  close_fd(fd);
  return r == UV_EINVAL ? 0 : r; /* some file systems have no such thing */
}

int log_file_open(struct log_file* file, const char* path) {
  uint64_t size;
  uv_file fd = log_file_descriptor(path, UV_FS_O_WRONLY | UV_FS_O_CREAT, &size);
  uv_fs_t req;
  int r;

  if (fd < 0) {
    say(LEVEL_WARNING, "%s: cannot open: %s", path, uv_strerror(fd));
    return fd;
  }
  r = done(&req, uv_fs_fsync(NULL, &req, fd, NULL));
  if (r == 0)
    r = sync_directory(path);
  if (r != 0) {
    say(LEVEL_WARNING, "%s: cannot bring it to the disk: %s", path, uv_strerror(r));
    close_fd(fd);
    return r;
  }
  memset(file, 0, sizeof(*file));
  file->fd = fd;
  file->synced = file->begin = file->end = size;
  return 0;
}

void log_file_close(struct log_file* file) {
  size_t i;

  for (i = 0; i < file->count; i++)
    free(file->kept[i].base);
  close_fd(file->fd);
}

/*
 * Records
 */

/* One is missing in the file: what came after it would be wrong without it. */
static void refuse(struct log_file* file, char* data, size_t len) {
  file->refused += len;
  free(data);
}

void log_file_add(struct log_file* file, char* data, size_t len) {
  if (file->count == KEPT_MAX && file->lost == 0)
    file->lost = UV_ENOBUFS;
  if (len == 0 || file->lost != 0) {
    refuse(file, data, len);
    return;
  }
  file->kept[file->count].base = data;
  file->kept[file->count].len = len;
  file->count++;
}

/* After a short write the rest of the record that it ended in comes first. */
static int write_kept(struct log_file* file) {
  size_t part = 0;

  while (file->written < file->count) {
    const uv_buf_t* next = &file->kept[file->written];
    uv_buf_t rest = {.base = next->base + part, .len = next->len - part};
    ssize_t n = write_at(file, file->end + part, part > 0 ? &rest : next, part > 0 ? 1 : file->count - file->written);
    if (n < 0)
      return (int) n;
    part += (size_t) n;
    while (file->written < file->count && part >= file->kept[file->written].len) {
      part -= file->kept[file->written].len;
      file->end += file->kept[file->written].len;
      file->written++;
    }
  }
  return 0;
}

int log_file_write(struct log_file* file) {
  int r = file->lost;

  if (r == 0 && file->is_torn)
    r = cut(file);
  if (r != 0 || file->written == file->count)
    return r;
  r = write_kept(file);
  file->is_torn = r != 0 && cut(file) != 0;
  return r;
}

/* After a failed fsync the system may have thrown away what it could not write, and the next fsync knows nothing of that: it succeeds.
 * Only writing all of it again makes it true; it goes to the same place, with the same bytes, so that what did come to the disk stays
 * there meanwhile. What was trusted is not in memory any more; then nobody can say what is on the disk, and the file has an end. */
int log_file_sync(struct log_file* file) {
  uv_fs_t req;
  int r = file->lost;

  if (r != 0 || file->end == file->synced)
    return r;
  r = done(&req, uv_fs_fdatasync(NULL, &req, file->fd, NULL));
  if (r == 0) {
    file->synced = file->end;
    log_file_trust(file);
  } else if (file->synced < file->begin) {
    file->lost = r;
  } else {
    file->end = file->begin;
    file->written = 0;
  }
  return r;
}

void log_file_trust(struct log_file* file) {
  size_t i;

  for (i = 0; i < file->written; i++)
    free(file->kept[i].base);
  file->count -= file->written;
  memmove(file->kept, file->kept + file->written, file->count * sizeof(file->kept[0]));
  file->written = 0;
  file->begin = file->end;
}

int log_file_is_crowded(const struct log_file* file) {
  return file->count > KEPT_MAX / 2 || file->end - file->begin > KEPT_BYTES;
}

uint64_t log_file_unsaved(const struct log_file* file) {
  uint64_t bytes = file->begin - file->synced + file->refused;
  size_t i;

  for (i = 0; i < file->count; i++)
    bytes += file->kept[i].len;
  return bytes;
}
