"""The benchmark: what policyd costs, beside a service that does nothing and beside others.

What is measured is the policyd that is installed here, or another one. Beside one with a compiled
core, which `make bench` builds, the one here is measured as well where CPU is promised.

*load.c* plays Postfix, *responder.c* and *noop.py* answer DUNNO to everything. *subjects* runs
what is measured, *rules* writes its rules, *measure* asks the same of all, in turns. Each module
under *parts* measures one thing; *report* and *plot* show it beside the bars.
"""

import sys
from pathlib import Path

# the tests' private Postfix is the benchmark's as well
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
