"""The benchmark: what policyd costs, beside a service that does nothing and beside others.

*load.c* plays Postfix, *responder.c* and *noop.py* answer DUNNO to everything. *subjects* runs
what is measured, *rules* writes its rules, *measure* asks the same of all, in turns. Each module
under *parts* measures one thing; *report* and *plot* show it beside the bars.
"""
