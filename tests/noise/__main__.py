"""``python -m tests.noise``: errors against the scatter of blank sky: docs/noise.md.

What is measured is kept in WORK/results.json and not measured again; --report-only writes the page from it,
--again forgets it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.noise.design import ALL, make_set
from tests.noise.measure import measure
from tests.noise.plots import draw
from tests.noise.report import find_missed, write_page

ROOT = Path(__file__).resolve().parents[2]


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.noise", description=__doc__)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "noise")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page is written")
    parser.add_argument("--report-only", action="store_true", help="write the page from what was measured")
    parser.add_argument("--again", action="store_true", help="measure everything anew")
    options = parser.parse_args(arguments)
    options.work = options.work.absolute()
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    record = options.work / "results.json"
    results: dict[str, Any] = {}
    if record.exists() and not options.again:
        results = json.loads(record.read_text())
    for point in ALL if not options.report_only else ():
        if point.name in results:
            continue
        exposures = make_set(options.work / "sets", point.exposures)
        results[point.name] = measure(point, exposures, options.work / "run").as_dict()
        record.write_text(json.dumps(results, indent=1))
        print(f"{point.name}: pixel {results[point.name]['pixel']:.3f}", flush=True)
    draw(results, options.docs / "img" / "noise.png")
    write_page(results, options.docs / "noise.md")
    for name, found in find_missed(results):
        print(f"missed: {name}: pixel {found['pixel']:.3f}, apertures {found['apertures']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
