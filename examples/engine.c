/* A C engine that lets itself be sliced: it joins as a rank and steps.
 *
 *   cc -O2 -o engine examples/engine.c -Iinclude -ldl
 *   STEPSCOPE_LIBRARY=target/agent/libstepscope.so ./engine --rank 0 --world-size 1 --iterations 1000 --step-us 1000
 *
 * The library comes from: cargo rustc --lib --crate-type cdylib --no-default-features --features agent --profile agent
 * It is not linked against. An engine that finds no agent, or one that could not join, runs on exactly as it would.
 */
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stepscope.h"

/* One agent per process: the one that somebody else (a Python package, an injected library) has brought already comes
 * first, a path of our own only then. */
static const stepscope_api *find_agent(void) {
  void *library = dlopen("libstepscope.so.1", RTLD_NOLOAD | RTLD_NOW);
  const char *path = getenv("STEPSCOPE_LIBRARY");
  if (!library)
    library = dlopen(path ? path : "libstepscope.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "no agent: %s\n", dlerror());
    return NULL;
  }
  const stepscope_api *(*get_api)(uint32_t);
  *(void **)&get_api = dlsym(library, "stepscope_get_api");
  return get_api ? get_api(STEPSCOPE_ABI) : NULL;
}

static uint64_t argument(int count, char **values, const char *name, uint64_t otherwise) {
  for (int i = 1; i + 1 < count; i++)
    if (!strcmp(values[i], name))
      return strtoull(values[i + 1], NULL, 10);
  return otherwise;
}

int main(int argc, char **argv) {
  uint64_t iterations = argument(argc, argv, "--iterations", 1000); /* 0: until ended */
  uint64_t step_us = argument(argc, argv, "--step-us", 1000);

  const stepscope_api *agent = find_agent();
  if (agent) {
    stepscope_identity who = {
        .size = sizeof who,
        .role = STEPSCOPE_ROLE_RANK,
        .rank = (uint32_t)argument(argc, argv, "--rank", 0),
        .world_size = (uint32_t)argument(argc, argv, "--world-size", 1),
        .engine = "example 1.0",
    };
    if (agent->join(&who) < 0)
      fprintf(stderr, "stepscope is off: %s\n", agent->reason());
    /* Somebody else may be counting this engine's iterations already: then they are not ours to count. */
    if (!agent->claim_steps("example engine"))
      agent = NULL;
  }
  puts("ready");
  fflush(stdout);

  for (uint64_t i = 0; iterations == 0 || i < iterations; i++) {
    /* Right before the work. Not 0: the iteration lies in an open window, so it is worth saying what is in it. */
    if (agent && agent->step_begin())
      agent->step_batch(/* context: requests, tokens */ 1, 128, /* generation: requests, tokens */ 4, 4, 0);

    struct timespec work = {(time_t)(step_us / 1000000), (long)(step_us % 1000000) * 1000};
    nanosleep(&work, NULL);

    if (agent)
      agent->step_end();
  }
  return 0;
}
