/* A tool like nsys with `-c cudaProfilerApi`, as small as can be: between cuProfilerStart and cuProfilerStop it has CUPTI
 * record kernels, and writes them to $STEPSCOPE_GPU_REPORT.<pid>, a JSON object per line. The CUDA driver loads it at cuInit
 * (CUDA_INJECTION64_PATH). $STEPSCOPE_GPU_CUPTI is the libcupti to use.
 *
 * Declared here by hand, so that no toolkit is needed to build it. What of a kernel's record is read lies where it does in
 * cupti_activity.h of CUDA 12.0 to 13.5; what says so is tests/gpu/cupti_layout.c, where there is such a header. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cupti_abi.h"

static struct {
  int (*subscribe)(void **subscriber, cupti_callback callback, void *data);
  int (*enable_callback)(uint32_t enable, void *subscriber, uint32_t domain, uint32_t id);
  int (*register_callbacks)(void (*requested)(uint8_t **, size_t *, size_t *),
                            void (*completed)(void *, uint32_t, uint8_t *, size_t, size_t));
  int (*enable)(uint32_t kind);
  int (*disable)(uint32_t kind);
  int (*flush)(uint32_t flag);
  int (*next)(uint8_t *buffer, size_t valid, void **record);
  int (*timestamp)(uint64_t *now);
  int (*dropped)(void *context, uint32_t stream, size_t *count);
} cupti;

static int report = -1;
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;

static void say(const char *format, ...) {
  char line[4096];
  va_list rest;
  va_start(rest, format);
  int bytes = vsnprintf(line, sizeof line - 1, format, rest);
  va_end(rest);
  if (bytes < 0 || (size_t)bytes >= sizeof line - 1) return;
  line[bytes++] = '\n';
  pthread_mutex_lock(&writing);
  for (int at = 0; at < bytes;) {
    ssize_t written = write(report, line + at, (size_t)(bytes - at));
    if (written < 0 && errno != EINTR) break;
    if (written > 0) at += (int)written;
  }
  pthread_mutex_unlock(&writing);
}

static void check(const char *call, int code) {
  if (code) say("{\"error\": \"%s answered %d\"}", call, code);
}

/* A name in JSON: what it could not hold as it is becomes a question mark. */
static void name_of(char *out, size_t bytes, const char *name) {
  size_t at = 0;
  for (; name && *name && at + 1 < bytes; name++) out[at++] = *name < ' ' || *name == '"' || *name == '\\' ? '?' : *name;
  out[at] = 0;
}

static void requested(uint8_t **buffer, size_t *bytes, size_t *records) {
  *bytes = 1 << 20;
  *records = 0;
  if (posix_memalign((void **)buffer, 8, *bytes)) *buffer = NULL, *bytes = 0;
}

static void completed(void *context, uint32_t stream, uint8_t *buffer, size_t bytes, size_t valid) {
  void *record = NULL;
  (void)bytes;
  while (buffer && cupti.next(buffer, valid, &record) == 0) {
    const struct cupti_kernel *k = record;
    char name[512];
    if (k->kind != CUPTI_CONCURRENT_KERNEL) continue;
    name_of(name, sizeof name, k->name);
    say("{\"kernel\": \"%s\", \"start\": %llu, \"end\": %llu, \"device\": %u, \"context\": %u, \"stream\": %u, "
        "\"grid\": %d, \"block\": %d, \"correlation\": %u, \"graph\": %u}",
        name, (unsigned long long)k->start, (unsigned long long)k->end, k->device, k->context, k->stream, k->grid[0],
        k->block[0], k->correlation, k->graph);
  }
  size_t dropped = 0;
  if (!cupti.dropped(context, stream, &dropped) && dropped) say("{\"dropped\": %zu}", dropped);
  free(buffer);
}

static void mark(const char *what) {
  uint64_t now = 0;
  cupti.timestamp(&now);
  say("{\"mark\": \"%s\", \"at\": %llu, \"tid\": %d}", what, (unsigned long long)now, gettid());
}

/* As NVIDIA's own sample of an injected tool does: from the end of the one call to the beginning of the other. */
static void on_call(void *data, uint32_t domain, uint32_t id, const struct cupti_call *call) {
  (void)data;
  if (domain != CUPTI_DRIVER_API) return;
  if (id == CUPTI_PROFILER_START && call->site == CUPTI_EXIT) {
    check("cuptiActivityEnable", cupti.enable(CUPTI_CONCURRENT_KERNEL));
    mark("start");
  } else if (id == CUPTI_PROFILER_STOP && call->site == CUPTI_ENTER) {
    mark("stop");
    check("cuptiActivityDisable", cupti.disable(CUPTI_CONCURRENT_KERNEL));
    check("cuptiActivityFlushAll", cupti.flush(1));
    mark("flushed");
  }
}

static int find(void *library) {
  const struct {
    const char *name;
    void **slot;
  } symbols[] = {
      {"cuptiSubscribe", (void **)&cupti.subscribe},
      {"cuptiEnableCallback", (void **)&cupti.enable_callback},
      {"cuptiActivityRegisterCallbacks", (void **)&cupti.register_callbacks},
      {"cuptiActivityEnable", (void **)&cupti.enable},
      {"cuptiActivityDisable", (void **)&cupti.disable},
      {"cuptiActivityFlushAll", (void **)&cupti.flush},
      {"cuptiActivityGetNextRecord", (void **)&cupti.next},
      {"cuptiGetTimestamp", (void **)&cupti.timestamp},
      {"cuptiActivityGetNumDroppedRecords", (void **)&cupti.dropped},
  };
  for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
    *symbols[i].slot = dlsym(library, symbols[i].name);
    if (!*symbols[i].slot) {
      say("{\"error\": \"libcupti has no %s\"}", symbols[i].name);
      return 0;
    }
  }
  return 1;
}

__attribute__((visibility("default"))) int InitializeInjection(void) {
  const char *base = getenv("STEPSCOPE_GPU_REPORT"), *path = getenv("STEPSCOPE_GPU_CUPTI");
  char file[4096];
  if (!base || !path || report >= 0) return 1;
  snprintf(file, sizeof file, "%s.%d", base, (int)getpid());
  report = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  if (report < 0) return 1;
  void *library = dlopen(path, RTLD_NOW), *subscriber = NULL;
  if (!library) {
    char why[1024];
    name_of(why, sizeof why, dlerror());
    say("{\"error\": \"%s\"}", why);
    return 1;
  }
  if (!find(library)) return 1;
  check("cuptiSubscribe", cupti.subscribe(&subscriber, on_call, NULL));
  check("cuptiActivityRegisterCallbacks", cupti.register_callbacks(requested, completed));
  check("cuptiEnableCallback", cupti.enable_callback(1, subscriber, CUPTI_DRIVER_API, CUPTI_PROFILER_START));
  check("cuptiEnableCallback", cupti.enable_callback(1, subscriber, CUPTI_DRIVER_API, CUPTI_PROFILER_STOP));
  say("{\"ready\": \"%s\"}", path);
  return 1;
}
