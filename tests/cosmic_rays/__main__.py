"""``python -m tests.cosmic_rays``: cosmic rays against the truth, beside DrizzlePac: docs/cosmic-rays.md.

What is measured is kept in WORK/results.json; --report-only writes the page from it. Exit status 1 when our
defaults are worse than DrizzlePac's anywhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.cosmic_rays.measure import drizzlepac_masks, mosaic_masks, score
from tests.cosmic_rays.picture import cut_out, draw_example
from tests.cosmic_rays.plots import draw
from tests.cosmic_rays.points import ALL, EXAMPLE, Point
from tests.cosmic_rays.report import find_worse, write_page
from tests.parity.cases import Case
from tests.parity.oracle import Oracle, ensure_oracle
from tests.parity.programs import REPOSITORY, Workshop

REMEDY = {"driz_cr_scale": "2.0 0.7"}
"""What DrizzlePac's users are advised to do for undersampled stars."""
SPARED = {"driz_cr_core": 1.0}


def measure(shop: Workshop, point: Point) -> dict[str, Any]:
    """Score DrizzlePac and mosaic, each as it is by default and as it protects stars."""
    inputs = shop.exposures(point.name)
    rows = {}
    for label, parameters in (("peer", {}), ("peer_scale", REMEDY)):
        run, _ = shop.drizzlepac(Case(f"{point.name}/{label}", point.name, parameters))
        rows[label] = score(inputs, drizzlepac_masks(run)).as_dict()
    for label, parameters in (("mosaic", {}), ("mosaic_core", SPARED)):
        masks = mosaic_masks(inputs, shop.work / "mosaic" / point.name / label, **parameters)
        rows[label] = score(inputs, masks).as_dict()
    return rows


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.cosmic_rays", description=__doc__)
    parser.add_argument("--oracle-python", type=Path, default=REPOSITORY / ".parity-venv" / "bin" / "python")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "cosmic-rays")
    parser.add_argument("--docs", type=Path, default=REPOSITORY / "docs", help="where the page is written")
    parser.add_argument("--report-only", action="store_true", help="write the page from what was measured")
    options = parser.parse_args(arguments)
    options.work = options.work.absolute()
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    record = options.work / "results.json"
    if not options.report_only:
        results = {}
        oracle = Oracle(ensure_oracle(options.oracle_python, REPOSITORY / ".parity-venv"))
        known = {point.name: point.exposures() for point in ALL}
        shop = Workshop(options.work, options.work / "sets", options.work / "absent", oracle, known=known)
        with closing(oracle):
            for point in ALL:
                results[point.name] = measure(shop, point)
                found = results[point.name]["mosaic"]["completeness"]
                print(f"{point.name}: {100 * found:.2f} % of the hits found", flush=True)
            run, _ = shop.drizzlepac(Case(f"{EXAMPLE.name}/peer", EXAMPLE.name))
            inputs = shop.exposures(EXAMPLE.name)
            masks = {"DrizzlePac": drizzlepac_masks(run)}
            for label, parameters in (("mosaic", {}), ("mosaic, driz_cr_core=1", SPARED)):
                masks[label] = mosaic_masks(
                    inputs, shop.work / "mosaic" / "example" / label[-6:], **parameters
                )
            draw_example(cut_out(inputs, masks), options.docs / "img" / "cosmic-rays-example.png")
        record.write_text(json.dumps(results, indent=1))
    results = json.loads(record.read_text())
    draw(results, options.docs / "img" / "cosmic-rays.png")
    write_page(results, options.docs / "cosmic-rays.md")
    worse = find_worse(results)
    for line in worse:
        print(line)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
