/* An agent that writes down every call, one line each, to $STEPSCOPE_RECORDER.<pid>. It speaks the ABI of
 * include/stepscope.h, says of every iteration that it lies in an open window, and maps nothing. For tests of the hooks:
 * what they call, in which order, with which numbers. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stepscope.h"

static uint64_t begun;
static char claimed[256];

static void say(const char *format, ...) {
  char line[1024], path[512];
  const char *base = getenv("STEPSCOPE_RECORDER");
  va_list arguments;
  if (!base) return;
  va_start(arguments, format);
  int bytes = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  snprintf(path, sizeof path, "%s.%d", base, (int)getpid());
  int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) return;
  if (write(file, line, (size_t)bytes) != bytes) abort();
  close(file);
}

static const char *or_none(const char *text) { return text ? text : "-"; }

static int32_t join(const stepscope_identity *who) {
  say("join role=%u rank=%u world=%u job=%s group=%s engine=%s label=%s flags=%u\n", who->role, who->rank,
      who->world_size, or_none(who->job), or_none(who->group), or_none(who->engine), or_none(who->label), who->flags);
  return STEPSCOPE_OK;
}
static int32_t claim_steps(const char *source) {
  say("claim %s\n", source);
  if (!claimed[0]) snprintf(claimed, sizeof claimed, "%s", source);
  for (size_t i = 0;; i++) {
    if (claimed[i] != source[i]) return 0;
    if (!claimed[i]) return 1;
  }
}
static uint64_t step_begin(void) {
  say("begin %llu\n", (unsigned long long)++begun);
  return begun;
}
static void step_batch(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t flags) {
  say("batch %u %u %u %u %u\n", a, b, c, d, flags);
}
static void step_stream(void *stream) { say("stream %#zx\n", (size_t)stream); }
static void step_end(void) { say("end\n"); }
static void leave(void) { say("leave\n"); }
static const char *reason(void) { return ""; }
static size_t describe(char *buffer, size_t bytes) {
  return (size_t)snprintf(buffer, bytes, "{\"recorder\": true, \"begun\": %llu}", (unsigned long long)begun);
}

/* The recorder: of every event its shape and name; wanted where $STEPSCOPE_RECORDER_RECORDING is set. */
static uint64_t recording(void) { return getenv("STEPSCOPE_RECORDER_RECORDING") ? 2u << 8 | STEPSCOPE_LEVEL_DETAIL : 0; }
static uint64_t intern(const char *text, size_t bytes) { return (uintptr_t)strndup(text, bytes); }
static uint64_t now(void) { return 1; }
static uint64_t ticks_at(uint64_t monotonic_ns) { return monotonic_ns; }
static void span_begin(uint64_t name, uint64_t category, uint32_t level) { (void)name, (void)category, (void)level; }
static void span_end(const stepscope_argument *list, size_t count, uint64_t ns) { (void)list, (void)count, (void)ns; }
static void event(const stepscope_event *told) {
  say("event %u %s %llu\n", told->shape, (const char *)(uintptr_t)told->name, (unsigned long long)told->argument_count);
}
static void track(uint64_t number, uint64_t name) { say("track %d %s\n", number != 0, (const char *)(uintptr_t)name); }
static uint64_t request_number(const char *id, size_t bytes) { return bytes ? (uint64_t)(unsigned char)id[0] : 1; }
static void request(const stepscope_request *told) {
  say("request %llu %u\n", (unsigned long long)told->request, told->moment);
}
static void served(uint64_t iteration, const uint64_t *requests, const uint32_t *tokens, size_t count) {
  say("served %llu", (unsigned long long)iteration);
  for (size_t i = 0; i < count; i++) say(" %c=%u", (int)requests[i], tokens[i]);
  say("\n");
}

/* A window that the engine's own profiler is to cover begins with iteration $STEPSCOPE_RECORDER_FIRST. */
static uint64_t until_window(void) {
  const char *text = getenv("STEPSCOPE_RECORDER_FIRST");
  uint64_t first = text ? strtoull(text, NULL, 10) : 0;
  return first > begun ? first - begun : 0;
}

__attribute__((visibility("default"))) const stepscope_api *stepscope_get_api(uint32_t abi) {
  static stepscope_api api = {STEPSCOPE_ABI, sizeof(stepscope_api), join,   claim_steps, step_begin,  step_batch,
                              step_end,      leave,                 reason, describe,    step_stream, NULL,
                              recording,     intern,                now,    ticks_at,    span_begin,  span_end,
                              event,         track,                 request_number,      request,     served,
                              until_window};
  /* To play a library of another interface, and an older one of this. */
  const char *spoken = getenv("STEPSCOPE_RECORDER_ABI");
  if (getenv("STEPSCOPE_RECORDER_FIRST_TABLE")) api.size = offsetof(stepscope_api, step_stream);
  return abi == STEPSCOPE_ABI && !(spoken && atoi(spoken) != STEPSCOPE_ABI) ? &api : NULL;
}
