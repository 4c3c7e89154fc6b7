/* An engine that emits NVTX and knows nothing of us: two instances, as two libraries with NVTX compiled in would have.
 *
 *   nvtx_emitter KIND COUNT STEP_US [FIRST_INSTANCE]
 *
 * KIND: text, attributes, domain, registered, range. Each step is a range `step` (`registered`, `domain`: in the domain
 * `engine`; `vllm`: named as vLLM names it) around one range `inner`, which the other instance emits, and one `step` of
 * the same kind nested in it. Prints the number of steps made whenever a line comes in, ends with standard input. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct attributes {
  uint16_t version, size;
  uint32_t category;
  int32_t color_type;
  uint32_t color;
  int32_t payload_type, reserved;
  uint64_t payload;
  int32_t message_type;
  const void *message;
};

typedef void *slot;
struct instance {
  slot core[16], cuda[9], opencl[15], cudart[7], core2[16], sync[7];
  slot *tables[6][16];
  int ready;
};

static struct instance instances[2];
static const uint32_t sizes[6] = {16, 9, 15, 7, 16, 7};

static int table_of(struct instance *i, uint32_t module, slot ***out, uint32_t *size) {
  slot *first[6] = {i->core, i->cuda, i->opencl, i->cudart, i->core2, i->sync};
  if (module < 1 || module > 6) return 0;
  for (uint32_t n = 1; n < sizes[module - 1]; n++) i->tables[module - 1][n] = &first[module - 1][n];
  if (out) *out = i->tables[module - 1];
  if (size) *size = sizes[module - 1];
  return 1;
}

struct callbacks {
  size_t struct_size;
  int (*get)(uint32_t module, slot ***out, uint32_t *size);
};
static int table_0(uint32_t m, slot ***o, uint32_t *s) { return table_of(&instances[0], m, o, s); }
static int table_1(uint32_t m, slot ***o, uint32_t *s) { return table_of(&instances[1], m, o, s); }
static const struct callbacks callbacks[2] = {{sizeof(struct callbacks), table_0}, {sizeof(struct callbacks), table_1}};
static const void *export_0(uint32_t id) { return id == 1 ? &callbacks[0] : NULL; }
static const void *export_1(uint32_t id) { return id == 1 ? &callbacks[1] : NULL; }

static void initialise(int n) {
  instances[n].ready = 1;
  const char *path = getenv("NVTX_INJECTION64_PATH");
  void *library = path ? dlopen(path, RTLD_LAZY) : NULL;
  if (!library) return;
  int (*entry)(const void *(*)(uint32_t));
  *(void **)&entry = dlsym(library, "InitializeInjectionNvtx2");
  if (!entry || !entry(n ? export_1 : export_0)) dlclose(library);
}

static slot *of(int n, int core2) {
  if (!instances[n].ready) initialise(n);
  return core2 ? instances[n].core2 : instances[n].core;
}

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
