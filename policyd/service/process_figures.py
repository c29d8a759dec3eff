"""What Prometheus's own libraries tell of any process, in the same words."""

import math
import os
import resource
import time
from collections.abc import Iterator

from policyd.clock import WallTime
from policyd.service.exposition import Family, counter, gauge


def of_process(begun: WallTime) -> Iterator[Family]:
    """Yield what Prometheus's own libraries tell of any process."""
    yield counter("process_cpu_seconds_total", "CPU time of the process.", time.process_time())
    yield gauge("process_start_time_seconds", "When the process began.", begun)
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    bound = math.inf if most == resource.RLIM_INFINITY else most
    yield gauge("process_max_fds", "Descriptors the process may have.", bound)
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - not a file on any disk
            size, resident, *_ = file.read().split()
        page = resource.getpagesize()
        descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - no Path is needed
    except OSError:
        return  # there may be no /proc
    yield gauge("process_virtual_memory_bytes", "Address space.", int(size) * page)
    yield gauge("process_resident_memory_bytes", "Memory in use.", int(resident) * page)
    yield gauge("process_open_fds", "Open descriptors.", descriptors)
