/* What emits NVTX in the benchmark: instance 0 finds the agent by the environment as any library would, instance 1 is
 * given a tool, or none. */
#define _GNU_SOURCE
#include <stdio.h>

#include "../../tests/fakes/nvtx.h"

enum { NAMES = 20000 };
static const char *const long_name = "model.layers.31.self_attn.qkv_proj, 4096 by 12288, bf16";
static char names[NAMES][48];
static void *domain[2], *registered[2];

void prepare(const char *tool) {
  connect_to(1, tool);
  for (int n = 0; n < 2; n++) {
    slot *slots = of(n, 1);
    void *(*create)(const char *) = (void *(*)(const char *))slots[12];
    void *(*registering)(void *, const char *) = (void *(*)(void *, const char *))slots[10];
    if (create) domain[n] = create("engine");
    if (registering) registered[n] = registering(domain[n], "forward");
  }
  for (int i = 0; i < NAMES; i++) snprintf(names[i], sizeof names[i], "execute_context_%d(%d)_generation_%d(%d)", i, i, i, i);
}

static inline void push(int n, const char *text) {
  int (*call)(const char *) = (int (*)(const char *))of(n, 0)[9];
  if (call) call(text);
}

static inline void pop(int n) {
  int (*call)(void) = (int (*)(void))of(n, 0)[11];
  if (call) call();
}

void emit_text(int n, unsigned long count) {
  for (unsigned long i = 0; i < count; i++) push(n, "forward"), pop(n);
}

void emit_long(int n, unsigned long count) {
  for (unsigned long i = 0; i < count; i++) push(n, long_name), pop(n);
}

void emit_new(int n, unsigned long count) {
  for (unsigned long i = 0; i < count; i++) push(n, names[i % NAMES]), pop(n);
}

void emit_registered(int n, unsigned long count) {
  struct attributes a = {.version = 3, .size = 48, .message_type = 3, .message = registered[n]};
  for (unsigned long i = 0; i < count; i++) {
    int (*begin)(void *, const struct attributes *) = (int (*)(void *, const struct attributes *))of(n, 1)[4];
    int (*end)(void *) = (int (*)(void *))of(n, 1)[5];
    if (begin) begin(domain[n], &a);
    if (end) end(domain[n]);
  }
}

void emit_ranges(int n, unsigned long count) {
  for (unsigned long i = 0; i < count; i++) {
    uint64_t (*start)(const char *) = (uint64_t(*)(const char *))of(n, 0)[5];
    void (*stop)(uint64_t) = (void (*)(uint64_t))of(n, 0)[7];
    uint64_t range = start ? start("forward") : 0;
    if (stop) stop(range);
  }
}
