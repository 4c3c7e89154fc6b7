/* What of CUPTI's ABI is used here. The same in every CUDA since 12.0, see cupti_layout.c. */
#ifndef STEPSCOPE_TEST_CUPTI_ABI_H
#define STEPSCOPE_TEST_CUPTI_ABI_H

#include <stdint.h>

enum { CUPTI_CONCURRENT_KERNEL = 10 };
enum { CUPTI_DRIVER_API = 1 };
enum { CUPTI_ENTER = 0, CUPTI_EXIT = 1 };
enum { CUPTI_PROFILER_START = 308, CUPTI_PROFILER_STOP = 309 };

/* The beginning of CUpti_ActivityKernel9 and of those after it. */
struct cupti_kernel {
  uint32_t kind;
  uint8_t unread_a[12];
  uint64_t start, end;
  uint8_t unread_b[8];
  uint32_t device, context, stream;
  int32_t grid[3], block[3];
  uint8_t unread_c[16];
  uint32_t correlation;
  uint8_t unread_d[8];
  const char *name;
  uint8_t unread_e[32];
  uint64_t graph_node;
  uint8_t unread_f[4];
  uint32_t graph;
};

/* The beginning of CUpti_CallbackData. */
struct cupti_call {
  uint32_t site;
  const char *function;
};

typedef void (*cupti_callback)(void *data, uint32_t domain, uint32_t id, const struct cupti_call *call);

#endif
