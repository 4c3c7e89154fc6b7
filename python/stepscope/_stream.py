"""Tells the agent which CUDA stream an iteration works on, so that its time on the device can be measured.

PyTorch is asked, if the engine has imported it and has initialised CUDA; nothing here does either. Called inside an open
window alone. Not told: an iteration that begins while its stream is being captured into a graph, where an event of ours
would become part of the graph.
"""

import sys


def tell(native) -> None:
    """Call it right after ``step_begin`` gave a number. May raise what an unknown PyTorch raises: guard it."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized() and not cuda.is_current_stream_capturing():
        native.step_stream(cuda.current_stream().cuda_stream)


def teller(native, device=None):
    """What calls :func:`tell`; None where there is no stream of this kind: an engine on another ``device``, as PyTorch calls
    it, or a PyTorch built for none."""
    if getattr(device, "type", "cuda") != "cuda":
        return None
    backend = getattr(getattr(sys.modules.get("torch"), "backends", None), "cuda", None)
    is_built = getattr(backend, "is_built", None)
    if is_built is not None and not is_built():
        return None
    return lambda: tell(native)
