/* A CUDA driver at its ABI, for machines without one: exports the symbols that the agent asks for, logs each call, and
 * answers what STEPSCOPE_TEST_CUDA says, a list such as `cuInit=100,cuProfilerStart=999`. Events carry the time of their
 * record; a stream is always done. With -DWITHOUT_PROFILER it lacks cuProfilerStart. */
#include <stdint.h>
#include <time.h>

#include "log.h"

static int answer(const char *name) {
  const char *list = getenv("STEPSCOPE_TEST_CUDA");
  size_t length = strlen(name);
  while (list && *list) {
    if (!strncmp(list, name, length) && list[length] == '=') return atoi(list + length + 1);
    list = strchr(list, ',');
    if (list) list++;
  }
  return 0;
}

static int reply(const char *name) {
  int code = answer(name);
  called(name, "%d", code);
  return code;
}

static int initialised;
static __thread void *current;
static char context;

struct event {
  struct timespec at;
};

int cuInit(unsigned flags) {
  (void)flags;
  int code = reply("cuInit");
  initialised = !code;
  return code;
}

int cuDriverGetVersion(int *version) {
  *version = 12080;
  return 0;
}

int cuCtxGetCurrent(void **out) {
  if (!initialised && !getenv("STEPSCOPE_TEST_CUDA_CONTEXT")) return 3;
  /* What an engine's own thread has; ours has none until it sets one. */
  *out = getpid() == syscall(SYS_gettid) && getenv("STEPSCOPE_TEST_CUDA_CONTEXT") ? &context : current;
  return 0;
}

int cuCtxSetCurrent(void *to) {
  current = to;
  return reply("cuCtxSetCurrent");
}

#ifndef WITHOUT_PROFILER
int cuProfilerStart(void) { return reply("cuProfilerStart"); }
#endif
int cuProfilerStop(void) { return reply("cuProfilerStop"); }
int cuThreadExchangeStreamCaptureMode(unsigned *mode) {
  called("cuThreadExchangeStreamCaptureMode", "%u", *mode);
  *mode = 0;
  return 0;
}
int cuCtxSynchronize(void) { return reply("cuCtxSynchronize"); }

int cuEventCreate(void **event, unsigned flags) {
  (void)flags;
  int code = answer("cuEventCreate");
  if (!code) *event = calloc(1, sizeof(struct event));
  return code;
}

int cuEventRecord(void *event, void *stream) {
  (void)stream;
  clock_gettime(CLOCK_MONOTONIC, &((struct event *)event)->at);
  return answer("cuEventRecord");
}

int cuEventQuery(void *event) {
  (void)event;
  return answer("cuEventQuery");
}

int cuEventElapsedTime(float *milliseconds, void *begin, void *end) {
  struct timespec a = ((struct event *)begin)->at, b = ((struct event *)end)->at;
  *milliseconds = (float)((double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6);
  return answer("cuEventElapsedTime");
}
