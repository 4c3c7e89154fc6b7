/* NVTX as an emitter has it, without NVIDIA's header: two instances, as two libraries with NVTX compiled in would have. */
#ifndef STEPSCOPE_TEST_NVTX_H
#define STEPSCOPE_TEST_NVTX_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#include "nvtx_abi.h"

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

static void connect_to(int n, const char *path) {
  instances[n].ready = 1;
  void *library = path ? dlopen(path, RTLD_LAZY) : NULL;
  if (!library) return;
  int (*entry)(const void *(*)(uint32_t));
  *(void **)&entry = dlsym(library, "InitializeInjectionNvtx2");
  if (!entry || !entry(n ? export_1 : export_0)) dlclose(library);
}

static slot *of(int n, int core2) {
  if (!instances[n].ready) connect_to(n, getenv("NVTX_INJECTION64_PATH"));
  return core2 ? instances[n].core2 : instances[n].core;
}

#endif
