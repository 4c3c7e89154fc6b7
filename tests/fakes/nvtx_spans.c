/* An engine whose steps are NVTX ranges, with other ranges in them, from two instances and several threads. Knows nothing
 * of us.
 *
 *   nvtx_spans STEP_US WORKERS [paced [deep]]
 *
 * Around every ten steps lies a range `group N`, N being the first step's number. Step N is a range `step`, and in it:
 *
 *   main thread    outer N > inner N (the other instance) > LONG N, in the domain `engine`; and beside them `step`, and
 *                  `größe N`, told in wide characters
 *   each worker    worker W N > a registered `job`, in the domain `engine` > leaf; the worker W uses instance W % 2
 *   any            a start/end range `flight N`, which worker 0 ends
 *
 * Deep, a step holds 40 ranges within each other instead, and 300 start/end ranges that are open at once.
 *
 * Paced, it makes as many steps as a line of its standard input says. Ends with standard input. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
#include <wchar.h>

#include "nvtx.h"

static const char *const padding = "a name that is much too long to stand in one record, so that it has to be told in parts";

static void *domains[2], *jobs[2];
static pthread_barrier_t begin, end;
static long step;
static uint64_t flight;

static void push(int n, const char *text) {
  int (*call)(const char *) = (int (*)(const char *))of(n, 0)[9];
  if (call) call(text);
}

static void push_wide(int n, const wchar_t *text) {
  int (*call)(const wchar_t *) = (int (*)(const wchar_t *))of(n, 0)[10];
  if (call) call(text);
}

static void pop(int n) {
  int (*call)(void) = (int (*)(void))of(n, 0)[11];
  if (call) call();
}

static void push_in_domain(int n, int type, const void *message) {
  struct attributes a = {.version = 3, .size = 48, .message_type = type, .message = message};
  int (*call)(void *, const struct attributes *) = (int (*)(void *, const struct attributes *))of(n, 1)[4];
  if (call) call(domains[n], &a);
}

static void pop_in_domain(int n) {
  int (*call)(void *) = (int (*)(void *))of(n, 1)[5];
  if (call) call(domains[n]);
}

static void prepare(int n) {
  slot *slots = of(n, 1);
  void *(*create)(const char *) = (void *(*)(const char *))slots[12];
  void *(*registering)(void *, const char *) = (void *(*)(void *, const char *))slots[10];
  if (create) domains[n] = create("engine");
  if (registering) jobs[n] = registering(domains[n], "job");
}

static void *work(void *argument) {
  long worker = (long)argument;
  int n = worker % 2;
  char name[64];
  snprintf(name, sizeof name, "worker-%ld", worker);
  pthread_setname_np(pthread_self(), name);
  for (;;) {
    pthread_barrier_wait(&begin);
    snprintf(name, sizeof name, "worker %ld %ld", worker, step);
    push(n, name);
    push_in_domain(n, 3, jobs[n]);
    push(n, "leaf");
    if (worker == 0) {
      void (*stop)(uint64_t) = (void (*)(uint64_t))of(1, 0)[7];
      if (stop) stop(flight);
    }
    pop(n);
    pop_in_domain(n);
    pop(n);
    pthread_barrier_wait(&end);
  }
  return NULL;
}

static void deep(void) {
  uint64_t (*start)(const char *) = (uint64_t(*)(const char *))of(0, 0)[5];
  void (*stop)(uint64_t) = (void (*)(uint64_t))of(0, 0)[7];
  uint64_t ranges[300];
  for (int i = 0; i < 40; i++) push(i % 2, "deep");
  for (int i = 0; i < 40; i++) pop(i % 2);
  if (!start || !stop) return;
  for (int i = 0; i < 300; i++) ranges[i] = start("open");
  for (int i = 0; i < 300; i++) stop(ranges[i]);
}

int main(int count, char **arguments) {
  if (count < 3) return 2;
  long pause = atol(arguments[1]), workers = atol(arguments[2]);
  char text[256];
  wchar_t wide[64];
  prepare(0);
  prepare(1);
  pthread_barrier_init(&begin, NULL, (unsigned)workers + 1);
  pthread_barrier_init(&end, NULL, (unsigned)workers + 1);
  for (long w = 0; w < workers; w++) {
    pthread_t thread;
    pthread_create(&thread, NULL, work, (void *)w);
  }
  struct pollfd in = {.fd = 0, .events = POLLIN};
  long ordered = 0;
  for (step = 1;; step++) {
    if (count < 4 && poll(&in, 1, 0) != 0) break;
    if (count >= 4) {
      while (ordered == 0 && fgets(text, sizeof text, stdin)) ordered = atol(text);
      if (ordered-- == 0) break;
    }
    if (step % 10 == 1 && count < 5) {
      snprintf(text, sizeof text, "group %ld", step);
      push(0, text);
    }
    push(0, "step");
    if (count > 4) {
      deep();
      pop(0);
      continue;
    }
    uint64_t (*start)(const char *) = (uint64_t(*)(const char *))of(0, 0)[5];
    snprintf(text, sizeof text, "flight %ld", step);
    if (start) flight = start(text);
    pthread_barrier_wait(&begin);
    snprintf(text, sizeof text, "outer %ld", step);
    push(0, text);
    snprintf(text, sizeof text, "inner %ld", step);
    push(1, text);
    snprintf(text, sizeof text, "%s %ld", padding, step);
    push_in_domain(0, 1, text);
    usleep((useconds_t)pause);
    pop_in_domain(0);
    pop(1);
    pop(0);
    push(0, "step");
    pop(0);
    swprintf(wide, 64, L"gr\u00f6\u00dfe %ld", step);
    push_wide(0, wide);
    pop(1);
    pthread_barrier_wait(&end);
    pop(0);
    if (step % 10 == 0) pop(0);
  }
  return 0;
}
