/* An engine on a lead: each line on standard input is one command, answered by one line. Commands are separated words:
 *
 *   load PATH        dlopen by path, whatever is there already -> "same" or "other" as the table is the first one's
 *   rule PATH        what the header's rule finds, given that path -> "same" or "other"
 *   join RANK        -> the code
 *   claim NAME       -> 0 or 1
 *   step N           makes N iterations -> "stepped"
 *   thread N         a thread of its own makes N iterations and ends -> "stepped"
 *   begin / end      half an iteration -> its number or 0
 *   run US           a thread steps every US microseconds from now on -> "running"
 *   halt             ends that thread -> "halted"
 *   forks N HOW      another thread forks N times; HOW: idle, steps; exits by exit() and _exit() in turn
 *                    -> "forked N good G": children whose own account of themselves was right
 *   become child     forks; the child goes on with the commands, this process only waits for it -> "child"
 *   describe         -> JSON
 *   reason           -> text
 *   begun            -> iterations this program has begun
 *   exec PROGRAM     becomes /bin/sh -c PROGRAM
 *   vfork PROGRAM    vfork and exec /bin/sh -c PROGRAM, waits -> its exit status
 *   exit CODE        exit()
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stepscope.h"

static const stepscope_api *agent;
static _Atomic int go_on;
static _Atomic uint64_t begun;
static pthread_t stepper;

static void die(const char *why) {
  fprintf(stderr, "%s: %s\n", why, dlerror());
  exit(99);
}

static const stepscope_api *table_of(void *library) {
  const stepscope_api *(*get_api)(uint32_t);
  *(void **)&get_api = dlsym(library, "stepscope_get_api");
  if (!get_api)
    die("no stepscope_get_api");
  return get_api(STEPSCOPE_ABI);
}

/* By the header's rule: the one that is there, else the path. */
static const stepscope_api *by_the_rule(const char *path) {
  void *library = dlopen("libstepscope.so.1", RTLD_NOLOAD | RTLD_NOW);
  if (!library)
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    die("dlopen");
  return table_of(library);
}

static void one_step(void) {
  atomic_fetch_add(&begun, 1);
  if (agent->step_begin())
    agent->step_batch(1, 10, 2, 2, 0);
  agent->step_end();
}

static void *steps(void *us) {
  while (atomic_load(&go_on)) {
    one_step();
    usleep((useconds_t)(uintptr_t)us);
  }
  return NULL;
}

static void *some_steps(void *count) {
  for (uintptr_t n = (uintptr_t)count; n > 0; n--)
    one_step();
  return NULL;
}

struct forks {
  long count;
  int steps;
  long good;
};

/* What a child says of itself: joined only if it stepped, and then to a group of its own. */
static int child(int does_step) {
  char text[4096] = "", group[64];
  if (does_step)
    for (int i = 0; i < 3; i++)
      one_step();
  agent->describe(text, sizeof text);
  snprintf(group, sizeof group, "\"group\":\"0.fork%d\"", (int)getpid());
  int joined = strstr(text, "\"joined\":true") != NULL;
  return does_step ? joined && strstr(text, group) : !joined;
}

static void *forking(void *argument) {
  struct forks *forks = argument;
  for (long i = 0; i < forks->count; i++) {
    pid_t pid = fork();
    if (pid == 0) {
      int code = child(forks->steps) ? 0 : 1;
      if (i % 2)
        exit(code);
      _exit(code);
    }
    int status = -1;
    if (pid > 0)
      waitpid(pid, &status, 0);
    forks->good += WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  return NULL;
}

int main(int argc, char **argv) {
  static char line[8192], text[8192];
  agent = by_the_rule(argc > 1 ? argv[1] : "libstepscope.so.1");
  setvbuf(stdout, NULL, _IOLBF, 0);
  setvbuf(stdin, NULL, _IONBF, 0);
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    char *word = line, *rest = strchr(line, ' ');
    if (rest)
      *rest++ = 0;
    else
      rest = line + strlen(line);
    if (!strcmp(word, "load")) {
      void *library = dlopen(rest, RTLD_NOW | RTLD_LOCAL);
      if (!library)
        die("load");
      const stepscope_api *loaded = table_of(library);
      puts(loaded == agent ? "same" : "other");
    } else if (!strcmp(word, "rule")) {
      puts(by_the_rule(rest) == agent ? "same" : "other");
    } else if (!strcmp(word, "join")) {
      stepscope_identity who = {.size = sizeof who, .role = STEPSCOPE_ROLE_RANK, .rank = (uint32_t)atoi(rest)};
      who.engine = "commanded";
      printf("%d\n", agent->join(&who));
    } else if (!strcmp(word, "claim")) {
      printf("%d\n", agent->claim_steps(rest));
    } else if (!strcmp(word, "step")) {
      for (long n = atol(rest); n > 0; n--)
        one_step();
      puts("stepped");
    } else if (!strcmp(word, "thread")) {
      pthread_t thread;
      pthread_create(&thread, NULL, some_steps, (void *)(uintptr_t)atol(rest));
      pthread_join(thread, NULL);
      puts("stepped");
    } else if (!strcmp(word, "begin")) {
      atomic_fetch_add(&begun, 1);
      printf("%llu\n", (unsigned long long)agent->step_begin());
    } else if (!strcmp(word, "end")) {
      agent->step_end();
      puts("ended");
    } else if (!strcmp(word, "run")) {
      atomic_store(&go_on, 1);
      pthread_create(&stepper, NULL, steps, (void *)(uintptr_t)atol(rest));
      puts("running");
    } else if (!strcmp(word, "halt")) {
      atomic_store(&go_on, 0);
      pthread_join(stepper, NULL);
      puts("halted");
    } else if (!strcmp(word, "forks")) {
      struct forks forks = {.count = atol(rest), .steps = strstr(rest, "steps") != NULL};
      pthread_t thread;
      pthread_create(&thread, NULL, forking, &forks);
      pthread_join(thread, NULL);
      printf("forked %ld good %ld\n", forks.count, forks.good);
    } else if (!strcmp(word, "become")) {
      pid_t pid = fork();
      if (pid > 0) {
        waitpid(pid, NULL, 0);
        return 0;
      }
      puts(pid == 0 ? "child" : "no fork");
    } else if (!strcmp(word, "leave")) {
      agent->leave();
      puts("left");
    } else if (!strcmp(word, "describe")) {
      agent->describe(text, sizeof text);
      puts(text);
    } else if (!strcmp(word, "reason")) {
      puts(agent->reason());
    } else if (!strcmp(word, "begun")) {
      printf("%llu\n", (unsigned long long)atomic_load(&begun));
    } else if (!strcmp(word, "exec")) {
      execl("/bin/sh", "sh", "-c", rest, (char *)NULL);
      _exit(98);
    } else if (!strcmp(word, "vfork")) {
      int status = -1;
      pid_t pid = vfork();
      if (pid == 0) {
        execl("/bin/sh", "sh", "-c", rest, (char *)NULL);
        _exit(97);
      }
      waitpid(pid, &status, 0);
      printf("%d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    } else if (!strcmp(word, "exit")) {
      exit(atoi(rest));
    } else {
      puts("unknown command");
    }
    fflush(stdout);
  }
  return 0;
}
