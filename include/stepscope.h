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

/* ---- The recorder: what an engine tells of itself ----
 *
 * Spans, instants, counters and requests are recorded from shortly before a window opens until shortly after it has closed,
 * and appear in its trace. While nobody captures, each call is two loads and a branch; recording() tells whether it is worth
 * working out what to say. A process that runs no iterations joins as STEPSCOPE_ROLE_SOURCE to tell of itself.
 *
 * Names, categories and argument keys are handles of intern(): intern once, keep the handle (a static variable will do). 0 is none.
 * They are meant to be few: 8192 in a process, 240 bytes each, longer ones are cut and end in an ellipsis.
 * Times are ticks of now(), or of ticks_at(); 0 is now. */

#define STEPSCOPE_NONE UINT64_MAX

/* Levels of spans and events: a start asks for a highest one (2 unless it says otherwise). */
#define STEPSCOPE_LEVEL_BASIC 1u
#define STEPSCOPE_LEVEL_DETAIL 2u
#define STEPSCOPE_LEVEL_VERBOSE 3u

/* Kinds of an argument. */
#define STEPSCOPE_ARGUMENT_UNSIGNED 1u
#define STEPSCOPE_ARGUMENT_SIGNED 2u
#define STEPSCOPE_ARGUMENT_NUMBER 3u
#define STEPSCOPE_ARGUMENT_FLAG 4u
#define STEPSCOPE_ARGUMENT_TEXT 5u /* UTF-8, not interned, the first 240 bytes are kept */

typedef struct stepscope_argument {
  uint64_t key;   /* a handle */
  uint32_t kind;  /* STEPSCOPE_ARGUMENT_* */
  uint32_t bytes; /* of a text */
  union {
    uint64_t unsigned_number; /* and a flag: 0 or 1 */
    int64_t signed_number;
    double number;
    const char *text;
  } value;
} stepscope_argument;

/* Shapes of an event. */
#define STEPSCOPE_SPAN 1     /* begin to end, nested or disjoint with all others of its track */
#define STEPSCOPE_INSTANT 2  /* at begin */
#define STEPSCOPE_COUNTER 3  /* value from begin on; of the process */
#define STEPSCOPE_DURATION 4 /* begin to end, told afterwards; may overlap anything */

/* Where an arrow (flow) is at an event. */
#define STEPSCOPE_FLOW_BEGIN 0u
#define STEPSCOPE_FLOW_STEP 1u
#define STEPSCOPE_FLOW_END 2u

typedef struct stepscope_event {
  uint32_t size;      /* sizeof(stepscope_event) */
  uint16_t shape;     /* STEPSCOPE_SPAN and its like */
  uint16_t depth;     /* of a span: spans of its track that are open around it */
  uint32_t level;     /* STEPSCOPE_LEVEL_*; 0 is BASIC */
  uint32_t flow_step; /* STEPSCOPE_FLOW_* */
  uint64_t name;      /* a handle, not 0 */
  uint64_t category;  /* a handle, or 0 */
  uint64_t track;     /* 0: the calling thread's. Else a number of yours for a logical track: a task, say; see track() */
  uint64_t begin, end;
  double value;       /* of a counter */
  uint64_t device_ns; /* how long the same work took on the device; STEPSCOPE_NONE: not known */
  uint64_t flow;      /* number of the arrow through this event; 0: none */
  const stepscope_argument *arguments;
  uint64_t argument_count; /* the first 16 are kept */
} stepscope_event;

/* What can happen to a request. */
#define STEPSCOPE_REQUEST_ARRIVED 1u     /* at the server */
#define STEPSCOPE_REQUEST_QUEUED 2u      /* the scheduler has it, and it waits */
#define STEPSCOPE_REQUEST_SCHEDULED 3u   /* it is computed for the first time, or again after it was preempted */
#define STEPSCOPE_REQUEST_FIRST_TOKEN 4u
#define STEPSCOPE_REQUEST_PREEMPTED 5u   /* put back to wait */
#define STEPSCOPE_REQUEST_LAST_TOKEN 6u
#define STEPSCOPE_REQUEST_FINISHED 7u
#define STEPSCOPE_REQUEST_ABORTED 8u     /* given up, by its client or by the engine */

/* A moment in the life of a request. Any process of the engine may tell any of them, also long after they happened: of a moment
 * that several tell, the earliest counts (of SCHEDULED and PREEMPTED, which may come again, all). Never anything of what
 * the request says. */
typedef struct stepscope_request {
  uint32_t size;    /* sizeof(stepscope_request) */
  uint32_t moment;  /* STEPSCOPE_REQUEST_* */
  uint64_t request; /* request_number() of its id */
  uint64_t at;
  uint64_t iteration; /* 0: none, or not known */
  uint32_t prompt_tokens, output_tokens, cached_tokens; /* as far as they are known; 0 else. Output: so far */
  uint32_t id_bytes;  /* of id */
  const char *id;     /* what people know it by; NULL: was told before in this capture, or never. The first 240 bytes are kept */
} stepscope_request;

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

  /* ---- The recorder. Not there if `size` ends before it. ---- */

  /* 0: nothing is wanted. Else a number that is another one for each capture, with the highest level wanted in the low byte. */
  uint64_t (*recording)(void);

  /* A handle for a text; the same for the same text, valid for ever. 0: no room. */
  uint64_t (*intern)(const char *text, size_t bytes);

  /* Now in ticks; 0 in a process that has not joined. */
  uint64_t (*now)(void);

  /* The ticks at a moment of CLOCK_MONOTONIC in nanoseconds that is not long ago, to a microsecond or so. */
  uint64_t (*ticks_at)(uint64_t monotonic_ns);

  /* A span begins on this thread: the innermost one until its span_end. */
  void (*span_begin)(uint64_t name, uint64_t category, uint32_t level);

  /* And ends. Arguments are told here, when they are known; device_ns may be STEPSCOPE_NONE. */
  void (*span_end)(const stepscope_argument *arguments, size_t count, uint64_t device_ns);

  /* Anything else, whole. */
  void (*event)(const stepscope_event *event);

  /* A logical track gets a name. Tell it again in each capture, before or behind its first event. */
  void (*track)(uint64_t number, uint64_t name);

  /* The number of a request, made from its id: the same in every process, never 0. */
  uint64_t (*request_number)(const char *id, size_t bytes);

  /* Something happened to a request. */
  void (*request)(const stepscope_request *request);

  /* The iteration whose number step_begin just returned computes so many tokens of each of these requests. */
  void (*served)(uint64_t iteration, const uint64_t *requests, const uint32_t *tokens, size_t count);

  /* How many iterations on the first one of a window lies that the engine's own profiler is to cover too: 1 is the next one. 0:
   * there is none, it has begun, or it will not open. For whoever starts that profiler, between two iterations. Not there if `size` ends
   * before it. */
  uint64_t (*until_window)(void);
} stepscope_api;

/* The table for an interface version, or NULL when this library does not speak it. Valid for ever. */
const stepscope_api *stepscope_get_api(uint32_t abi);

#ifdef __cplusplus
}
#endif

#endif
