/* Compiles where the toolkit's own header says what cupti_abi.h says. KERNEL: the newest of its CUpti_ActivityKernel types. */
#include <cupti_activity.h>
#include <cupti_callbacks.h>
#include <cupti_driver_cbid.h>
#include <stddef.h>

#include "cupti_abi.h"

#define SAME(ours, theirs) _Static_assert(offsetof(struct cupti_kernel, ours) == offsetof(KERNEL, theirs), #theirs)
SAME(kind, kind);
SAME(start, start);
SAME(end, end);
SAME(device, deviceId);
SAME(context, contextId);
SAME(stream, streamId);
SAME(grid, gridX);
SAME(block, blockX);
SAME(correlation, correlationId);
SAME(name, name);
SAME(graph_node, graphNodeId);
SAME(graph, graphId);

#define IS(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)
IS(CUPTI_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
IS(CUPTI_DRIVER_API, CUPTI_CB_DOMAIN_DRIVER_API);
IS(CUPTI_ENTER, CUPTI_API_ENTER);
IS(CUPTI_EXIT, CUPTI_API_EXIT);
IS(CUPTI_PROFILER_START, CUPTI_DRIVER_TRACE_CBID_cuProfilerStart);
IS(CUPTI_PROFILER_STOP, CUPTI_DRIVER_TRACE_CBID_cuProfilerStop);
_Static_assert(offsetof(struct cupti_call, site) == offsetof(CUpti_CallbackData, callbackSite), "callbackSite");
