"""The outer ring: sockets, signals, timers and the log, on Twisted."""
