"""Imported by ``stepscope.pth`` when an interpreter starts and ``STEPSCOPE_STEP`` is set. Never raises."""

try:
    from stepscope import step_hook

    step_hook.install()
except Exception:
    pass
