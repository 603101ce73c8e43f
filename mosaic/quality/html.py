"""The report as one page without any outside file: readable on a phone, printable, dark or light."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from mosaic.quality.alignment import Fit
from mosaic.quality.checks import VERDICTS, Check
from mosaic.quality.pictures import Picture

_WORDS: Final = {"ok": "ok", "look": "look", "bad": "bad", "none": "not measured"}

_STYLE: Final = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1b2430;--soft:#5d6b7a;--line:#dde3ea;--card:#f6f8fa;
--ok:#1a7f37;--look:#9a6700;--bad:#cf222e;--none:#6e7781}
@media(prefers-color-scheme:dark){:root{--bg:#14191f;--ink:#e6edf3;--soft:#9aa7b4;--line:#2d3640;--card:#1c232b;
--ok:#56d364;--look:#e3b341;--bad:#ff7b72;--none:#8b949e}}
*{box-sizing:border-box}body{margin:0 auto;padding:1.2rem;max-width:70rem;background:var(--bg);color:var(--ink);
font:16px/1.45 system-ui,sans-serif}h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.15rem;margin:2rem 0 .6rem}
p{margin:.3rem 0}.soft{color:var(--soft)}.sum{display:flex;gap:.6rem;flex-wrap:wrap;margin:1rem 0}
.sum span{padding:.35rem .8rem;border-radius:1rem;border:1px solid currentColor;font-weight:600}
.ok{color:var(--ok)}.look{color:var(--look)}.bad{color:var(--bad)}.none{color:var(--none)}
.check{border:1px solid var(--line);border-left:5px solid currentColor;border-radius:.4rem;background:var(--card);
padding:.6rem .8rem;margin:.5rem 0}.check>*{color:var(--ink)}.check .v{float:right;font-weight:700;margin-left:.6rem}
.check.ok .v{color:var(--ok)}.check.look .v{color:var(--look)}.check.bad .v{color:var(--bad)}.check.none .v{color:var(--none)}
.check b{font-weight:600}.check .lim{color:var(--soft);font-size:.88rem}.check .adv{margin-top:.3rem}
details{margin-top:.3rem;font-size:.88rem}summary{cursor:pointer;color:var(--soft)}
ul{margin:.3rem 0;padding-left:1.2rem;overflow-wrap:anywhere}figure{margin:1.2rem 0}
figure .f{position:relative;background:#20262e;border-radius:.4rem;overflow:hidden}
figure img{display:block;width:100%;image-rendering:auto}figure svg{position:absolute;inset:0;width:100%;height:100%}
figcaption{font-size:.9rem;color:var(--soft);margin-top:.3rem}table{border-collapse:collapse;font-size:.92rem}
td{padding:.15rem .9rem .15rem 0;vertical-align:top;overflow-wrap:anywhere}.chart{width:100%;max-width:40rem;height:auto}
@media(max-width:480px){body{padding:.7rem;font-size:15px}h1{font-size:1.25rem}}
"""
_COLOURS: Final = ("#ffb000", "#4fc3f7", "#7ee081", "#ff7f6e", "#c792ea", "#f4e04d")


def render(
    title: str,
    facts: Sequence[tuple[str, str]],
    checks: Sequence[Check],
    pictures: Sequence[Picture],
    fits: Sequence[Fit],
) -> str:
    """The whole page."""
    counts = {verdict: sum(check.verdict == verdict for check in checks) for verdict in VERDICTS}
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f'<h1>{escape(title)}</h1><p class="soft">{_headline(counts)}</p><div class="sum">',
        *(f'<span class="{v}">{counts[v]} {_WORDS[v]}</span>' for v in ("ok", "look", "bad", "none") if counts[v]),
        "</div>",
        *_attention(checks),
        *(_figure(picture) for picture in pictures if picture.name == "science"),
        "<h2>Run</h2><table>",
        *(f'<tr><td class="soft">{escape(name)}</td><td>{escape(value)}</td></tr>' for name, value in facts),
        "</table>",
    ]
    for group in dict.fromkeys(check.group for check in checks):
        parts.append(f"<h2>{escape(group)}</h2>")
        if group == "Alignment" and any(fit.n for fit in fits):
            parts.append(residual_chart(fits))
        parts += [_row(check) for check in checks if check.group == group]
        parts += [_figure(p) for p in pictures if p.name != "science" and _group_of(p.name) == group]
    parts.append("</body></html>")
    return "\n".join(parts)


