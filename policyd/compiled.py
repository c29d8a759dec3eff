"""Whether the core was compiled when it was installed (setup.py), or is plain Python."""

import sys
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder

import policyd

_CORE = "policyd.aup.engine"


def core() -> str:
    """Return what the core is that runs here, or would: ``compiled`` or ``python``."""
    loaded = sys.modules.get(_CORE)
    if loaded is not None:
        file = loaded.__file__
    else:
        # a command that needs no core does not take the time to import it
        found = PathFinder.find_spec(_CORE, [f"{where}/aup" for where in policyd.__path__])
        file = None if found is None else found.origin
    return "compiled" if str(file).endswith(tuple(EXTENSION_SUFFIXES)) else "python"
