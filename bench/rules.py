"""The rules that are measured: the shipped ones, enforcing, and what one part or other adds."""

from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = REPOSITORY / "etc/policyd/policy.yaml"
NOBODY_LISTENS = "127.0.0.1:9"
UNBOUNDED = 10**9


def shipped() -> dict[str, Any]:
    """Return the shipped rules, enforcing, for the domains of the load generator."""
    rules: dict[str, Any] = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    rules["mode"] = "enforce"
    rules["local"]["domains"].append(".customers.example")
    rules["notices"]["smtp"] = NOBODY_LISTENS
    rules["state"]["max_keys"] = 20_000_000
    rules["state"]["max_memory"] = "16GB"
    return rules


def only(*limits: dict[str, Any]) -> dict[str, Any]:
    """Return rules with these *limits* and no other."""
    rules = shipped()
    rules["limits"] = list(limits)
    return rules


def one(count: str, per: str = "account", window: str = "24h") -> dict[str, Any]:
    """Return a limit that nobody reaches."""
    return {"id": "one", "per": [per], "count": count, "max": UNBOUNDED, "window": window}


def with_strangers(number: int) -> dict[str, Any]:
    """Return the shipped rules and *number* limits more, none of which is about the load."""
    rules = shipped()
    for serial in range(number):
        match = (
            {"sasl_username": f"someone{serial}@mail.example"},
            {"client_address": f"203.0.113.{serial % 256}"},
            {"domain": f"customer{serial}.example"},
            {"sender": f"list{serial}@mail.example"},
        )[serial % 4]
        rules["limits"].append(one("messages") | {"id": f"stranger{serial}", "match": match})
    return rules
