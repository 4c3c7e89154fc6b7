"""Calls back once a module has been imported, or at once if it is there already. The module's code stays untouched.

A finder in front of ``sys.meta_path`` that finds nothing itself: for the one module it waits for it asks the others,
and lends the loader they found an ``exec_module`` that calls back behind the real one. Only the standard library's
import machinery is used. A callback that raises is told to ``on_error`` and never reaches the importer.
"""

import sys
from _thread import get_ident  # `threading` is not loaded yet when an interpreter starts


class _Finder:
    def __init__(self, name, loaded, on_error):
        self.name = name
        self.loaded = loaded
        self.on_error = on_error
        #: Threads that are asking the others, who may ask us in turn. Another thread's import is none of theirs.
        self.asking = set()

    def find_spec(self, fullname, path=None, target=None):
        thread = get_ident()
        if fullname != self.name or thread in self.asking:
            return None
        self.asking.add(thread)
        try:
            spec = self._others(fullname, path, target)
        finally:
            self.asking.discard(thread)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, self)
        return spec

    def _others(self, fullname, path, target):
        for finder in list(sys.meta_path):
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                return spec
        return None

    def executed(self, module):
        # In a list of its own: a thread that goes through the old one would skip a finder.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]
        try:
            self.loaded(module)
        except Exception as error:
            self.on_error(error)


class _Loader:
    """Stands in for the real loader until the module's code has run."""

    def __init__(self, real, finder):
        self._real = real
        self._finder = finder

    def __getattr__(self, name):
        return getattr(self._real, name)

    def create_module(self, spec):
        create = getattr(self._real, "create_module", None)
        return create(spec) if create is not None else None

    def exec_module(self, module):
        # The module must look as if we had never been there.
        if getattr(module, "__spec__", None) is not None:
            module.__spec__.loader = self._real
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._real
        self._real.exec_module(module)
        self._finder.executed(module)


def when_imported(name, loaded, on_error):
    """Calls ``loaded(module)`` once ``name`` has been imported; ``on_error(exception)`` if that raises."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if module is not None and not getattr(spec, "_initializing", False):
        try:
            loaded(module)
        except Exception as error:
            on_error(error)
        return
    if module is not None:
        on_error(RuntimeError(f"{name} is half imported: load the hook earlier"))
        return
    sys.meta_path.insert(0, _Finder(name, loaded, on_error))
