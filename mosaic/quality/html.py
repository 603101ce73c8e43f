"""The report as one page without any outside file: readable on a phone, printable, dark or light."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

from mosaic.quality.charts import COLOURS, Chart
from mosaic.quality.checks import VERDICTS, Check, Verdict
from mosaic.quality.pictures import Picture

_WORDS: Final = {"ok": "ok", "look": "look", "bad": "bad", "none": "not measured"}

_STYLE: Final = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1b2430;--soft:#5d6b7a;--line:#dde3ea;--card:#f6f8fa;
--ok:#1a7f37;--look:#9a6700;--bad:#cf222e;--none:#6e7781}
@media(prefers-color-scheme:dark){
:root{--bg:#14191f;--ink:#e6edf3;--soft:#9aa7b4;--line:#2d3640;--card:#1c232b;
--ok:#56d364;--look:#e3b341;--bad:#ff7b72;--none:#8b949e}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.2rem;max-width:64rem;background:var(--bg);
color:var(--ink);font:16px/1.45 system-ui,sans-serif}
h1{font-size:1.5rem;margin:.2rem 0;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2rem 0 .6rem}p{margin:.3rem 0}.soft{color:var(--soft)}a{color:inherit}
.sum{display:flex;gap:.6rem;flex-wrap:wrap;margin:1rem 0}
.sum span{padding:.35rem .8rem;border-radius:1rem;border:1px solid currentColor;font-weight:600}
.ok{color:var(--ok)}.look{color:var(--look)}.bad{color:var(--bad)}.none{color:var(--none)}
.check{border:1px solid var(--line);border-left:5px solid currentColor;border-radius:.4rem;
background:var(--card);padding:.6rem .8rem;margin:.5rem 0;overflow-wrap:anywhere}.check>*{color:var(--ink)}
.check .v{float:right;font-weight:700;margin-left:.6rem}
.check.ok .v{color:var(--ok)}.check.look .v{color:var(--look)}.check.bad .v{color:var(--bad)}
.check.none .v{color:var(--none)}
.check b{font-weight:600}.check .lim{color:var(--soft);font-size:.88rem}.check .adv{margin-top:.3rem}
details{margin-top:.3rem;font-size:.88rem}summary{cursor:pointer;color:var(--soft)}
ul{margin:.3rem 0;padding-left:1.2rem;overflow-wrap:anywhere}figure{margin:1.2rem 0}
figure .f{position:relative;display:inline-block;max-width:100%;background:#20262e;border-radius:.4rem;
overflow:hidden;line-height:0}
figure img{display:block;max-width:100%;max-height:85vh;width:auto;height:auto}
figure .f svg{position:absolute;inset:0;width:100%;height:100%}
figcaption{font-size:.9rem;color:var(--soft);margin-top:.3rem}table{border-collapse:collapse;font-size:.92rem}
td{padding:.15rem .9rem .15rem 0;vertical-align:top;overflow-wrap:anywhere}
.pictures{display:flex;flex-wrap:wrap;gap:0 1rem}.pictures figure{flex:1 1 20rem;min-width:0}
.charts{display:flex;flex-wrap:wrap;gap:1rem}.charts figure{flex:1 1 18rem;max-width:28rem;margin:.6rem 0}
.chart{width:100%;height:auto}.button{display:inline-block;padding:.4rem .9rem;border:1px solid var(--line);
border-radius:.4rem;background:var(--card);text-decoration:none;margin:.4rem 0}
@media(max-width:480px){body{padding:.7rem;font-size:15px}h1{font-size:1.25rem}}
@media print{.check,figure{break-inside:avoid}}
"""
_MANY_OUTLINES = 24


def render(
    title: str,
    facts: Sequence[tuple[str, str]],
    checks: Sequence[Check],
    pictures: Sequence[Picture],
    charts: Sequence[Chart],
    *,
    zoom: str = "",
) -> str:
    """The whole page; `zoom` is the address of the zoomable mosaic, if there is one."""
    counts = {verdict: sum(check.verdict == verdict for check in checks) for verdict in VERDICTS}
    known = {picture.name for picture in pictures} | {chart.name for chart in charts}
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f'<h1>{escape(title)}</h1><p class="soft">{_headline(counts)}</p><div class="sum">',
        *(
            f'<span class="{v}">{counts[v]} {_WORDS[v]}</span>'
            for v in ("bad", "look", "ok", "none")
            if counts[v]
        ),
        "</div>",
        *_attention(checks),
        *(_figure(picture) for picture in pictures if not picture.group),
        *([f'<a class="button" href="{escape(zoom)}">Zoom into the mosaic</a>'] if zoom else []),
        "<h2>Run</h2><table>",
        *(f'<tr><td class="soft">{escape(name)}</td><td>{escape(value)}</td></tr>' for name, value in facts),
        "</table>",
    ]
    for group in dict.fromkeys(check.group for check in checks):
        parts.append(f"<h2>{escape(group)}</h2>")
        parts += [_row(check, known) for check in checks if check.group == group]
        parts += _drawn([chart for chart in charts if chart.group == group])
        own = [_figure(picture) for picture in pictures if picture.group == group]
        parts += ['<div class="pictures">', *own, "</div>"] if own else []
    parts.append("</body></html>")
    return "\n".join(parts)


def _headline(counts: Mapping[Verdict, int]) -> str:
    if counts["bad"]:
        return "Something is wrong: see the first rows."
    if counts["look"]:
        return "Usable, with points worth a look."
    return "Nothing to complain about."


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


def _row(check: Check, pictures: set[str]) -> str:
    advice = f'<div class="adv">&rarr; {escape(check.advice)}</div>' if check.advice else ""
    details = ""
    if check.details:
        lines = "".join(f"<li>{escape(line)}</li>" for line in check.details)
        n = len(check.details)
        details = f"<details><summary>{n} detail{'s' * (n > 1)}</summary><ul>{lines}</ul></details>"
    limit = f"should be: {escape(check.limit)}"
    if check.picture in pictures:
        limit += f' &middot; <a href="#picture-{check.picture}">picture</a>'
    return (
        f'<div class="check {check.verdict}" id="{check.name}"><span class="v">{_WORDS[check.verdict]}</span>'
        f"<b>{escape(check.title)}</b><div>{escape(check.shown)}</div>"
        f'<div class="lim">{limit}</div>{advice}{details}</div>'
    )


def _drawn(charts: Sequence[Chart]) -> list[str]:
    if not charts:
        return []
    figures = (
        f'<figure id="picture-{c.name}">{c.svg}<figcaption>{escape(c.title)}</figcaption></figure>'
        for c in charts
    )
    return ['<div class="charts">', *figures, "</div>"]


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.data).decode("ascii")
    nx, ny = picture.size_xy
    faint = f' stroke-opacity="{min(1.0, _MANY_OUTLINES / max(1, len(picture.outlines))):.2f}"'
    lines = "".join(
        f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in outline)}" fill="none"{faint} '
        f'stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="1.2" vector-effect="non-scaling-stroke"/>'
        for number, outline in picture.outlines
    )
    overlay = f'<svg viewBox="0 0 {nx} {ny}" preserveAspectRatio="none">{lines}</svg>' if lines else ""
    legend = f" ({escape(picture.legend)})" if picture.legend else ""
    return (
        f'<figure id="picture-{picture.name}"><div class="f"><img alt="{escape(picture.title)}" '
        f'width="{nx}" height="{ny}" src="data:image/{picture.kind};base64,{data}">{overlay}</div>'
        f"<figcaption>{escape(picture.title)}{legend}</figcaption></figure>"
    )
