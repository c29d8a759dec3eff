"""The command ``policyd``."""
