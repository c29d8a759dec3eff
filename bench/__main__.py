"""Measure everything, or what is named, and write it to bench/results.

python -m bench [--quick] [--only growth,refusing] [--peers] [--policyd PATH] [--core compiled]

Beside a policyd with a compiled core the one here, which is plain Python, is measured as well.
"""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from bench import context, peers, report
from bench.context import Bench
from bench.machine import described
from bench.parts import (
    growth,
    memory,
    pauses,
    refusing,
    stalling,
    starting,
    strangers,
    through_postfix,
)
from bench.subjects import Subjects

PARTS = {
    "growth": growth.run,
    "pauses": pauses.run,
    "refusing": refusing.run,
    "strangers": strangers.run,
    "postfix": through_postfix.run,
    "starting": starting.run,
    "memory": memory.run,
    "stalls": stalling.run,
}
RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a couple of minutes; rough figures")
    parser.add_argument("--only", metavar="NAMES", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--peers", action="store_true", help="beside postfwd, policyd-rate-limit")
    parser.add_argument("--policyd", metavar="PATH", help="another bin/policyd to measure")
    parser.add_argument("--core", choices=("compiled", "python"), help="refuse to measure another")
    parser.add_argument("--results", type=Path, metavar="DIRECTORY")
    args = parser.parse_args()
    results = args.results or (RESULTS / "quick" if args.quick else RESULTS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and stop and tidy up first
    results.mkdir(parents=True, exist_ok=True)
    raw = results / "raw.json"
    found = json.loads(raw.read_text(encoding="utf-8")) if args.only and raw.exists() else {}
    chosen = args.only.split(",") if args.only else list(PARTS)
    if strange := set(chosen) - set(PARTS):
        parser.error(f"there is no {', '.join(strange)}")
    if args.peers:
        peers.unpack()
    scale = context.QUICK if args.quick else context.WHOLE
    with Subjects([args.policyd] if args.policyd else ()) as make, Subjects() as here:
        found["machine"] = described(make)
        core, command = found["machine"]["core"], " ".join(make.policyd_command)
        if args.core not in {None, core}:
            parser.error(f"the core that {command} runs is {core}, not {args.core}")
        is_compiled = core == "compiled"
        if is_compiled and described(here)["core"] != "python":
            parser.error("what is to be measured beside it as not compiled is compiled, too")
        bench = Bench(make, scale, args.peers, here if is_compiled else None)
        for name, run in PARTS.items():
            if name not in chosen:
                continue
            begun = time.monotonic()
            print(f"{name} ...", flush=True)
            found[name] = run(bench)
            print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
            raw.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    report.write(found, results)
    print(f"see {results}/README.md")


if __name__ == "__main__":
    main()
