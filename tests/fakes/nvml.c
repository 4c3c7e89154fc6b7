/* NVML at its ABI, for machines without a driver: exports the symbols that the sidecar asks for, logs each answer as
 * `DEVICE CODE VALUE NANOSECONDS` (log.h; CLOCK_MONOTONIC when it was given), and behaves as the file that
 * STEPSCOPE_TEST_NVML names says, which is read at each call. Words in it:
 *
 *   devices=2                       GPUs (1)
 *   mig@0=2                         GPU 0 has two MIG instances
 *   gpm@0=1                         GPU 0 supports GPM
 *   pids=11,12                      processes that use each GPU; pid 1 always does
 *   nvmlDeviceGetPowerUsage@1=3     that call answers with that code, on GPU 1 (without @: on all)
 *   all@1=15                        every call on GPU 1 does
 *   hang=nvmlDeviceGetPowerUsage    that call does not return while the word stands there
 *
 * Every answer of one call on one device is one more than the last. */
#include <stdint.h>
#include <time.h>

#include "log.h"

enum { OK, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NOT_FOUND = 6, INSUFFICIENT_SIZE };
enum { MOST_DEVICES = 16, MOST_INSTANCES = 8, MOST_CALLS = 64 };

struct device {
  unsigned index;
  int mig; /* -1: the GPU itself */
};

static struct device gpus[MOST_DEVICES], instances[MOST_DEVICES][MOST_INSTANCES];
static unsigned long long answers[MOST_DEVICES][MOST_INSTANCES + 1][MOST_CALLS];

/* The value of a word, or `otherwise`; with `text`, what stands behind the `=`. */
static long word(const char *name, int device, long otherwise, char *text, size_t room) {
  const char *path = getenv("STEPSCOPE_TEST_NVML");
  FILE *file = path ? fopen(path, "re") : NULL;
  char plain[96], at[96], found[512];
  long value = otherwise;
  snprintf(plain, sizeof plain, "%s=", name);
  snprintf(at, sizeof at, "%s@%d=", name, device);
  while (file && fscanf(file, "%511s", found) == 1) {
    const char *key = !strncmp(found, at, strlen(at)) ? at : !strncmp(found, plain, strlen(plain)) ? plain : NULL;
    if (!key) continue;
    value = atol(found + strlen(key));
    if (text) snprintf(text, room, "%s", found + strlen(key));
  }
  if (file) fclose(file);
  return value;
}

static void hang(const char *name) {
  for (;;) {
    char stuck[96] = "";
    word("hang", -1, 0, stuck, sizeof stuck);
    if (strcmp(stuck, name)) return;
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  }
}

static int answer(const char *name, const struct device *device, int code, double value) {
  hang(name);
  int index = device ? (int)device->index : -1;
  if (device) code = (int)word("all", index, code, NULL, 0);
  code = (int)word(name, index, code, NULL, 0);
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  called(name, "%d%s %d %.17g %lld", index, device && device->mig >= 0 ? "m" : "", code, value,
         now.tv_sec * 1000000000LL + now.tv_nsec);
  return code;
}

static unsigned next(const struct device *device, int call) {
  return (unsigned)++answers[device->index][device->mig + 1][call];
}

int nvmlInit_v2(void) { return answer("nvmlInit_v2", NULL, OK, 0); }
int nvmlShutdown(void) { return answer("nvmlShutdown", NULL, OK, 0); }

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
  snprintf(version, length, "550.54.15");
  return OK;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
  *count = (unsigned)word("devices", -1, 1, NULL, 0);
  return answer("nvmlDeviceGetCount_v2", NULL, OK, *count);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **out) {
  if (index >= MOST_DEVICES) return INVALID_ARGUMENT;
  gpus[index] = (struct device){index, -1};
  *out = &gpus[index];
  return answer("nvmlDeviceGetHandleByIndex_v2", *out, OK, index);
}

int nvmlDeviceGetUUID(struct device *device, char *uuid, unsigned length) {
  if (device->mig < 0) snprintf(uuid, length, "GPU-0000%u", device->index);
  else snprintf(uuid, length, "MIG-0000%u-%d", device->index, device->mig);
  return OK;
}

int nvmlDeviceGetName(struct device *device, char *name, unsigned length) {
  snprintf(name, length, device->mig < 0 ? "Stand-in \"X100\"" : "Stand-in MIG 1g");
  return OK;
}

static int is_shared(const struct device *device) { return word("mig", (int)device->index, 0, NULL, 0) > 0; }

