"""Style: the one style sheet of the HTML report; light and dark, from 320 pixels to print."""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root { color-scheme: light dark; --paper: #fbfbf9; --card: #fff; --ink: #1c2127; --soft: #57606a; --line: #e1e3e6;
  --grid: #ebecee; --pass: #1a7f37; --fail: #b91c1c; --none: #8a5a00; --error: #7434b3; --fail-back: #fdf0ef;
  --answered: #3273b8; --refused: #a8650f; --failed: #c0362c; --unanswered: #6b7280; --p95: #8b3fa8;
  --shade: rgb(190 60 40 / .10); --open: #c0362c; --half: #a8650f; --closed: #5f8f6d; --in: #fff; --link: #1f5fa8; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181c; --card: #1c2025; --ink: #e6e8eb; --soft: #a3acb6;
  --line: #343a41; --grid: #2a2f35; --pass: #57c274; --fail: #ff8078; --none: #e5b454; --error: #c79bff;
  --fail-back: #2c1d1d; --answered: #5f9fe0; --refused: #d9a04a; --failed: #e8675c; --unanswered: #9aa3ad;
  --p95: #c88be0; --shade: rgb(255 120 100 / .13); --open: #d9564b; --half: #d9a04a; --closed: #55775f; --in: #15181c;
  --link: #85b7f0; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
  overflow-wrap: anywhere; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.65rem; line-height: 1.25; margin: 0 0 .25rem; text-wrap: balance; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 0; }
h3 { font-size: 1rem; margin: 1.75rem 0 .25rem; }
h4 { font-size: .875rem; margin: .9rem 0 0; font-weight: 600; } .card h4 { margin: 0 0 .25rem; }
p { margin: .25rem 0; max-width: 46rem; }
a { color: var(--link); }
code, .code { font: .875em/1.45 ui-monospace, monospace; }
.soft, small { color: var(--soft); }
small { font-size: .8125rem; }
header p { max-width: none; text-wrap: pretty; }
header { border-bottom: 1px solid var(--line); padding-bottom: 1rem; margin-bottom: 1rem; }
.sign { display: inline-block; font-weight: 600; white-space: nowrap; }
.pass { color: var(--pass); } .fail { color: var(--fail); } .no-verdict { color: var(--none); }
.error { color: var(--error); } .not-judged { color: var(--soft); }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; font-size: .8125rem; color: var(--soft); }
th, td { padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; padding-right: 1rem; white-space: nowrap; }
.cases td:nth-child(1) { width: 7.5rem; } .cases td:nth-child(2) { width: 13rem; }
.cases td:nth-child(3) { width: 6.5rem; }
section.case { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem;
  margin: 1.5rem 0; }
section.case > header { border: 0; padding: 0; margin: 0; }
.because { border-left: 4px solid currentColor; padding: .5rem .75rem; margin: .75rem 0 0; border-radius: 0 6px 6px 0;
  max-width: none; }
.because span { color: var(--ink); }
.because.fail { background: var(--fail-back); }
.key { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.5rem, 1fr)); gap: .75rem 1rem; margin: 1rem 0 0;
  padding: 0; }
.key div { border-top: 2px solid var(--line); padding-top: .3rem; }
.key dt { font-size: .8125rem; color: var(--soft); } .key dd { margin: 0; font-size: 1.125rem; font-weight: 600;
  font-variant-numeric: tabular-nums; line-height: 1.3; }
ul.findings { list-style: none; margin: .25rem 0 0; padding: 0; }
ul.findings li { display: grid; grid-template-columns: 1.5rem 1fr; padding: .2rem 0; }
ul.findings .what { display: block; color: var(--soft); font-size: .8125rem; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; margin: .1rem 0 .3rem; padding: 0; list-style: none;
  font-size: .8125rem; color: var(--soft); }
.legend svg { display: inline; width: 18px; height: 10px; margin-right: .35rem; vertical-align: 0; }
figure { margin: .5rem 0 0; } figcaption { font-size: .8125rem; color: var(--soft); max-width: 46rem; }
.chart, .lane { display: block; overflow: visible; font: 11.5px system-ui, sans-serif;
  font-variant-numeric: tabular-nums; }
