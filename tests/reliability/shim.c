/* Stands between a process and its file system, by LD_PRELOAD: counts the calls that touch what
 * lies under a folder, and makes one of them fail, come back short, or be the last. As a recorder
 * it writes each call, with its data, to a descriptor, in the order in which they took effect.
 *
 * A process arms it by shim_arm(); until then every call passes through. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OFF, LIST, RECORD, FAIL };
enum { SHORT = -1, KILL_BEFORE = -2, KILL_AFTER = -3 };
/* What a call does to the disk: needs room on it, or only changes it. */
enum { READS, FILLS, CHANGES };
#define DESCRIPTORS 4096

static char root[PATH_MAX], kind[32];
static size_t root_length;
static int mode = OFF, log_fd = -1, action, lasting;
static long counted, wanted;
static pid_t owner;
static char *paths[DESCRIPTORS];
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

/* What a call is about: its name, its paths, and what is known of it for the record. */
struct call {
  const char *name, *from, *to;
  int fd, writes, acts;
  long long offset, flags;
  const void *data;
  size_t size;
  char made[PATH_MAX], also[PATH_MAX];
};

static void stop(void) { syscall(SYS_kill, getpid(), SIGKILL); }

static int is_on(void) { return mode != OFF && getpid() == owner; }

static const char *under(const char *path) {
  if (!is_on() || !path || strncmp(path, root, root_length)) return NULL;
  return path[root_length] == '/' || !path[root_length] ? path : NULL;
}

static const char *of_fd(int fd) {
  return is_on() && fd >= 0 && fd < DESCRIPTORS ? paths[fd] : NULL;
}

static const char *at(int folder, const char *path, char *made) {
  if (!is_on() || !path) return NULL;
  if (path[0] == '/' || folder == AT_FDCWD) return under(path);
  const char *parent = of_fd(folder);
  if (!parent) return NULL;
  if (!path[0]) return parent;
  snprintf(made, PATH_MAX, "%s/%s", parent, path);
  return made;
}

static void note_fd(int fd, const char *path) {
  if (fd < 0 || fd >= DESCRIPTORS) return;
  char *old = paths[fd];
  paths[fd] = path ? strdup(path) : NULL;
  free(old);
}

static void put(const void *data, size_t size) {
  while (size) {
    ssize_t written = syscall(SYS_write, log_fd, data, size);
    if (written <= 0) return;
    data = (const char *)data + written, size -= written;
  }
}

/* Returns 0 to go on, else the errno to fail with, or SHORT. Holds the lock until leave(). */
static int enter(struct call *call) {
  pthread_mutex_lock(&lock);
  call->acts = 0;
  /* what is counted are the calls of one kind: threads order them among others as they like */
  if (mode != FAIL) return 0;
  int counts = !kind[0] || !strcmp(kind, call->name);
  long number = counted += counts;
  int needs = call->writes == FILLS || (call->writes == CHANGES && action == EROFS);
  if (lasting ? number >= wanted && needs : counts && number == wanted) call->acts = action;
  if (call->acts == KILL_BEFORE) stop();
  return call->acts == KILL_AFTER ? 0 : call->acts;
}

static void leave(struct call *call, long long result) {
  if (call->acts == KILL_AFTER) stop();
  if (mode == LIST || mode == RECORD) {
    struct stat stats;
    int kept = errno, fd = call->fd >= 0 ? call->fd : -1;
    long long inode = fd >= 0 && !syscall(SYS_fstat, fd, &stats) ? (long long)stats.st_ino : 0;
    size_t size = mode == RECORD && call->data ? call->size : 0;
    char head[2 * PATH_MAX + 200];
    int length = snprintf(head, sizeof head, "%s\t%s\t%s\t%lld\t%lld\t%lld\t%lld\t%zu\n", call->name,
                          call->from ? call->from : "", call->to ? call->to : "", inode,
                          call->offset, call->flags, result, size);
    put(head, length);
    put(call->data, size);
    errno = kept;
  }
  pthread_mutex_unlock(&lock);
}

void shim_arm(const char *folder, const char *name, int how, long number, int what, int for_good,
              int log) {
  snprintf(root, sizeof root, "%s", folder);
  snprintf(kind, sizeof kind, "%s", name);
  root_length = strlen(root);
  counted = 0, wanted = number, action = what, lasting = for_good, log_fd = log;
  owner = getpid();
  mode = how;
}

