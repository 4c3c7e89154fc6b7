/* Shared by the stand-ins for vendor libraries: what was called goes to the file that STEPSCOPE_TEST_CALLS names, a line
 * each, `PID TID NAME DETAIL`, in the order of the calls over all processes. With -DCOUNTING they are counted and that is
 * all: for benchmarks. */
#ifndef STEPSCOPE_TEST_LOG_H
#define STEPSCOPE_TEST_LOG_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef COUNTING
static unsigned long calls;
static inline void called(const char *name, const char *format, ...) {
  (void)name, (void)format;
  calls++;
}
#else
static void called(const char *name, const char *format, ...) {
  const char *path = getenv("STEPSCOPE_TEST_CALLS");
  if (!path) return;
  char line[512];
  int at = snprintf(line, sizeof line, "%d %ld %s ", getpid(), syscall(SYS_gettid), name);
  va_list rest;
  va_start(rest, format);
  at += vsnprintf(line + at, sizeof line - (size_t)at - 1, format, rest);
  va_end(rest);
  line[at++] = '\n';
  int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return;
  if (write(file, line, (size_t)at) != at) abort();
  close(file);
}
#endif

#endif
