"""The native module with the agent loaded. Whoever needs the agent imports this; nobody else imports ``_stepscope``.

``native`` is always there and may always be called: without an agent its functions do nothing. Importing this never
raises; a native module that can't be loaded is a reason like any other.
"""

import os

PACKAGED_LIBRARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_lib", "libstepscope.so.1")

try:
    from stepscope import _stepscope as native

    native.load(PACKAGED_LIBRARY)
except Exception as error:  # a wheel of another platform, say
    from stepscope import _inert as native

    native.REASON = f"the native module could not be loaded: {error}"