.chart text, .lane text { fill: var(--soft); }
.plot { padding-left: 2.75rem; } .plot figcaption, .plot .lane-name { margin-left: -2.75rem; }
.chart .mark + text { paint-order: stroke; stroke: var(--card); stroke-width: 3px; stroke-linejoin: round; }
.axis { stroke: var(--soft); stroke-width: 1; opacity: .6; } .grid { stroke: var(--grid); stroke-width: 1; }
.shade { fill: var(--shade); } .mark { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 2 3; }
path { stroke: none; }
path.answered, rect.answered { fill: var(--answered); } path.refused, rect.refused { fill: url(#stripe-refused); }
path.failed, rect.failed { fill: url(#stripe-failed); }
path.unanswered, rect.unanswered { fill: url(#stripe-unanswered); }
path.line, path.dots { fill: none; stroke-linecap: round; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
path.line { stroke-width: 2; } path.dots { stroke-width: 6; }
path.p50 { stroke: var(--answered); } path.p95 { stroke: var(--p95); }
path.line.p95 { stroke-dasharray: 5 4; }
path.fit { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 4 4; }
path.leak { stroke: var(--fail); } path.calm { stroke: var(--answered); } path.shown { stroke: var(--unanswered); }
.lane { margin-bottom: .4rem; } .lane rect.closed { fill: var(--closed); } .lane rect.open { fill: var(--open); }
.lane rect.forced-open { fill: var(--open); opacity: .75; }
.lane rect.disabled, .lane rect.metrics-only { fill: var(--soft); }
.lane rect.half-open { fill: var(--half); } .lane rect.odd { fill: var(--unanswered); }
.lane rect.fault { fill: var(--fail); opacity: .8; }
.lane text.in { fill: var(--in); font-weight: 600; } .lane-name { font-size: .8125rem; color: var(--soft); margin: 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: .75rem; margin: .5rem 0 0; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: .6rem .75rem .4rem; min-width: 0; }
.card.leaks { border-color: var(--fail); background: var(--fail-back); }
.card p { margin: 0; font-size: .8125rem; }
ol.steps { list-style: none; margin: .25rem 0 0; padding: 0; }
ol.steps li { display: grid; grid-template-columns: 1.5rem minmax(0, 1fr) auto; gap: 0 .25rem; padding: .3rem 0;
  border-bottom: 1px solid var(--line); }
ol.steps .bar { grid-column: 2; height: 4px; border-radius: 2px; background: var(--answered); min-width: 2px; }
ol.steps .took { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; color: var(--soft);
  font-size: .875rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1rem;
  margin: .75rem 0 0; }
.pictures figure { margin: 0; min-width: 0; } .pictures img { width: 100%; height: auto; border: 1px solid var(--line);
  border-radius: 6px; display: block; }
details { margin: .5rem 0 0; overflow-x: auto; } details .stack td:first-child { min-width: 12rem; }
summary { cursor: pointer; color: var(--link); font-size: .875rem; padding: .2rem 0; }
details table { font-size: .8125rem; }
dl.plain { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem;
  margin: .25rem 0 0; } dl.plain dt { color: var(--soft); } dl.plain dd { margin: 0; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
@media (max-width: 640px) {
  main { padding: 1rem .75rem 3rem; } section.case { padding: 1rem .75rem; } h1 { font-size: 1.35rem; }
  table.stack, .stack tbody, .stack tr, .stack td { display: block; width: auto !important; }
  .stack thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .stack tr { border-bottom: 1px solid var(--line); padding: .5rem 0; } .stack td { border: 0; padding: .05rem 0; }
  .stack td.n { text-align: left; white-space: normal; }
  .stack td[data-label]::before { content: attr(data-label) ": "; color: var(--soft); font-size: .8125rem; }
  details table { font-size: .75rem; } details th, details td { padding: .25rem .4rem .25rem 0; }
  td.n, th.n { padding-right: .4rem; } .pictures { grid-template-columns: minmax(0, 1fr); }
  dl.plain { grid-template-columns: 1fr; gap: 0; } dl.plain dd { margin-bottom: .4rem; }
}
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #000; --soft: #444; } body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; } section.case { border-width: 1px 0 0; border-radius: 0; padding: 1rem 0; }
  figure, .card, li, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } details:not([open]) { display: none; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

PATTERNS: Final = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    # Lines along x only: stretching a drawing sideways leaves them as they are.
    '<pattern id="stripe-refused" width="8" height="4" patternUnits="userSpaceOnUse">'
    '<rect width="8" height="4" fill="var(--refused)" opacity=".45"/>'
    '<rect width="8" height="2" fill="var(--refused)"/></pattern>'
    '<pattern id="stripe-failed" width="8" height="8" patternUnits="userSpaceOnUse">'
    '<rect width="8" height="8" fill="var(--failed)"/></pattern>'
    '<pattern id="stripe-unanswered" width="8" height="6" patternUnits="userSpaceOnUse">'
    '<rect width="8" height="2" fill="var(--unanswered)"/></pattern>'
    "</defs></svg>"
)
"""Fills that differ without colour; drawings refer to them by id."""
