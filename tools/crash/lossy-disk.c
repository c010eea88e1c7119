/*
 * A disk that forgets: preload this library, and every write below LOSSY_DIRECTORY that was not yet
 * synced can be taken back after the process was killed, as a power failure would.
 *
 * Before a write goes through, what it replaces is appended to an undo log in LOSSY_UNDO, one per
 * inode; fsync and fdatasync empty that log instead of waiting for the disk. Reads need no help, for
 * the file always holds what was written. lossy-disk.ts then plays the logs backwards, all of each or
 * the end of it. A file that was created stands in `names` until its directory is synced.
 *
 * Not modelled: renames, unlinks, copies inside of the kernel and writes through shared memory maps,
 * which count as durable at once; asynchronous submission (run with UV_USE_IO_URING=0).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 4096

struct undo { uint64_t offset, old_size, length; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* The undo log of each tracked descriptor, plus one; 0 for the others, -1 for directories. */
static int logs[DESCRIPTORS_MAX];
/* What each tracked descriptor was opened on. */
static struct { dev_t dev; ino_t ino; } files[DESCRIPTORS_MAX];
static const char *root, *undo_root;

#define REAL(name, type, ...) \
  static type (*real)(__VA_ARGS__); \
  if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static ssize_t real_pwrite(int fd, const void *bytes, size_t count, off_t at) {
  REAL("pwrite64", ssize_t, int, const void *, size_t, off_t);
  return real(fd, bytes, count, at);
}

static ssize_t real_write(int fd, const void *bytes, size_t count) {
  REAL("write", ssize_t, int, const void *, size_t);
  return real(fd, bytes, count);
}

static int real_truncate(int fd, off_t length) {
  REAL("ftruncate64", int, int, off_t);
  return real(fd, length);
}

static int real_open(const char *path, int flags, mode_t mode) {
  REAL("open64", int, const char *, int, ...);
  return real(path, flags, mode);
}

static int real_close(int fd) {
  REAL("close", int, int);
  return real(fd);
}

/* The harness must not go on with a log that has a hole in it. */
static void must(int held) {
  if (!held) abort();
}

static int is_tracked(const char *path) {
  if (!root) { root = getenv("LOSSY_DIRECTORY"); undo_root = getenv("LOSSY_UNDO"); }
  if (!root || !undo_root) return 0;
  size_t length = strlen(root);
  return strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static void note_name(const char *path) {
  char file[PATH_MAX];
  snprintf(file, sizeof file, "%s/names", undo_root);
  int fd = real_open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  must(fd >= 0 && real_write(fd, path, strlen(path)) > 0 && real_write(fd, "\n", 1) == 1);
  real_close(fd);
}

static void forget_names(void) {
  char file[PATH_MAX];
  snprintf(file, sizeof file, "%s/names", undo_root);
  int fd = real_open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd >= 0) real_close(fd);
}

static void forget(int fd) {
  if (logs[fd] > 0) real_close(logs[fd] - 1);
  logs[fd] = 0;
}

/*
 * The first bytes of a log name its file. They are written anew when the inode belongs to another
 * file by now, whose past is not undone with what was remembered of the one before; and when the file
 * has another name.
 */
static void name_log(const char *file, const char *path, int created) {
  char name[PATH_MAX] = {0}, known[PATH_MAX];
  strncpy(name, path, sizeof name - 1);
  int log = real_open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  must(log >= 0);
  if (created) must(real_truncate(log, 0) == 0);
  if (pread(log, known, sizeof known, 0) != (ssize_t)sizeof known || strcmp(known, name) != 0) {
    must(real_pwrite(log, name, sizeof name, 0) == (ssize_t)sizeof name);
  }
  real_close(log);
}

static void track(int fd, const char *path, int created) {
  struct stat info;
  if (fd < 0 || fd >= DESCRIPTORS_MAX) return;
  forget(fd);
  if (fstat(fd, &info) != 0) return;
  files[fd].dev = info.st_dev;
  files[fd].ino = info.st_ino;
  if (S_ISDIR(info.st_mode)) { logs[fd] = -1; return; }
  if (!S_ISREG(info.st_mode)) return;
  char file[PATH_MAX];
  snprintf(file, sizeof file, "%s/%llu.undo", undo_root, (unsigned long long)info.st_ino);
  name_log(file, path, created);
  int log = real_open(file, O_RDWR | O_APPEND | O_CLOEXEC, 0600);
  must(log >= 0);
  logs[fd] = log + 1;
  if (created) note_name(path);
}

static int is_known(int fd) { return fd >= 0 && fd < DESCRIPTORS_MAX && logs[fd] != 0; }

/*
 * libuv closes descriptors by a system call that passes us by, so that the number may be that of a
 * socket by now. Called under the lock; 0 for what is not tracked (any more).
 */
static int state_of(int fd) {
  struct stat info;
  if (!is_known(fd)) return 0;
  if (fstat(fd, &info) != 0 || info.st_dev != files[fd].dev || info.st_ino != files[fd].ino) {
    forget(fd);
  }
  return logs[fd];
}

static int log_of(int fd) {
  int state = state_of(fd);
  return state > 0 ? state - 1 : -1;
}