#define REAL(name) \
  static __typeof__(name) *real; \
  if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
/* Fails where it is to fail; else calls, and gives what came of it. */
#define THROUGH(call, type, bad, expression) \
  int refused = enter(&call); \
  type result; \
  if (refused) { \
    result = bad, errno = refused == SHORT ? EIO : refused; \
  } else { \
    result = expression; \
  } \
  int kept = errno; \
  leave(&call, (long long)result); \
  errno = kept; \
  return result

static int opened(struct call *call, int (*real)(int, const char *, int, ...), int folder,
                  const char *path, int flags, mode_t how) {
  struct stat stats;
  call->flags = flags;
  /* whether it is made by this call: that needs room */
  if (syscall(SYS_newfstatat, AT_FDCWD, call->from, &stats, AT_SYMLINK_NOFOLLOW)) call->offset = 1;
  if (flags & (O_WRONLY | O_RDWR)) {
    call->writes = call->offset ? FILLS : CHANGES;
    call->name = "create";
  }
  int refused = enter(call), fd = -1;
  if (refused) errno = refused == SHORT ? EMFILE : refused;
  else fd = real(folder, path, flags, how);
  int kept = errno;
  if (fd >= 0) note_fd(fd, call->from);
  call->fd = fd;
  leave(call, fd);
  errno = kept;
  return fd;
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); mode_t how = va_arg(rest, mode_t); va_end(rest); \
    static int (*real)(int, const char *, int, ...); \
    if (!real) real = dlsym(RTLD_NEXT, "openat64"); \
    struct call call = {"open", under(path), NULL, -1}; \
    if (!call.from) return real(AT_FDCWD, path, flags, how); \
    return opened(&call, real, AT_FDCWD, path, flags, how); \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name) \
  int name(int folder, const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); mode_t how = va_arg(rest, mode_t); va_end(rest); \
    static int (*real)(int, const char *, int, ...); \
    if (!real) real = dlsym(RTLD_NEXT, "openat64"); \
    struct call call = {"open", NULL, NULL, -1}; \
    call.from = at(folder, path, call.made); \
    if (!call.from) return real(folder, path, flags, how); \
    return opened(&call, real, folder, path, flags, how); \
  }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
  REAL(close);
  struct call call = {"close", of_fd(fd), NULL, -1};
  if (!call.from) { if (fd >= 0 && fd < DESCRIPTORS && paths[fd]) note_fd(fd, NULL); return real(fd); }
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s", call.from);
  call.from = path;
  note_fd(fd, NULL);
  int refused = enter(&call), result = real(fd);  /* a descriptor is gone even where close fails */
  if (refused) result = -1, errno = refused == SHORT ? EIO : refused;
  int kept = errno;
  leave(&call, result);
  errno = kept;
  return result;
}

static long long place_of(int fd) {
  struct stat stats;
  if (fcntl(fd, F_GETFL) & O_APPEND && !syscall(SYS_fstat, fd, &stats)) return stats.st_size;
  return lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *data, size_t size) {
  REAL(write);
  struct call call = {"write", of_fd(fd), NULL, fd, FILLS};
  if (!call.from) return real(fd, data, size);
  int refused = enter(&call);
  call.data = data, call.offset = place_of(fd);
  ssize_t result = -1;
  if (refused == SHORT) result = size > 1 ? real(fd, data, size / 2) : real(fd, data, size);
  else if (refused) errno = refused;
  else result = real(fd, data, size);
  int kept = errno;
  call.size = result > 0 ? result : 0;
  leave(&call, result);
  errno = kept;
  return result;
}

