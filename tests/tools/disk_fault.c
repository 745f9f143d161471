/* A disk that fails for some files while a switch is on, as a failing or full disk does; preloaded into the program under test.
 *
 * SNOWMELT_FAULT_UNDER   part of the paths of the files whose writes fail
 * SNOWMELT_FAULT_SWITCH  a file: while it is there, they fail with ENOSPC
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(int fd) {
  const char *under = getenv("SNOWMELT_FAULT_UNDER"), *on = getenv("SNOWMELT_FAULT_SWITCH");
  if (!under || !on || access(on, F_OK) != 0) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return strstr(path, under) != NULL;
}

static int failed(void) {
  errno = ENOSPC;
  return -1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
  static ssize_t (*real)(int, const void *, size_t, off64_t);
  if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
  return fails(fd) ? failed() : real(fd, bytes, count, offset);
}

ssize_t write(int fd, const void *bytes, size_t count) {
  static ssize_t (*real)(int, const void *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "write");
  return fails(fd) ? failed() : real(fd, bytes, count);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
  return fails(fd) ? failed() : real(fd);
}
