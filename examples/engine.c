/* A C engine that lets itself be sliced: it joins as a rank and steps, and tells of itself: a span and a counter in each
 * iteration, and what its one request goes through.
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

/* A handle for a name. */
static uint64_t name_of(const stepscope_api *agent, const char *text) { return agent->intern(text, strlen(text)); }

/* The request that is in the engine: a new one every ten iterations. When each moment was, and in which iteration. */
static struct {
  char id[32];
  uint64_t number, moments[STEPSCOPE_REQUEST_FINISHED + 1], iterations[STEPSCOPE_REQUEST_FINISHED + 1];
} life;

enum { LENGTH = 10 };

static void happened(const stepscope_api *agent, uint32_t moment, uint64_t iteration) {
  life.moments[moment] = agent->now();
  life.iterations[moment] = iteration;
}

/* Moments may be told long after they happened: so a request that ends in a window is whole, wherever it began. */
static void tell_of_request(const stepscope_api *agent) {
  for (uint32_t moment = STEPSCOPE_REQUEST_ARRIVED; moment <= STEPSCOPE_REQUEST_FINISHED; moment++) {
    if (!life.moments[moment])
      continue; /* it did not happen: this engine preempts nobody */
    stepscope_request told = {
        .size = sizeof told,
        .moment = moment,
        .request = life.number,
        .at = life.moments[moment],
        .iteration = life.iterations[moment],
        .prompt_tokens = 128,
        .output_tokens = moment < STEPSCOPE_REQUEST_FIRST_TOKEN    ? 0
                         : moment == STEPSCOPE_REQUEST_FIRST_TOKEN ? 1
                                                                   : LENGTH,
        .id = life.id,
        .id_bytes = (uint32_t)strlen(life.id),
    };
    agent->request(&told);
  }
}

/* In front of each iteration and behind it, whoever captures or not: it remembers, and tells where it is wanted. */
static void request_before(const stepscope_api *agent, uint64_t i) {
  if (i % LENGTH == 0) {
    memset(&life, 0, sizeof life);
    snprintf(life.id, sizeof life.id, "request-%llu", (unsigned long long)(i / LENGTH));
    life.number = agent->request_number(life.id, strlen(life.id));
    happened(agent, STEPSCOPE_REQUEST_ARRIVED, 0);
    happened(agent, STEPSCOPE_REQUEST_QUEUED, 0);
    happened(agent, STEPSCOPE_REQUEST_SCHEDULED, i + 1); /* iterations are numbered from 1 */
  }
}

static void request_behind(const stepscope_api *agent, uint64_t i) {
  if (i % LENGTH == 0)
    happened(agent, STEPSCOPE_REQUEST_FIRST_TOKEN, i + 1);
  if (i % LENGTH == LENGTH - 1) {
    happened(agent, STEPSCOPE_REQUEST_LAST_TOKEN, i + 1);
    happened(agent, STEPSCOPE_REQUEST_FINISHED, 0);
    if (agent->recording())
      tell_of_request(agent);
  }
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
  /* An older library ends before the recorder. */
  const stepscope_api *recorder = agent && agent->size >= sizeof *agent ? agent : NULL;
  uint64_t work_name = recorder ? name_of(recorder, "work") : 0;
  uint64_t left_name = recorder ? name_of(recorder, "tokens left") : 0;
  puts("ready");
  fflush(stdout);

  for (uint64_t i = 0; iterations == 0 || i < iterations; i++) {
    int is_first = i % LENGTH == 0;
    if (recorder)
      request_before(recorder, i);
    /* Right before the work. Not 0: the iteration lies in an open window, so it is worth saying what is in it. */
    uint64_t iteration = agent ? agent->step_begin() : 0;
    if (iteration) {
      uint32_t tokens = is_first ? 128 : 1;
      agent->step_batch(/* context: requests, tokens */ is_first, is_first ? tokens : 0,
                        /* generation: requests, tokens */ !is_first, !is_first, 0);
      if (recorder)
        recorder->served(iteration, &life.number, &tokens, 1);
    }
    if (recorder)
      recorder->span_begin(work_name, 0, STEPSCOPE_LEVEL_BASIC);

    struct timespec work = {(time_t)(step_us / 1000000), (long)(step_us % 1000000) * 1000};
    nanosleep(&work, NULL);

    if (recorder) {
      recorder->span_end(NULL, 0, STEPSCOPE_NONE);
      stepscope_event left = {
          .size = sizeof left,
          .shape = STEPSCOPE_COUNTER,
          .name = left_name,
          .value = (double)(LENGTH - 1 - i % LENGTH),
          .device_ns = STEPSCOPE_NONE,
      };
      recorder->event(&left);
    }
    if (agent)
      agent->step_end();
    if (recorder)
      request_behind(recorder, i);
  }
  return 0;
}
