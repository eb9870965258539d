/* A system that lacks something, by LD_PRELOAD: LACK_<CALL>=ERRNO in the environment makes that call
 * fail; LACK_COARSE=1 has times kept in steps of two seconds, as FAT does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int lacks(const char *what) {
  const char *code = getenv(what);
  if (code) errno = atoi(code);
  return code != NULL;
}

#define REAL(name) \
  static __typeof__(name) *real; \
  if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define CALL(name, what, arguments, ...) \
  int name arguments { \
    REAL(name); \
    return lacks(what) ? -1 : real(__VA_ARGS__); \
  }
CALL(flock, "LACK_FLOCK", (int fd, int how), fd, how)
CALL(link, "LACK_LINK", (const char *from, const char *to), from, to)
CALL(linkat, "LACK_LINK", (int a, const char *from, int b, const char *to, int how), a, from, b, to, how)
CALL(statvfs, "LACK_STATVFS", (const char *path, struct statvfs *stats), path, stats)
CALL(statvfs64, "LACK_STATVFS", (const char *path, struct statvfs64 *stats), path, stats)
CALL(ftruncate, "LACK_FTRUNCATE", (int fd, off_t size), fd, size)
CALL(ftruncate64, "LACK_FTRUNCATE", (int fd, off64_t size), fd, size)

int fsync(int fd) {
  REAL(fsync);
  struct stat stats;
  if (fstat(fd, &stats)) return -1;
  return lacks(S_ISDIR(stats.st_mode) ? "LACK_FSYNC_DIR" : "LACK_FSYNC") ? -1 : real(fd);
}

/* renaming over what is there */
int rename(const char *from, const char *to) {
  REAL(rename);
  return !access(to, F_OK) && lacks("LACK_RENAME") ? -1 : real(from, to);
}

static const struct timespec *rounded(const struct timespec given[2], struct timespec made[2]) {
  if (!given || !getenv("LACK_COARSE")) return given;
  for (int i = 0; i < 2; i++) made[i].tv_sec = given[i].tv_sec & ~1L, made[i].tv_nsec = 0;
  return made;
}

int futimens(int fd, const struct timespec times[2]) {
  REAL(futimens);
  struct timespec made[2];
  return lacks("LACK_UTIME") ? -1 : real(fd, rounded(times, made));
}

int utimensat(int folder, const char *path, const struct timespec times[2], int how) {
  REAL(utimensat);
  struct timespec made[2];
  return lacks("LACK_UTIME") ? -1 : real(folder, path, rounded(times, made), how);
}

ssize_t sendfile(int to, int from, off_t *at, size_t size) {
  REAL(sendfile);
  return lacks("LACK_SENDFILE") ? -1 : real(to, from, at, size);
}

ssize_t sendfile64(int to, int from, off64_t *at, size_t size) {
  REAL(sendfile64);
  return lacks("LACK_SENDFILE") ? -1 : real(to, from, at, size);
}

/* those that asyncio does not itself insist on */
static int is_extra(int level, int name) {
  return level == IPPROTO_TCP && (name == TCP_CORK || name == TCP_NOTSENT_LOWAT || name == TCP_INFO);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size) {
  REAL(setsockopt);
  return is_extra(level, name) && lacks("LACK_TCP_OPTIONS") ? -1 : real(fd, level, name, value, size);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *size) {
  REAL(getsockopt);
  return is_extra(level, name) && lacks("LACK_TCP_OPTIONS") ? -1 : real(fd, level, name, value, size);
}