int nvmlDeviceGetMigMode(struct device *device, unsigned *current, unsigned *pending) {
  if (device->mig >= 0) return INVALID_ARGUMENT;
  *current = *pending = (unsigned)is_shared(device);
  return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(struct device *device, unsigned *count) {
  (void)device;
  *count = MOST_INSTANCES - 1;
  return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(struct device *device, unsigned index, struct device **out) {
  if (index >= word("mig", (int)device->index, 0, NULL, 0)) return NOT_FOUND;
  instances[device->index][index] = (struct device){device->index, (int)index};
  *out = &instances[device->index][index];
  return OK;
}

/* What only a whole GPU has. */
static int whole(const struct device *device) { return device->mig < 0 ? OK : NOT_SUPPORTED; }

int nvmlDeviceGetUtilizationRates(struct device *device, unsigned *rates) {
  rates[0] = next(device, 0) % 101;
  rates[1] = rates[0] / 2;
  return answer("nvmlDeviceGetUtilizationRates", device, is_shared(device) ? NOT_SUPPORTED : OK, rates[0]);
}

int nvmlDeviceGetPowerUsage(struct device *device, unsigned *milliwatts) {
  *milliwatts = 300125 + next(device, 1) * 1000;
  return answer("nvmlDeviceGetPowerUsage", device, whole(device), *milliwatts / 1000.0);
}

int nvmlDeviceGetClockInfo(struct device *device, unsigned kind, unsigned *mhz) {
  const char *name = kind == 2 ? "nvmlDeviceGetClockInfo.memory" : "nvmlDeviceGetClockInfo.sm";
  *mhz = (kind == 2 ? 2600 : 1400) + next(device, 2 + (int)kind);
  return answer(name, device, whole(device), *mhz);
}

int nvmlDeviceGetTemperature(struct device *device, unsigned sensor, unsigned *celsius) {
  (void)sensor;
  *celsius = 40 + next(device, 6) % 50;
  return answer("nvmlDeviceGetTemperature", device, whole(device), *celsius);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(struct device *device, unsigned long long *reasons) {
  next(device, 7);
  *reasons = 0x4 | 0x20; /* power cap, software thermal slowdown */
  return answer("nvmlDeviceGetCurrentClocksThrottleReasons", device, whole(device), (double)*reasons);
}

int nvmlDeviceGetMemoryInfo_v2(struct device *device, void *info) {
  struct {
    unsigned version;
    unsigned long long total, reserved, available, used;
  } *memory = info;
  memory->total = 80ULL << 30;
  memory->used = (10ULL << 30) + next(device, 8);
  return answer("nvmlDeviceGetMemoryInfo_v2", device, OK, (double)memory->used);
}

int nvmlDeviceGetPcieThroughput(struct device *device, unsigned counter, unsigned *kilobytes) {
  nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* as the real one does */
  *kilobytes = 5000 * (counter + 1) + next(device, 9 + (int)counter);
  const char *name = counter ? "nvmlDeviceGetPcieThroughput.received" : "nvmlDeviceGetPcieThroughput.transmitted";
  return answer(name, device, whole(device), *kilobytes * 1000.0);
}

struct process {
  unsigned pid;
  unsigned long long microseconds;
  unsigned sm, memory, encoder, decoder;
};

int nvmlDeviceGetProcessUtilization(struct device *device, struct process *found, unsigned *count,
                                    unsigned long long since) {
  char text[512] = "";
  word("pids", -1, 0, text, sizeof text);
  struct process all[32] = {{.pid = 1, .sm = 99, .memory = 99}};
  unsigned many = 1;
  for (char *rest = text, *pid; (pid = strsep(&rest, ",")) && many < 31;)
    if (*pid) all[many] = (struct process){.pid = (unsigned)atoi(pid), .sm = 30 + many, .memory = 10 + many}, many++;
  unsigned room = *count;
  *count = many;
  if (!found || room < many) return INSUFFICIENT_SIZE;
  for (unsigned i = 0; i < many; i++) all[i].microseconds = since + 1;
  memcpy(found, all, many * sizeof *all);
  return answer("nvmlDeviceGetProcessUtilization", device, is_shared(device) ? NOT_SUPPORTED : OK, many);
}

struct sample {
  struct device *device;
  unsigned number;
};

int nvmlGpmQueryDeviceSupport(struct device *device, unsigned *support) {
  support[1] = word("gpm", (int)device->index, 0, NULL, 0) > 0 && device->mig < 0;
  return answer("nvmlGpmQueryDeviceSupport", device, OK, support[1]);
}

int nvmlGpmSampleAlloc(struct sample **sample) {
  *sample = calloc(1, sizeof **sample);
  return OK;
}

int nvmlGpmSampleFree(struct sample *sample) {
  free(sample);
  return OK;
}

int nvmlGpmSampleGet(struct device *device, struct sample *sample) {
  *sample = (struct sample){device, next(device, 12)};
  return answer("nvmlGpmSampleGet", device, OK, sample->number);
}

int nvmlGpmMetricsGet(void *request) {
  struct {
    unsigned version, count;
    struct sample *before, *now;
    struct {
      unsigned id, code;
      double value;
      const char *short_name, *long_name, *unit;
    } metrics[210];
  } *get = request;
  struct device *device = get->now->device;
  if (get->before->device != device || get->before->number + 1 != get->now->number) return INVALID_ARGUMENT;
  for (unsigned i = 0; i < get->count; i++) {
    char name[32];
    unsigned id = get->metrics[i].id;
    snprintf(name, sizeof name, "gpm.%u", id);
    get->metrics[i].value = id >= 20 ? id * 100 + get->now->number : id + get->now->number % 50 + 0.25;
    get->metrics[i].unit = id >= 20 ? "MiB/sec" : "%";
    get->metrics[i].code = (unsigned)answer(name, device, OK, get->metrics[i].value * (id >= 20 ? 1048576.0 : 1));
  }
  return answer("nvmlGpmMetricsGet", device, OK, get->count);
}
