"""python -m tests.faults: play every fault at every call and file operation, and judge what is left.

python -m tests.faults                      everything; some hours on two cores
python -m tests.faults api files            some parts: api, files, double, chaos, state files, mutants
python -m tests.faults --replay POINT       one point again, with what its runs said
python -m tests.faults --sample 20          every twentieth point
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from pathlib import Path

from tests.faults import parts, report, sweep
from tests.faults.sweep import digest


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", allow_abbrev=False)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(parts.PARTS)}; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of everything random; the same gives the same digest")
    parser.add_argument("--sample", type=int, default=1, metavar="N", help="every N-th point only")
    parser.add_argument("--replay", metavar="POINT", help="one point only, as a failure named it")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep each part's results here, for a later --write"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="put figures and tables into this document")
    parser.add_argument("--spoil", action="store_true", help="change a stranger's resource at each end: all must fail")
    options = parser.parse_args()
    sweep.SPOIL = options.spoil
    wanted = options.parts or list(parts.PARTS)
    unknown = set(wanted) - set(parts.PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(parts.PARTS)}")
    if options.replay:
        wanted = [parts.part_of(options.replay)]

    def select(point: str) -> bool:
        if options.replay:
            return point == options.replay
        return zlib.crc32(point.encode()) % options.sample == 0

    played = report.kept(options.keep, options.seed, options.sample)
    for name in wanted:
        started = time.monotonic()
        part = parts.PARTS[name](options.seed, select, options.replay is not None)
        part.seconds = time.monotonic() - started
        played[name] = part
        report.keep(options.keep, part, options.seed, options.sample)
        failed = [result for result in part.results if result.failures]
        print(f"{name}: {part.summary()}; {len(failed)} failed; {part.seconds:.0f} s", flush=True)
        for result in failed:
            print(f"\nFAILED {result.point}  {result.call}: {result.kind}, ended {result.ended}")
            for failure in result.failures[:6]:
                print(f"    {failure}")
            seed = f" --seed {options.seed}" if options.seed else ""
            print(f"    again: python -m tests.faults --replay {result.point}{seed}", flush=True)
    ordered = [played[name] for name in parts.PARTS if name in played]
    print(f"digest {digest([one for part in ordered for one in part.results])}, seed {options.seed}")
    if options.write:
        report.write(options.write, ordered, seed=options.seed, sample=options.sample)
    return 1 if any(result.failures for name in wanted for result in played[name].results) else 0


if __name__ == "__main__":
    sys.exit(main())