#define PWRITE(name) \
  ssize_t name(int fd, const void *data, size_t size, off64_t offset) { \
    REAL(name); \
    struct call call = {"write", of_fd(fd), NULL, fd, FILLS, 0, offset}; \
    if (!call.from) return real(fd, data, size, offset); \
    call.data = data, call.size = size; \
    THROUGH(call, ssize_t, -1, real(fd, data, size, offset)); \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(writev);
  if (!of_fd(fd)) return real(fd, parts, count);
  size_t size = 0;
  for (int i = 0; i < count; i++) size += parts[i].iov_len;
  char *all = malloc(size + 1), *next = all;
  for (int i = 0; i < count; i++) next = mempcpy(next, parts[i].iov_base, parts[i].iov_len);
  ssize_t result = write(fd, all, size);  /* counted, failed and recorded there */
  int kept = errno;
  free(all);
  errno = kept;
  return result;
}

ssize_t read(int fd, void *data, size_t size) {
  REAL(read);
  struct call call = {"read", of_fd(fd), NULL, fd};
  if (!call.from) return real(fd, data, size);
  int refused = enter(&call);
  ssize_t result = -1;
  if (refused == SHORT) result = real(fd, data, size > 1 ? size / 2 : size);
  else if (refused) errno = refused;
  else result = real(fd, data, size);
  int kept = errno;
  leave(&call, result);
  errno = kept;
  return result;
}

/* Calls on a descriptor, and calls on a path: passed on as they are where nothing is to happen. */
#define ON_FD(name, as, wrote, type, bad, arguments, ...) \
  type name arguments { \
    REAL(name); \
    struct call call = {as, of_fd(fd), NULL, fd, wrote}; \
    if (!call.from) return real(__VA_ARGS__); \
    THROUGH(call, type, bad, real(__VA_ARGS__)); \
  }
#define ON_PATH(name, as, wrote, type, bad, arguments, ...) \
  type name arguments { \
    REAL(name); \
    struct call call = {as, under(path), NULL, -1, wrote}; \
    if (!call.from) return real(__VA_ARGS__); \
    THROUGH(call, type, bad, real(__VA_ARGS__)); \
  }
#define ON_AT(name, as, wrote, type, bad, arguments, ...) \
  type name arguments { \
    REAL(name); \
    struct call call = {as, NULL, NULL, -1, wrote}; \
    call.from = at(folder, path, call.made); \
    if (!call.from) return real(__VA_ARGS__); \
    THROUGH(call, type, bad, real(__VA_ARGS__)); \
  }
#define ON_TWO(name, as, type, first, second, arguments, ...) \
  type name arguments { \
    REAL(name); \
    struct call call = {as, NULL, NULL, -1, FILLS}; \
    call.from = at(first, from, call.made), call.to = at(second, to, call.also); \
    if (!call.from && !call.to) return real(__VA_ARGS__); \
    THROUGH(call, type, -1, real(__VA_ARGS__)); \
  }

