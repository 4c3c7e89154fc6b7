/* What both sides of NVTX hand each other, without NVIDIA's header. */
#ifndef STEPSCOPE_TEST_NVTX_ABI_H
#define STEPSCOPE_TEST_NVTX_ABI_H

#include <stdint.h>

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

#endif
