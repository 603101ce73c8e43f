"""How a job ended, as a page without scripts; texts of users and files are escaped. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Final

REPORT_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; sandbox"
"""What a browser may do with a report: show it, and nothing else."""
_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color-scheme: light dark; }
td, th { padding: .15rem .8rem .15rem 0; text-align: left; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
li { overflow-wrap: anywhere; }
"""
_MIB: Final = 1 << 20


def render_report(job: str, outcome: dict[str, Any]) -> str:
    """Page of an outcome.

    Parameters
    ----------
    job : str
        Identity of the job.
    outcome : dict
        As the process of the job wrote it.
    """
    error = f"<p role=alert>{html.escape(outcome['error'])}</p>" if outcome["error"] else ""
    parts = [
        error,
        _list("Products", outcome.get("products", ())),
        _times(outcome.get("timings", ())),
        _memory(outcome),
        _list("Set aside", outcome.get("rejected", ())),
        _list("Notes", outcome.get("warnings", ())),
    ]
    title = f"Job {html.escape(job)}"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        f"<h1>{title}</h1>{''.join(parts)}</html>"
    )


def _list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<h2>{title}</h2><ul>{items}</ul>" if lines else ""


def _times(timings: Sequence[tuple[str, float, str]]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(step)}</td><td class=n>{seconds:.2f}</td><td>{html.escape(note)}</td></tr>"
        for step, seconds, note in timings
    )
    head = "<tr><th>Step</th><th class=n>s, all cores</th><th></th></tr>"
    return f"<h2>Time</h2><table>{head}{rows}</table>" if rows else ""


def _memory(outcome: dict[str, Any]) -> str:
    if "peak_bytes" not in outcome:
        return ""
    peak, stated = outcome["peak_bytes"] / _MIB, outcome["stated_bytes"] / _MIB
    return f"<h2>Memory</h2><p>Peak {peak:.0f} MiB, stated before the run {stated:.0f} MiB.</p>"
