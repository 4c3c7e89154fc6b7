/* A tool that listens to NVTX, as far as the protocol goes: logs every range and mark with its domain, text and payload. */
#include <stdint.h>

#include "log.h"
#include "nvtx_abi.h"

struct callbacks {
  size_t struct_size;
  int (*get_module_function_table)(uint32_t module, void ****out, uint32_t *size);
};

static char *domains[64], *strings[64];
static uint64_t ranges;

static const char *domain(void *handle) { return handle ? (const char *)handle : "default"; }

static const char *text(const struct attributes *a) {
  if (a->message_type == 1 || a->message_type == 3) return a->message ? (const char *)a->message : "";
  return "?";
}

static void *keep(char **where, const char *what) {
  for (int i = 0; i < 64; i++) {
    if (!where[i]) return where[i] = strdup(what);
    if (!strcmp(where[i], what)) return where[i];
  }
  return NULL;
}

static void *domain_create(const char *name) { return keep(domains, name); }
static void *register_string(void *in, const char *what) {
  (void)in;
  return keep(strings, what);
}
static void domain_mark(void *in, const struct attributes *a) { called("mark", "%s@%s %lu", text(a), domain(in), a->payload); }
static int domain_push(void *in, const struct attributes *a) {
  called("push", "%s@%s %lu", text(a), domain(in), a->payload);
  return 0;
}
static int domain_pop(void *in) {
  called("pop", "@%s", domain(in));
  return 0;
}
static uint64_t domain_start(void *in, const struct attributes *a) {
  uint64_t id = __atomic_add_fetch(&ranges, 1, __ATOMIC_RELAXED);
  called("start", "%s@%s %lu", text(a), domain(in), id);
  return id;
}
static void domain_end(void *in, uint64_t id) { called("end", "@%s %lu", domain(in), id); }
static int push_a(const char *what) {
  called("push", "%s@default 0", what);
  return 0;
}
static int push_w(const void *what) {
  (void)what;
  called("push", "?@default 0");
  return 0;
}
static uint64_t start_a(const char *what) {
  uint64_t id = __atomic_add_fetch(&ranges, 1, __ATOMIC_RELAXED);
  called("start", "%s@default %lu", what, id);
  return id;
}
static void end(uint64_t id) { domain_end(NULL, id); }
static int push_ex(const struct attributes *a) { return domain_push(NULL, a); }
static int pop(void) { return domain_pop(NULL); }
static void mark_a(const char *what) { called("mark", "%s@default 0", what); }

static void put(void ***table, uint32_t size, uint32_t id, void *function) {
  if (id < size) *table[id] = function;
}

int InitializeInjectionNvtx2(const void *(*get_export_table)(uint32_t)) {
  const struct callbacks *callbacks = get_export_table(1);
  void ***table;
  uint32_t size;
  called("initialise", "%d", callbacks != NULL);
  if (!callbacks || callbacks->struct_size < sizeof *callbacks) return 0;
  if (callbacks->get_module_function_table(1, &table, &size)) {
    put(table, size, 2, mark_a);
    put(table, size, 5, start_a);
    put(table, size, 7, end);
    put(table, size, 8, push_ex);
    put(table, size, 9, push_a);
    put(table, size, 10, push_w);
    put(table, size, 11, pop);
  }
  if (callbacks->get_module_function_table(5, &table, &size)) {
    put(table, size, 1, domain_mark);
    put(table, size, 2, domain_start);
    put(table, size, 3, domain_end);
    put(table, size, 4, domain_push);
    put(table, size, 5, domain_pop);
    put(table, size, 10, register_string);
    put(table, size, 12, domain_create);
  }
  return 1;
}