ON_FD(pread, "read", READS, ssize_t, -1, (int fd, void *data, size_t size, off_t offset), fd, data, size, offset)
ON_FD(pread64, "read", READS, ssize_t, -1, (int fd, void *data, size_t size, off64_t offset), fd, data, size, offset)
ON_FD(readv, "read", READS, ssize_t, -1, (int fd, const struct iovec *parts, int count), fd, parts, count)
ON_FD(fsync, "fsync", FILLS, int, -1, (int fd), fd)
ON_FD(fdatasync, "fsync", FILLS, int, -1, (int fd), fd)
ON_FD(flock, "flock", READS, int, -1, (int fd, int what), fd, what)
ON_FD(fchmod, "chmod", CHANGES, int, -1, (int fd, mode_t how), fd, how)
ON_FD(fdopendir, "opendir", READS, DIR *, NULL, (int fd), fd)
ON_FD(fstat, "stat", READS, int, -1, (int fd, struct stat *stats), fd, stats)
ON_FD(fstat64, "stat", READS, int, -1, (int fd, struct stat64 *stats), fd, stats)
ON_FD(fstatvfs, "statvfs", READS, int, -1, (int fd, struct statvfs *stats), fd, stats)
ON_FD(fstatvfs64, "statvfs", READS, int, -1, (int fd, struct statvfs64 *stats), fd, stats)
ON_PATH(opendir, "opendir", READS, DIR *, NULL, (const char *path), path)
ON_PATH(unlink, "unlink", CHANGES, int, -1, (const char *path), path)
ON_PATH(rmdir, "rmdir", CHANGES, int, -1, (const char *path), path)
ON_PATH(mkdir, "mkdir", FILLS, int, -1, (const char *path, mode_t how), path, how)
ON_PATH(chmod, "chmod", CHANGES, int, -1, (const char *path, mode_t how), path, how)
ON_PATH(stat, "stat", READS, int, -1, (const char *path, struct stat *stats), path, stats)
ON_PATH(stat64, "stat", READS, int, -1, (const char *path, struct stat64 *stats), path, stats)
ON_PATH(lstat, "stat", READS, int, -1, (const char *path, struct stat *stats), path, stats)
ON_PATH(lstat64, "stat", READS, int, -1, (const char *path, struct stat64 *stats), path, stats)
ON_PATH(statvfs, "statvfs", READS, int, -1, (const char *path, struct statvfs *stats), path, stats)
ON_PATH(statvfs64, "statvfs", READS, int, -1, (const char *path, struct statvfs64 *stats), path, stats)
ON_PATH(access, "stat", READS, int, -1, (const char *path, int how), path, how)
ON_PATH(readlink, "stat", READS, ssize_t, -1, (const char *path, char *buffer, size_t size), path, buffer, size)
ON_AT(unlinkat, flags & AT_REMOVEDIR ? "rmdir" : "unlink", CHANGES, int, -1, (int folder, const char *path, int flags), folder, path, flags)
ON_AT(mkdirat, "mkdir", FILLS, int, -1, (int folder, const char *path, mode_t how), folder, path, how)
ON_AT(fstatat, "stat", READS, int, -1, (int folder, const char *path, struct stat *stats, int flags), folder, path, stats, flags)
ON_AT(fstatat64, "stat", READS, int, -1, (int folder, const char *path, struct stat64 *stats, int flags), folder, path, stats, flags)
ON_TWO(rename, "rename", int, AT_FDCWD, AT_FDCWD, (const char *from, const char *to), from, to)
ON_TWO(renameat, "rename", int, a, b, (int a, const char *from, int b, const char *to), a, from, b, to)
ON_TWO(renameat2, "rename", int, a, b, (int a, const char *from, int b, const char *to, unsigned flags), a, from, b, to, flags)
ON_TWO(link, "link", int, AT_FDCWD, AT_FDCWD, (const char *from, const char *to), from, to)
ON_TWO(linkat, "link", int, a, b, (int a, const char *from, int b, const char *to, int flags), a, from, b, to, flags)

#define TRUNCATE(name) \
  int f##name(int fd, off64_t size) { \
    REAL(f##name); \
    struct call call = {"truncate", of_fd(fd), NULL, fd, CHANGES, 0, size}; \
    if (!call.from) return real(fd, size); \
    THROUGH(call, int, -1, real(fd, size)); \
  } \
  int name(const char *path, off64_t size) { \
    REAL(name); \
    struct call call = {"truncate", under(path), NULL, -1, CHANGES, 0, size}; \
    if (!call.from) return real(path, size); \
    THROUGH(call, int, -1, real(path, size)); \
  }
TRUNCATE(truncate)
TRUNCATE(truncate64)

static long long time_of(const struct timespec times[2]) {
  return times ? times[1].tv_sec * 1000000000LL + times[1].tv_nsec : 0;
}

int futimens(int fd, const struct timespec times[2]) {
  REAL(futimens);
  struct call call = {"utime", of_fd(fd), NULL, fd, CHANGES, 0, time_of(times)};
  if (!call.from) return real(fd, times);
  THROUGH(call, int, -1, real(fd, times));
}

int utimensat(int folder, const char *path, const struct timespec times[2], int flags) {
  REAL(utimensat);
  struct call call = {"utime", NULL, NULL, -1, CHANGES, 0, time_of(times)};
  call.from = at(folder, path, call.made);
  if (!call.from) return real(folder, path, times, flags);
  THROUGH(call, int, -1, real(folder, path, times, flags));
}

#define SENDFILE(name, type) \
  ssize_t name(int to, int from, type *offset, size_t size) { \
    REAL(name); \
    struct call call = {"sendfile", of_fd(to) ? of_fd(to) : of_fd(from), NULL, to, FILLS}; \
    if (!call.from) return real(to, from, offset, size); \
    THROUGH(call, ssize_t, -1, real(to, from, offset, size)); \
  }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)
