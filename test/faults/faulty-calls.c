/*
 * A disk that fails: preload this library, and system calls on files fail as the rules say that stand in
 * the file FAULTY_RULES at that moment, one per line: `<call> <errno> <part of the path>`. The calls are
 * open, write, sync and rename. Without the file nothing fails, so a test can let a process start first.
 *
 * Not covered: writes through shared memory maps, which a database in WAL mode makes to its -shm file, and
 * asynchronous submission (run with UV_USE_IO_URING=0).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name, type, ...) \
  static type (*real)(__VA_ARGS__); \
  if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

/* The rules are read past our own open and read, which would ask for the rules again. */
static ssize_t read_rules(char *text, size_t size) {
  const char *path = getenv("FAULTY_RULES");
  if (!path) return -1;
  REAL("open64", int, const char *, int, ...);
  int fd = real(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t length = read(fd, text, size - 1);
  close(fd);
  if (length >= 0) text[length] = 0;
  return length;
}

/* The errno with which the call has to fail, or 0. */
static int fault_of(const char *call, const char *path) {
  int saved = errno, found = 0;
  char text[4096], name[16], part[256];
  if (read_rules(text, sizeof text) > 0) {
    int number;
    char *state = NULL;
    for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
      if (sscanf(line, "%15s %d %255s", name, &number, part) != 3) continue;
      if (!strcmp(name, call) && strstr(path, part)) found = number;
    }
  }
  errno = saved;
  return found;
}

static int fault_at(const char *call, int fd) {
  if (!getenv("FAULTY_RULES")) return 0;
  char link[64], path[PATH_MAX];
  int saved = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  errno = saved;
  if (length <= 0) return 0;
  path[length] = 0;
  return fault_of(call, path);
}

#define FAIL_AT(call, fd) \
  do { int fault = fault_at(call, fd); if (fault) { errno = fault; return -1; } } while (0)

ssize_t write(int fd, const void *bytes, size_t count) {
  FAIL_AT("write", fd);
  REAL("write", ssize_t, int, const void *, size_t);
  return real(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
  FAIL_AT("write", fd);
  REAL("pwrite", ssize_t, int, const void *, size_t, off_t);
  return real(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  FAIL_AT("write", fd);
  REAL("pwrite64", ssize_t, int, const void *, size_t, off64_t);
  return real(fd, bytes, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  FAIL_AT("write", fd);
  REAL("pwritev64", ssize_t, int, const struct iovec *, int, off64_t);
  return real(fd, parts, count, at);
}

int fsync(int fd) {
  FAIL_AT("sync", fd);
  REAL("fsync", int, int);
  return real(fd);
}

int fdatasync(int fd) {
  FAIL_AT("sync", fd);
  REAL("fdatasync", int, int);
  return real(fd);
}

int rename(const char *from, const char *to) {
  int fault = fault_of("rename", to);
  if (fault) { errno = fault; return -1; }
  REAL("rename", int, const char *, const char *);
  return real(from, to);
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    int fault = fault_of("open", path); \
    if (fault) { errno = fault; return -1; } \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
      va_list rest; \
      va_start(rest, flags); \
      mode = va_arg(rest, mode_t); \
      va_end(rest); \
    } \
    REAL(#name, int, const char *, int, ...); \
    return real(path, flags, mode); \
  }

OPEN(open)
OPEN(open64)