/* Appends what [offset, offset + length) holds now, and how long the file is. */
static void remember(int fd, int log, off_t offset, size_t length) {
  struct stat info;
  must(fstat(fd, &info) == 0);
  size_t held = offset < info.st_size ? (size_t)(info.st_size - offset) : 0;
  if (held > length) held = length;
  struct undo entry = { (uint64_t)offset, (uint64_t)info.st_size, held };
  char *bytes = malloc(sizeof entry + held);
  must(bytes != NULL);
  memcpy(bytes, &entry, sizeof entry);
  must(pread(fd, bytes + sizeof entry, held, offset) == (ssize_t)held);
  must(real_write(log, bytes, sizeof entry + held) == (ssize_t)(sizeof entry + held));
  free(bytes);
}

static off_t position_of(int fd) {
  struct stat info;
  if (fcntl(fd, F_GETFL) & O_APPEND) { must(fstat(fd, &info) == 0); return info.st_size; }
  return lseek(fd, 0, SEEK_CUR);
}

static size_t total(const struct iovec *parts, int count) {
  size_t sum = 0;
  for (int i = 0; i < count; i++) sum += parts[i].iov_len;
  return sum;
}

static int lossy_open(const char *path, int flags, mode_t mode) {
  if (!is_tracked(path)) return real_open(path, flags, mode);
  pthread_mutex_lock(&lock);
  struct stat info;
  int created = (flags & O_CREAT) && stat(path, &info) != 0;
  int truncates = !created && (flags & O_TRUNC);
  /* What a write replaces has to be read first, even where the program itself only writes. */
  if ((flags & O_ACCMODE) == O_WRONLY) flags = (flags & ~O_ACCMODE) | O_RDWR;
  int fd = real_open(path, flags & ~O_TRUNC, mode);
  track(fd, path, created);
  int log = log_of(fd);
  if (truncates && log >= 0 && fstat(fd, &info) == 0) {
    remember(fd, log, 0, (size_t)info.st_size);
    real_truncate(fd, 0);
  }
  pthread_mutex_unlock(&lock);
  return fd;
}

static mode_t mode_from(int flags, va_list rest) {
  return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(rest, int) : 0;
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); \
    mode_t mode = mode_from(flags, rest); \
    va_end(rest); \
    return lossy_open(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  if (is_known(fd)) {
    pthread_mutex_lock(&lock);
    forget(fd);
    pthread_mutex_unlock(&lock);
  }
  return real_close(fd);
}

#define LOGGED(fd, offset, length, call) \
  if (!is_known(fd)) return call; \
  pthread_mutex_lock(&lock); \
  int log = log_of(fd); \
  /* Never under the lock: a pipe may make its writer wait. */ \
  if (log < 0) { pthread_mutex_unlock(&lock); return call; } \
  remember(fd, log, offset, length); \
  ssize_t result = call; \
  pthread_mutex_unlock(&lock); \
  return result

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
  LOGGED(fd, at, count, real_pwrite(fd, bytes, count, at));
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  LOGGED(fd, at, count, real_pwrite(fd, bytes, count, at));
}
ssize_t write(int fd, const void *bytes, size_t count) {
  LOGGED(fd, position_of(fd), count, real_write(fd, bytes, count));
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL("writev", ssize_t, int, const struct iovec *, int);
  LOGGED(fd, position_of(fd), total(parts, count), real(fd, parts, count));
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  REAL("pwritev", ssize_t, int, const struct iovec *, int, off_t);
  LOGGED(fd, at, total(parts, count), real(fd, parts, count, at));
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  REAL("pwritev64", ssize_t, int, const struct iovec *, int, off64_t);
  LOGGED(fd, at, total(parts, count), real(fd, parts, count, at));
}

static int lossy_truncate(int fd, off_t length) {
  if (!is_known(fd)) return real_truncate(fd, length);
  pthread_mutex_lock(&lock);
  int log = log_of(fd);
  if (log < 0) { pthread_mutex_unlock(&lock); return real_truncate(fd, length); }
  struct stat info;
  must(fstat(fd, &info) == 0);
  remember(fd, log, length, length < info.st_size ? (size_t)(info.st_size - length) : 0);
  int result = real_truncate(fd, length);
  pthread_mutex_unlock(&lock);
  return result;
}
int ftruncate(int fd, off_t length) { return lossy_truncate(fd, length); }
int ftruncate64(int fd, off64_t length) { return lossy_truncate(fd, length); }

/* LOSSY_COUNT: a file that gets one byte for each sync, so that a benchmark can count them. */
static void count_sync(void) {
  static int fd = -2;
  if (fd == -2) {
    const char *path = getenv("LOSSY_COUNT");
    fd = path ? real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
  }
  if (fd >= 0) must(real_write(fd, "s", 1) == 1);
}

static int sync_file(int fd, int (*real)(int)) {
  if (!is_known(fd)) return real(fd);
  pthread_mutex_lock(&lock);
  int state = state_of(fd), result = 0;
  if (state != 0) count_sync();
  if (state < 0) forget_names();
  /* A kill before this line loses what a sync that never returned had promised to nobody. */
  if (state > 0) result = real_truncate(state - 1, PATH_MAX);
  pthread_mutex_unlock(&lock);
  return state == 0 ? real(fd) : result;
}

int fsync(int fd) { REAL("fsync", int, int); return sync_file(fd, real); }
int fdatasync(int fd) { REAL("fdatasync", int, int); return sync_file(fd, real); }
