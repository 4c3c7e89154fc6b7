/* A CUDA driver with a device of its own making, and the CUPTI that goes with it, for machines without a GPU: enough for
 * examples/cuda_engine, the agent and tests/gpu/cupti_reader.c. A kernel takes the nanoseconds that its first argument says;
 * streams, events, graphs and contexts behave as the vendor's do as far as these three look.
 *
 * STEPSCOPE_TEST_GPU makes it wrong, so that a check can be seen to fail: `no-sync` waits for nothing, `slow-clock` measures
 * a fifth too much, `deaf` tells no tool of cuProfilerStart, `leaky` records from cuInit on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../gpu/cupti_abi.h"

enum { INVALID_VALUE = 1, NOT_INITIALIZED = 3, INVALID_CONTEXT = 201, NOT_READY = 600 };
enum { MOST_RECORDS = 1 << 16, MOST_NODES = 1024 };

struct stream {
  uint64_t busy_until;
  uint32_t number;
};

struct event {
  uint64_t at;
};

struct node {
  struct stream *stream;
  int32_t grid, block;
  uint64_t length;
};

struct graph {
  struct node nodes[MOST_NODES];
  int count;
  uint32_t number;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int initialised, context, recording;
static __thread void *current;
static __thread struct graph *capturing;
static struct stream null_stream = {0, 7};
static uint32_t streams = 12, graphs, correlations;
static uint64_t device_busy_until;
static struct cupti_kernel records[MOST_RECORDS];
static int recorded;
static cupti_callback listener;
static void *listener_data;
static void (*buffer_requested)(uint8_t **, size_t *, size_t *);
static void (*buffer_completed)(void *, uint32_t, uint8_t *, size_t, size_t);

static int wrong(const char *how) {
  const char *said = getenv("STEPSCOPE_TEST_GPU");
  return said && !strcmp(said, how);
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void wait_until(uint64_t when) {
  struct timespec t = {(time_t)(when / 1000000000), (long)(when % 1000000000)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
  }
}

static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }

int cuInit(unsigned flags) {
  (void)flags;
  if (__atomic_exchange_n(&initialised, 1, __ATOMIC_RELAXED)) return 0;
  recording = wrong("leaky");
  const char *tool = getenv("CUDA_INJECTION64_PATH");
  void *library = tool ? dlopen(tool, RTLD_NOW) : NULL;
  int (*initialise)(void) = library ? (int (*)(void))dlsym(library, "InitializeInjection") : NULL;
  if (initialise) initialise();
  return 0;
}

int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
int cuDeviceGetCount(int *count) { return *count = 1, 0; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, ordinal ? INVALID_VALUE : 0; }
int cuDeviceGetName(char *name, int bytes, int device) {
  (void)device;
  strncpy(name, "no GPU: a stand-in", (size_t)bytes);
  return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) { return (void)attribute, (void)device, *value = 1, 0; }
int cuGetErrorName(int code, const char **name) { return *name = code ? "CUDA_ERROR" : "CUDA_SUCCESS", 0; }
int cuGetErrorString(int code, const char **text) { return (void)code, *text = "an error of the stand-in", 0; }

int cuDevicePrimaryCtxRetain(void **out, int device) {
  (void)device;
  if (!initialised) return NOT_INITIALIZED;
  *out = &context;
  return 0;
}
int cuDevicePrimaryCtxRelease_v2(int device) { return (void)device, 0; }
int cuCtxGetCurrent(void **out) {
  if (!initialised) return NOT_INITIALIZED;
  *out = current;
  return 0;
}
int cuCtxSetCurrent(void *to) { return current = to, 0; }

int cuCtxSynchronize(void) {
  if (!current) return INVALID_CONTEXT;
  pthread_mutex_lock(&lock);
  uint64_t until = device_busy_until;
  pthread_mutex_unlock(&lock);
  if (!wrong("no-sync")) wait_until(until);
  return 0;
}

int cuStreamCreate(void **out, unsigned flags) {
  (void)flags;
  if (!current) return INVALID_CONTEXT;
  struct stream *made = calloc(1, sizeof *made);
  made->number = __atomic_add_fetch(&streams, 1, __ATOMIC_RELAXED);
  *out = made;
  return 0;
}
int cuStreamDestroy_v2(void *stream) { return free(stream), 0; }
int cuStreamSynchronize(struct stream *stream) { return wait_until((stream ? stream : &null_stream)->busy_until), 0; }
int cuStreamWaitEvent(struct stream *stream, struct event *event, unsigned flags) {
  (void)flags;
  pthread_mutex_lock(&lock);
  if (!capturing) stream->busy_until = later(stream->busy_until, event->at);
  pthread_mutex_unlock(&lock);
  return 0;
}

int cuModuleLoadData(void **module, const void *image) {
  *module = (void *)image;
  return image && strstr(image, ".visible .entry stepscope_spin(.param .u64") ? 0 : INVALID_VALUE;
}
int cuModuleUnload(void *module) { return (void)module, 0; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
  (void)module;
  static char spin;
  *function = &spin;
  return strcmp(name, "stepscope_spin") ? INVALID_VALUE : 0;
}

static void run(struct stream *stream, const struct node *node, uint32_t graph) {
  pthread_mutex_lock(&lock);
  uint64_t begin = later(now() + 2000, stream->busy_until + 1000);
  stream->busy_until = begin + node->length;
  device_busy_until = later(device_busy_until, stream->busy_until);
  if (recording && recorded < MOST_RECORDS) {
    struct cupti_kernel *k = &records[recorded++];
    memset(k, 0, sizeof *k);
    k->kind = CUPTI_CONCURRENT_KERNEL;
    k->start = begin;
    k->end = stream->busy_until;
    k->context = 1;
    k->stream = stream->number;
    k->grid[0] = node->grid, k->grid[1] = k->grid[2] = 1;
    k->block[0] = node->block, k->block[1] = k->block[2] = 1;
    k->correlation = ++correlations;
    k->name = "stepscope_spin";
    k->graph = graph;
  }
  pthread_mutex_unlock(&lock);
}

int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                   unsigned block_z, unsigned shared, struct stream *stream, void **parameters, void **extra) {
  (void)function, (void)grid_y, (void)grid_z, (void)block_y, (void)block_z, (void)shared, (void)extra;
  if (!current) return INVALID_CONTEXT;
  struct node node = {stream ? stream : &null_stream, (int32_t)grid_x, (int32_t)block_x, *(uint64_t *)parameters[0]};
  if (!capturing) return run(node.stream, &node, 0), 0;
  if (capturing->count == MOST_NODES) return INVALID_VALUE;
  capturing->nodes[capturing->count++] = node;
  return 0;
}

int cuEventCreate(struct event **event, unsigned flags) {
  (void)flags;
  if (!current) return INVALID_CONTEXT;
  return (*event = calloc(1, sizeof **event)) ? 0 : INVALID_VALUE;
}
int cuEventDestroy_v2(struct event *event) { return free(event), 0; }
int cuEventRecord(struct event *event, struct stream *stream) {
  pthread_mutex_lock(&lock);
  if (!capturing) event->at = later(now(), (stream ? stream : &null_stream)->busy_until);
  pthread_mutex_unlock(&lock);
  return 0;
}
int cuEventQuery(struct event *event) { return now() < event->at ? NOT_READY : 0; }
int cuEventSynchronize(struct event *event) { return wait_until(event->at), 0; }
int cuEventElapsedTime(float *milliseconds, struct event *begin, struct event *end) {
  *milliseconds = (float)((double)(int64_t)(end->at - begin->at) / 1e6 * (wrong("slow-clock") ? 1.2 : 1.0));
  return 0;
}

int cuStreamBeginCapture_v2(struct stream *stream, int mode) {
  (void)stream, (void)mode;
  capturing = calloc(1, sizeof *capturing);
  return capturing ? 0 : INVALID_VALUE;
}
int cuStreamEndCapture(struct stream *stream, struct graph **graph) {
  (void)stream;
  *graph = capturing;
  capturing = NULL;
  return 0;
}
int cuGraphInstantiateWithFlags(struct graph **made, struct graph *graph, unsigned long long flags) {
  (void)flags;
  *made = malloc(sizeof **made);
  memcpy(*made, graph, sizeof *graph);
  (*made)->number = __atomic_add_fetch(&graphs, 1, __ATOMIC_RELAXED);
  return 0;
}
int cuGraphLaunch(struct graph *graph, struct stream *stream) {
  for (int i = 0; i < graph->count; i++) run(stream, &graph->nodes[i], graph->number);
  return 0;
}
int cuGraphDestroy(struct graph *graph) { return free(graph), 0; }
int cuGraphExecDestroy(struct graph *graph) { return free(graph), 0; }

static int profiler(uint32_t id) {
  if (!initialised) return NOT_INITIALIZED;
  struct cupti_call call = {CUPTI_ENTER, "cuProfiler"};
  if (listener && !wrong("deaf")) {
    listener(listener_data, CUPTI_DRIVER_API, id, &call);
    call.site = CUPTI_EXIT;
    listener(listener_data, CUPTI_DRIVER_API, id, &call);
  }
  return 0;
}
int cuProfilerStart(void) { return profiler(CUPTI_PROFILER_START); }
int cuProfilerStop(void) { return profiler(CUPTI_PROFILER_STOP); }

int cuptiSubscribe(void **subscriber, cupti_callback callback, void *data) {
  *subscriber = &listener;
  listener = callback;
  listener_data = data;
  return 0;
}
int cuptiEnableCallback(uint32_t enable, void *subscriber, uint32_t domain, uint32_t id) {
  (void)subscriber;
  return enable && domain == CUPTI_DRIVER_API && id >= CUPTI_PROFILER_START && id <= CUPTI_PROFILER_STOP ? 0 : INVALID_VALUE;
}
int cuptiActivityRegisterCallbacks(void (*requested)(uint8_t **, size_t *, size_t *),
                                   void (*completed)(void *, uint32_t, uint8_t *, size_t, size_t)) {
  buffer_requested = requested;
  buffer_completed = completed;
  return 0;
}
int cuptiActivityEnable(uint32_t kind) { return recording = 1, kind == CUPTI_CONCURRENT_KERNEL ? 0 : INVALID_VALUE; }
int cuptiActivityDisable(uint32_t kind) { return recording = wrong("leaky"), (void)kind, 0; }

/* Hands out what has run; what runs yet is lost, as when a tool stops in the middle. */
int cuptiActivityFlushAll(uint32_t flag) {
  (void)flag;
  uint64_t at = now();
  pthread_mutex_lock(&lock);
  for (int next = 0; next < recorded;) {
    uint8_t *buffer;
    size_t bytes, most, used = 0;
    buffer_requested(&buffer, &bytes, &most);
    if (!buffer) break;
    for (; next < recorded && used + sizeof *records <= bytes; next++) {
      if (records[next].end > at) continue;
      memcpy(buffer + used, &records[next], sizeof *records);
      used += sizeof *records;
    }
    buffer_completed(NULL, 0, buffer, bytes, used);
  }
  recorded = 0;
  pthread_mutex_unlock(&lock);
  return 0;
}
int cuptiActivityGetNextRecord(uint8_t *buffer, size_t valid, void **record) {
  uint8_t *next = *record ? (uint8_t *)*record + sizeof *records : buffer;
  if (next + sizeof *records > buffer + valid) return 12;
  *record = next;
  return 0;
}
int cuptiGetTimestamp(uint64_t *at) { return *at = now(), 0; }
int cuptiActivityGetNumDroppedRecords(void *in, uint32_t stream, size_t *count) {
  return (void)in, (void)stream, *count = 0, 0;
}
