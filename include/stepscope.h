/* Stepscope's agent, as C sees it. One agent per process: whoever loads libstepscope.so first brings it, and everybody
 * else finds that one: dlopen("libstepscope.so.1", RTLD_NOLOAD | RTLD_NOW) first, a path of your own only if that fails.
 *
 * Every function may be called from any thread, returns at once, never throws, never ends the process, and does nothing
 * useful in a process that has not joined. After fork() the child's agent is inert until the child's first step, which
 * makes it join anew with a segment of its own; it never touches its parent's window.
 */
#ifndef STEPSCOPE_H
#define STEPSCOPE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this interface. A library answers stepscope_get_api(N) for every N it still speaks. */
#define STEPSCOPE_ABI 1

#define STEPSCOPE_ROLE_RANK 1   /* runs iterations */
#define STEPSCOPE_ROLE_SOURCE 2 /* emits spans only */

/* Flags of step_batch. */
#define STEPSCOPE_BATCH_DUMMY 1u /* a dummy batch that keeps data-parallel ranks in step */

/* Flags of an identity. */
#define STEPSCOPE_IDENTITY_NO_BATCH 1u /* step_batch is never called: NVTX ranges need not wait for it to have their name */

/* What join returns. */
#define STEPSCOPE_OK 0
#define STEPSCOPE_ALREADY_JOINED 1 /* fine: the first identity stays */
#define STEPSCOPE_OFF (-1)         /* switched off by STEPSCOPE_AGENT=off */
#define STEPSCOPE_NO_SEGMENT (-2)  /* see reason() */
#define STEPSCOPE_BAD_ARGUMENT (-3)
#define STEPSCOPE_INTERNAL (-4)

/* Who this process is. Strings are UTF-8, may be NULL, and are copied. */
typedef struct stepscope_identity {
  uint32_t size;       /* sizeof(stepscope_identity) */
  uint32_t role;       /* STEPSCOPE_ROLE_* */
  uint32_t rank;       /* within the group */
  uint32_t world_size; /* ranks of the group; 0: not known */
  const char *job;     /* NULL: $STEPSCOPE_JOB, else that of the nearest ancestor that has joined, else random */
  const char *group;   /* NULL: "0" */
  const char *engine;  /* for example "vllm 0.32.0" */
  const char *label;   /* for example "tp0 pp1"; NULL: "" */
  uint32_t flags;      /* STEPSCOPE_IDENTITY_* */
  uint32_t reserved;   /* 0 */
} stepscope_identity;

typedef struct stepscope_api {
  uint32_t abi;  /* STEPSCOPE_ABI */
  uint32_t size; /* bytes of this table; members behind it are not there */

  /* Makes this process's segment. Reads STEPSCOPE_DIR, STEPSCOPE_SEGMENT_BYTES, STEPSCOPE_JOB, STEPSCOPE_AGENT. */
  int32_t (*join)(const stepscope_identity *identity);

  /* One source of steps per process: the first to claim gets 1, and so does the same name again; another name gets 0
   * and must not call step_*. */
  int32_t (*claim_steps)(const char *source);

  /* An iteration begins: call it right before the work. Returns the iteration's number when it lies in an open window, or is
   * an NVTX range all the same (then say what is in it with step_batch), else 0. An iteration that was begun and not ended is ended here. */
  uint64_t (*step_begin)(void);

  /* What the iteration that step_begin just returned holds. Context is prefill, generation is decode. */
  void (*step_batch)(uint32_t context_requests, uint32_t context_tokens, uint32_t generation_requests,
                     uint32_t generation_tokens, uint32_t flags);

  /* The iteration that began last ends. */
  void (*step_end)(void);

  /* The process says goodbye; an open window is closed. Registered with atexit by join. */
  void (*leave)(void);

  /* Why the last join failed, UTF-8, or "" . The pointer stays valid until the next join of the same thread. */
  const char *(*reason)(void);

  /* Writes a JSON object about the agent (version, library path, joined, identity, segment, step source, rejected
   * sources) and returns the bytes it needs, without the NUL. */
  size_t (*describe)(char *buffer, size_t bytes);

  /* The iteration that step_begin just returned puts its work onto this CUDA stream (a CUstream or cudaStream_t; NULL: the
   * default one) of the context that is current on this thread. With the profiler `cuda` its time on the device is then
   * measured there. Call it before the work. Not there if `size` ends before it. */
  void (*step_stream)(void *stream);

  /* What the exported InitializeInjectionNvtx2 does: takes an NVTX instance's slots. For loaders of this library alone. */
  int32_t (*initialize_nvtx)(const void *(*get_export_table)(uint32_t));
} stepscope_api;

/* The table for an interface version, or NULL when this library does not speak it. Valid for ever. */
const stepscope_api *stepscope_get_api(uint32_t abi);

#ifdef __cplusplus
}
#endif

#endif
