"""policyd: a Postfix policy delegation daemon that enforces an acceptable-use policy."""

__version__ = "0.1.0"
