"""docs/performance.md from whatever was measured so far; a case that was not run is named as such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench import figures
from tests.bench.contenders import CORES
from tests.bench.figures import (
    ABSENT,
    Target,
    change_of_increment,
    increments,
    mebibytes,
    median,
    number,
    ratio,
    repeated,
    table,
)
from tests.bench.jobs import JOBS

Content = Mapping[str, Any]
PEER = "DrizzlePac"
_HEAD = """# Performance

Written by `make bench` (`python -m tests.bench`); do not edit. Every program combines the same simulated
exposures on the same machine, one after the other in each round; figures are medians of the repeats, with
their range in brackets. Wall time is that of the whole command, from start to exit, imports included, with
compiled kernels and the inputs in the page cache. Processor time is user and system time of all processes.
Ratios above 1 are in favour of mosaic.

Memory is the largest sum of proportional set sizes (PSS) of all processes, sampled every half second in the
first round (the other rounds run unwatched), and beside it the exact peak resident size of the largest single
process. Disk is what the processes wrote according to the kernel, temporary files included, and what they
left besides copies of their inputs.
"""
_QUICK = """
> **Quick run on small chips: it tries the harness. The figures say nothing about speed.**
"""
_OTHERS = f"""
What the others do not do: SWarp (resampling with Lanczos-3, background subtraction, median of all images)
and reproject (bilinear, weighted mean) identify no cosmic rays in the exposures, need single-extension images
with a polynomial distortion (made beforehand, not timed; the look-up tables are lost: about 0.05 pixel) and
interpolate instead of drizzling: neither pixfrac, nor context, nor weights that follow the overlap.
DrizzlePac runs with `num_cores={CORES}`, `clean=True`, `preserve=False`, with the images in memory and on
disk; mosaic with `--cores {CORES}`; SWarp with `NTHREADS {CORES}`; reproject has one thread.
"""


def costs(row: Content, name: str) -> list[float]:
    """One measured quantity of all runs of a row."""
    return [run["measured"][name] for run in row["runs"]]


def middle(row: Content | None, name: str) -> float | None:
    """Median of a quantity; None when the row is absent or failed before its first run."""
    return median(costs(row, name)) if row else None


def fastest_peer(rows: Mapping[str, Content], name: str = "seconds") -> float | None:
    """Median of the faster variant of DrizzlePac."""
    found = [middle(row, name) for program, row in rows.items() if program.startswith(PEER)]
    return min((value for value in found if value is not None), default=None)


def peak_bytes(row: Content | None) -> float | None:
    """Largest memory seen: sampled over all processes, or exact of the largest one."""
    if not row or not row["runs"]:
        return None
    return max([*costs(row, "peak_pss_bytes"), *costs(row, "largest_rss_bytes")])


def written_ratio(row: Content | None) -> float | None:
    """Bytes written over the size of the products."""
    if not row or not row["runs"]:
        return None
    products = median([run["product_bytes"] for run in row["runs"]])
    written = [max(run["measured"]["written_bytes"], run["left_bytes"]) for run in row["runs"]]
    return ratio(median(written), products)


def stage_seconds(row: Content, name: str) -> float | None:
    """Median of a step over the runs that report it."""
    return median([run["stages"][name] for run in row["runs"] if name in run["stages"]])


OUR_TASKS = (
    "Static Mask", "Subtract Sky", "Separate Drizzle", "Create Median", "Blot and Driz_CR", "Final Drizzle",
)  # fmt: skip
TOTAL = "Total (wall clock)"
SERIAL = ("Initialization", "Export", "Report")
THEIR_STEPS: Mapping[str, tuple[str, ...]] = {
    "Initialization": ("Initialization",),
    "Static Mask": ("Static Mask",),
    "Subtract Sky": ("Subtract Sky",),
    "Separate Drizzle": ("Separate Drizzle",),
    "Create Median": ("Create Median",),
    "Blot and Driz_CR": ("Blot", "Driz_CR"),
    "Final Drizzle": ("Final Drizzle",),
    "Export": (),
    "Report": (),
    TOTAL: ("Total",),
}
"""Our step -> theirs."""


def overhead_of(row: Content | None, n_parallel: int) -> float | None:
    """Median share of the wall time that went neither into tasks nor into planning and export."""
    if not row:
        return None
    shares = [
        figures.overhead(
            run["stages"][TOTAL],
            sum(run["stages"].get(name, 0.0) for name in SERIAL),
            sum(run["stages"].get(name, 0.0) for name in OUR_TASKS),
            n_parallel,
        )
        for run in row["runs"]
        if TOTAL in run["stages"]
    ]
    return median(shares)


def targets(cases: Mapping[str, Content]) -> list[Target]:
    """Every figure that was promised beside what was measured."""
    four, sixteen = (_rows(cases, name) for name in ("job-acs4", "job-acs16"))
    ours, ours16 = four.get("mosaic"), sixteen.get("mosaic")
    kernels = cases.get("kernels", {})
    counts = cases.get("exposures", {}).get("rows", [])
    last = next((row for row in counts if row["n"] == 64), None)
    used = [(row["n"], middle(row, "cpu_seconds")) for row in counts if row["runs"]]
    costs_known = [cost for _, cost in used if cost is not None]
    driver = {row["cores"]: row for row in cases.get("overhead", {}).get("rows", [])}
    one = driver.get(1)
    wall, cpu = middle(ours, "seconds"), middle(ours, "cpu_seconds")
    swarp = ratio(middle(four.get("SWarp"), "seconds"), wall)
    change = change_of_increment([n for n, _ in used], costs_known)
    peak = peak_bytes(last)
    return [
        Target("4 x ACS/WFC, wall, DrizzlePac / mosaic", ratio(fastest_peer(four), wall), 10.0, True),
        Target(
            "4 x ACS/WFC, CPU, DrizzlePac / mosaic", ratio(fastest_peer(four, "cpu_seconds"), cpu), 6.0, True
        ),
        Target(
            "16 x ACS/WFC, wall, DrizzlePac / mosaic",
            ratio(fastest_peer(sixteen), middle(ours16, "seconds")),
            12.0,
            True,
        ),
        Target("4 x ACS/WFC, wall, SWarp / mosaic", swarp, 1.0, True),
        *_kernel_targets(kernels),
        *_thread_targets(kernels),
        Target("memory, 64 exposures, MiB", None if peak is None else peak / 2**20, 1024.0, False),
        Target("cost of one more exposure, change from few to many", change, 0.10, False),
        Target("disk written / products, 4 x ACS/WFC", written_ratio(ours), 2.0, False),
        Target(
            "driver overhead, one core", overhead_of(one, one["n_parallel"]) if one else None, 0.03, False
        ),
    ]


def _kernel_targets(kernels: Content) -> list[Target]:
    def of(group: str, name: str) -> float | None:
        return median(kernels.get(group, {}).get(name, []))

    with_map = {"square": 0.35, "turbo": 0.7, "blot poly5": 0.35}
    without = {"square": 0.5, "turbo": 0.4}
    return [
        *(
            Target(
                f"{name}, map included, mosaic / DrizzlePac",
                ratio(of("ours", name), of(PEER, name)),
                x,
                False,
            )
            for name, x in with_map.items()
        ),
        *(
            Target(
                f"{name} without map, mosaic / C drizzle",
                ratio(of("without map", name), of("library", name)),
                x,
                False,
            )
            for name, x in without.items()
        ),
    ]


def _thread_targets(kernels: Content) -> list[Target]:
    gains = {name: median(values) for name, values in kernels.get("threads", {}).items()}
    worst = min((gain for gain in gains.values() if gain is not None), default=None)
    return [Target("two threads, gain of the worst stage", worst, 1.8, True)]


def _rows(cases: Mapping[str, Content], name: str) -> Mapping[str, Content]:
    found: Mapping[str, Content] = cases.get(name, {}).get("rows", {})
    return found


def write(content: Content, images: Sequence[str], *, is_quick: bool) -> str:
    """Text of the page."""
    cases = content["cases"]
    parts = [_HEAD]
    if is_quick:
        parts.append(_QUICK)
    parts += ["## Machine and versions\n", *_facts(content)]
    parts += [
        "\n## Targets\n",
        *table(["figure", "target", "measured", ""], [t.cells() for t in targets(cases)]),
    ]
    parts += [f"\n![{name}]({name})" for name in images]
    parts += ["\n## Whole jobs", _OTHERS]
    for name, job in JOBS.items():
        parts += [f"\n### {job.title}\n", *(_job(cases[name]) if name in cases else ["Not run."])]
    for title, name, section in (
        ("Kernels", "kernels", _kernels),
        ("Number of exposures", "exposures", _exposures),
        ("Area of the mosaic", "area", _areas),
        ("The driver", "overhead", _overheads),
        ("Starting", "start", _starts),
    ):
        parts += [f"\n## {title}\n", *(section(cases[name]) if name in cases else ["Not run."])]
    runs = [[name, case["when"], f"{case['load']:.2f}"] for name, case in cases.items()]
    parts += ["\n## When\n", *table(["case", "ended", "load then"], runs), ""]
    return "\n".join(parts)


def _facts(content: Content) -> list[str]:
    rows = [[name, value] for name, value in content["machine"].items()]
    rows += [[name, value] for name, value in content["versions"].items()]
    return table(["what", "value"], rows)


def _job(case: Content) -> list[str]:
    rows = case["rows"]
    ours = rows.get("mosaic")
    lines = []
    for name, row in rows.items():
        if not row["runs"]:
            lines.append([name, row["error"] or "not run", *[ABSENT] * 9])
            continue
        first = row["runs"][0]
        products = median([run["product_bytes"] for run in row["runs"]])
        lines.append(
            [
                name + (f" ({row['error']})" if row["error"] else ""),
                repeated(costs(row, "seconds")),
                number(ratio(middle(row, "seconds"), middle(ours, "seconds"))),
                repeated(costs(row, "cpu_seconds")),
                number(ratio(middle(row, "cpu_seconds"), middle(ours, "cpu_seconds"))),
                mebibytes(first["measured"]["peak_pss_bytes"]),
                mebibytes(max(costs(row, "largest_rss_bytes"))),
                mebibytes(median(costs(row, "written_bytes"))),
                mebibytes(median([run["left_bytes"] for run in row["runs"]])),
                mebibytes(products),
                number(written_ratio(row)),
            ]
        )
    heads = ["program", "wall, s", "/ mosaic", "CPU, s", "/ mosaic", "peak PSS, MiB", "largest RSS, MiB",
             "written, MiB", "left, MiB", "products, MiB", "disk / products"]  # fmt: skip
    return [*table(heads, lines), "", *_stages(rows)]


def _stages(rows: Mapping[str, Content]) -> list[str]:
    ours = rows.get("mosaic")
    peers = [name for name in rows if name.startswith(PEER) and rows[name]["runs"]]
    if not ours or not ours["runs"]:
        return []
    lines = []
    for step, names in THEIR_STEPS.items():
        mine = stage_seconds(ours, step)
        if mine is not None and step in OUR_TASKS:
            mine /= CORES
        cells = [step, number(mine)]
        for peer in peers:
            parts = [stage_seconds(rows[peer], name) for name in names]
            known = [part for part in parts if part is not None]
            theirs = sum(known) if known else None
            cells += [number(theirs), number(ratio(theirs, mine))]
        lines.append(cells)
    heads = ["step, s", f"mosaic (tasks: work / {CORES} cores)"]
    heads += [head for peer in peers for head in (f"{peer} (its own report)", "/ mosaic")]
    return table(heads, lines)


def _kernels(case: Content) -> list[str]:
    ny, nx = case["shape"]
    lines = []
    for name, values in case["ours"].items():
        bare, library, peer = (
            case.get(group, {}).get(name, []) for group in ("without map", "library", PEER)
        )
        lines.append(
            [
                name,
                repeated(values),
                repeated(peer),
                number(ratio(median(values), median(peer))),
                repeated(bare),
                repeated(library),
                number(ratio(median(bare), median(library))),
                repeated(case["threads"].get(name, [])),
            ]
        )
    heads = ["stage", "mosaic, exact map", "DrizzlePac, its map", "ratio", "mosaic, map free",
             "C drizzle, map given", "ratio", "gain of two threads"]  # fmt: skip
    note = [
        f"Nanoseconds of processor time per pixel of one chip of {ny} x {nx}, one core; here ratios below 1",
        "are in favour of mosaic. DrizzlePac interpolates its map in steps of 10 pixels; ours is exact at",
        "every pixel. Map free: an affine map, which leaves the kernel alone, against the C library given",
        "the same positions. The last column is work per second of two threads over that of one. `minmed`",
        "is per pixel of the frame, not of the stack.",
        "",
    ]
    left_out = [f"\n{name}: {reason}" for name, reason in case["errors"].items()]
    return [*note, *table(heads, lines), *left_out]


def _exposures(case: Content) -> list[str]:
    rows = [row for row in case["rows"] if row["runs"]]
    lines = []
    counts, cpu = [row["n"] for row in rows], [middle(row, "cpu_seconds") or 0.0 for row in rows]
    more = [None, *increments(counts, cpu)]
    for row, step in zip(rows, more, strict=True):
        lines.append(
            [
                str(row["n"]),
                repeated(costs(row, "seconds")),
                repeated(costs(row, "cpu_seconds")),
                number(step),
                mebibytes(row["runs"][0]["measured"]["peak_pss_bytes"]),
                mebibytes(max(costs(row, "largest_rss_bytes"))),
            ]
        )
    ny, nx = case["frame"]
    heads = ["exposures", "wall, s", "CPU, s", "CPU of one more", "peak PSS, MiB", "largest RSS, MiB"]
    slope = ""
    if len(rows) > 1:
        memory = [(peak_bytes(row) or 0.0) / 2**20 for row in rows]
        slope = f"Memory grows by {figures.straight_line(counts, memory)[1]:.2f} MiB per exposure."
    failed = [f"\n{row['n']} exposures: {row['error']}" for row in case["rows"] if row["error"]]
    note = f"Small ACS/WFC chips on a fixed frame of {ny} x {nx}, `--memory {case['memory']}`. {slope}\n"
    return [note, *table(heads, lines), *failed]


def _areas(case: Content) -> list[str]:
    lines = []
    for row in case["rows"]:
        ny, nx = row["frame"]
        cells = [row["fields"], f"{ny} x {nx}"]
        for program in row["programs"].values():
            cells += [repeated(costs(program, "seconds")), repeated(costs(program, "cpu_seconds"))]
            cells.append(mebibytes(peak_bytes(program)))
            if program["error"]:
                cells[-3] = program["error"]
        lines.append(cells)
    heads = ["fields", "frame"]
    heads += [f"{name}: {what}" for name in ("mosaic", PEER) for what in ("wall, s", "CPU, s", "peak, MiB")]
    note = "Sixteen exposures of small ACS/WFC chips each time, spread over more and more fields.\n"
    return [note, *table(heads, lines)]


def _overheads(case: Content) -> list[str]:
    lines = []
    for row in case["rows"]:
        share = overhead_of(row, row["n_parallel"])
        wall, inner = middle(row, "seconds"), stage_seconds(row, TOTAL)
        start = None if wall is None or inner is None else wall - inner
        percent = number(None if share is None else 100.0 * share)
        cells = [str(row["cores"]), str(row["n_parallel"]), repeated(costs(row, "seconds")), percent]
        lines.append([*cells, number(start), row["error"] or ""])
    heads = ["cores", "tasks at a time", "wall, s", "overhead, %", "starting Python and imports, s", ""]
    note = (
        "Four ACS/WFC exposures. Overhead is the share of the wall time in which neither tasks nor planning "
        "nor export ran: total - planning - export - work / tasks at a time. With several tasks at a time "
        "that includes waiting at the ends of phases.\n"
    )
    return [note, *table(heads, lines)]


def _starts(case: Content) -> list[str]:
    lines = [
        [row["label"], repeated(row["seconds"]), repeated(row["cpu_seconds"]), row["error"] or ""]
        for row in case["rows"]
    ]
    return table(["command", "wall, s", "CPU, s", ""], lines)
