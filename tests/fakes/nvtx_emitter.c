/* An engine that emits NVTX and knows nothing of us: two instances, as two libraries with NVTX compiled in would have.
 *
 *   nvtx_emitter KIND COUNT STEP_US [FIRST_INSTANCE]
 *
 * KIND: text, attributes, domain, registered, range. Each step is a range `step` (`registered`, `domain`: in the domain
 * `engine`; `vllm`: named as vLLM names it) around one range `inner`, which the other instance emits, and one `step` of
 * the same kind nested in it. Prints the number of steps made whenever a line comes in, ends with standard input. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "nvtx.h"

static void *engine, *registered;
static uint64_t range;

static void begin(int n, const char *kind, const char *text) {
  struct attributes a = {.version = 3, .size = 48, .message_type = 1, .message = text};
  if (!strcmp(kind, "text")) {
    int (*push)(const char *) = (int (*)(const char *))of(n, 0)[9];
    if (push) push(text);
  } else if (!strcmp(kind, "attributes")) {
    int (*push)(const struct attributes *) = (int (*)(const struct attributes *))of(n, 0)[8];
    if (push) push(&a);
  } else if (!strcmp(kind, "range")) {
    uint64_t (*start)(const char *) = (uint64_t(*)(const char *))of(n, 0)[5];
    if (start) range = start(text);
  } else {
    slot *slots = of(n, 1);
    void *(*create)(const char *) = (void *(*)(const char *))slots[12];
    void *(*registering)(void *, const char *) = (void *(*)(void *, const char *))slots[10];
    int (*push)(void *, const struct attributes *) = (int (*)(void *, const struct attributes *))slots[4];
    if (!engine && create) engine = create("engine");
    if (!strcmp(kind, "registered")) {
      if (!registered && registering) registered = registering(engine, text);
      a.message_type = 3;
      a.message = registered;
    }
    if (push) push(engine, &a);
  }
}

static void end(int n, const char *kind) {
  if (!strcmp(kind, "range")) {
    void (*stop)(uint64_t) = (void (*)(uint64_t))of(n, 0)[7];
    if (stop) stop(range);
  } else if (!strcmp(kind, "text") || !strcmp(kind, "attributes")) {
    int (*pop)(void) = (int (*)(void))of(n, 0)[11];
    if (pop) pop();
  } else {
    int (*pop)(void *) = (int (*)(void *))of(n, 1)[5];
    if (pop) pop(engine);
  }
}

int main(int count, char **arguments) {
  if (count < 4) return 2;
  const char *kind = arguments[1];
  long steps = atol(arguments[2]), pause = atol(arguments[3]), made = 0;
  int first = count > 4 ? atoi(arguments[4]) : 0;
  const char *text = getenv("EMITTED_TEXT") ? getenv("EMITTED_TEXT") : "step";
  struct pollfd in = {.fd = 0, .events = POLLIN};
  char line[64];
  for (;;) {
    if (!steps || made < steps) {
      begin(first, kind, text);
      begin(!first, "text", "inner");
      usleep((useconds_t)pause);
      end(!first, "text");
      if (strcmp(kind, "range")) {
        begin(first, kind, text);
        end(first, kind);
      }
      end(first, kind);
      made++;
    } else {
      usleep(1000);
    }
    while (poll(&in, 1, 0) > 0) {
      if (!fgets(line, sizeof line, stdin)) return 0;
      printf("%ld\n", made);
      fflush(stdout);
    }
  }
}
