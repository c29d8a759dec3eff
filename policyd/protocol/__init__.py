"""Postfix's policy delegation protocol: bytes to requests, verdicts to bytes."""