def _headline(counts: dict[str, int]) -> str:
    if counts["bad"]:
        return "Something is wrong: see the first rows."
    if counts["look"]:
        return "Usable, with points worth a look."
    return "Nothing to complain about."


def _group_of(picture: str) -> str:
    return {
        "weight": "Weights and holes", "depth": "Weights and holes", "cosmic_rays": "Cosmic rays",
        "stars": "Stars and fluxes",
    }.get(picture, "")  # fmt: skip


def _attention(checks: Sequence[Check]) -> Iterable[str]:
    urgent = [check for verdict in ("bad", "look") for check in checks if check.verdict == verdict]
    if urgent:
        yield "<h2>What to look at</h2><ul>"
        for check in urgent:
            yield (
                f'<li><a class="{check.verdict}" href="#{check.name}">{escape(check.title)}</a>: '
                f"{escape(check.shown)}</li>"
            )
        yield "</ul>"


def _row(check: Check) -> str:
    advice = f'<div class="adv">&rarr; {escape(check.advice)}</div>' if check.advice else ""
    details = ""
    if check.details:
        lines = "".join(f"<li>{escape(line)}</li>" for line in check.details)
        n = len(check.details)
        details = f"<details><summary>{n} detail{'s' * (n > 1)}</summary><ul>{lines}</ul></details>"
    return (
        f'<div class="check {check.verdict}" id="{check.name}"><span class="v">{_WORDS[check.verdict]}</span>'
        f"<b>{escape(check.title)}</b><div>{escape(check.shown)}</div>"
        f'<div class="lim">should be: {escape(check.limit)}</div>{advice}{details}</div>'
    )


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    nx, ny = picture.size_xy
    lines = "".join(
        f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in outline)}" fill="none" '
        f'stroke="{_COLOURS[number % len(_COLOURS)]}" stroke-width="1.5" vector-effect="non-scaling-stroke"/>'
        for number, outline in enumerate(picture.outlines)
    )
    overlay = f'<svg viewBox="0 0 {nx} {ny}" preserveAspectRatio="none">{lines}</svg>' if lines else ""
    legend = f" ({escape(picture.legend)})" if picture.legend else ""
    return (
        f'<figure id="picture-{picture.name}"><div class="f"><img alt="{escape(picture.title)}" '
        f'src="data:image/png;base64,{data}">{overlay}</div>'
        f"<figcaption>{escape(picture.title)}{legend}</figcaption></figure>"
    )


def residual_chart(fits: Sequence[Fit], limit_px: float = 0.1) -> str:
    """Mean shift of every exposure with its scatter, and the circle of the limit, as vector graphics."""
    shown = [fit for fit in fits if fit.n]
    reach = max([2.0 * limit_px, *(abs(float(v)) + float(r) for f in shown for v, r in zip(f.mean, f.rms, strict=True))])
    reach *= 1.15
    size, middle = 400.0, 200.0
    unit = middle / reach
    parts = [
        f'<figure><svg class="chart" style="position:static" viewBox="0 0 {size:.0f} {size:.0f}" role="img" '
        'aria-label="shift of each exposure">',
        f'<g stroke="currentColor" stroke-opacity=".25"><path d="M0 {middle}H{size}M{middle} 0V{size}"/></g>',
        f'<circle cx="{middle}" cy="{middle}" r="{limit_px * unit:.1f}" fill="none" stroke="var(--ok)" '
        'stroke-dasharray="4 3"/>',
    ]
    for number, fit in enumerate(shown):
        x, y = middle + float(fit.mean[0]) * unit, middle - float(fit.mean[1]) * unit
        rx, ry = (float(v) * unit for v in fit.rms)
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(
            f'<g stroke="{colour}" fill="{colour}"><path d="M{x - rx:.1f} {y:.1f}h{2 * rx:.1f}M{x:.1f} {y - ry:.1f}'
            f'v{2 * ry:.1f}" stroke-width="1.5"/><circle cx="{x:.1f}" cy="{y:.1f}" r="4"/></g>'
        )
        if len(shown) <= 12:
            parts.append(
                f'<text x="{x + 7:.1f}" y="{y - 6:.1f}" font-size="12" fill="currentColor">{escape(fit.name)}</text>'
            )
    parts.append(
        f'<text x="8" y="{size - 8:.0f}" font-size="12" fill="currentColor">edge: {reach:.2f} px; dashed: '
        f"{limit_px:g} px</text></svg><figcaption>Mean shift of each exposure against the median, and the scatter "
        "of its stars</figcaption></figure>"
    )
    return "".join(parts)
