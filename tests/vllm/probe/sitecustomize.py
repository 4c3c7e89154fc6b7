"""On the path of the vLLM of merge.py: events of ours right in front of and right behind where an annotation of vLLM's own
profiler begins, so that the merged trace shows how far the two clocks are apart, whatever vLLM does in between."""

from stepscope import _import_hook


class Probed:
    """The context of an annotation."""

    def __init__(self, context):
        self.context = context

    def __enter__(self):
        import stepscope

        stepscope.instant("in front of", cat="probe")
        entered = self.context.__enter__()
        stepscope.instant("behind", cat="probe")
        return entered

    def __exit__(self, *failure):
        return self.context.__exit__(*failure)


def install(module):
    wrapper = module.TorchProfilerWrapper
    annotate = wrapper.annotate_context_manager
    wrapper.annotate_context_manager = lambda self, name: Probed(annotate(self, name))


_import_hook.when_imported("vllm.profiler.wrapper", install, print)
