"""The look of pages: plain, fluid, dark and light after the reader's own choice, and black on white on paper."""

STYLE = """
:root { color-scheme: light dark; --ink: #1a1d21; --soft: #5c6670; --ground: #f5f6f7; --card: #fff; --rule: #dde1e5;
  --line: #0b62c4; --band: #0b62c41c; --good: #17723b; --warn: #8a5a00; --bad: #b3261e; --badfill: #b3261e1f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5b0; --ground: #111417; --card: #1a1e23;
  --rule: #31383f; --line: #6cb0ff; --band: #6cb0ff2b; --good: #6fd08c; --warn: #f0bd5e; --bad: #ff8a80;
  --badfill: #ff8a8029; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 68rem; padding: 1rem; background: var(--ground); color: var(--ink);
  font: 16px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; } h3 { font-size: 1rem; margin: 0 0 .3rem; }
figure { margin: 0; } p { margin: .3rem 0; } nav a { margin-right: .9rem; white-space: nowrap; } a { color: var(--line); }
nav { margin: .6rem 0; } small, .soft { color: var(--soft); font-size: .85rem; }
code, .key { font: .82rem/1.4 ui-monospace, "DejaVu Sans Mono", monospace; color: var(--soft); }
.grid { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 23rem), 1fr)); }
.tiles { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); margin-top: .8rem; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: .5rem; padding: .8rem; min-width: 0; }
.card + .card { margin-top: .8rem; } .grid .card + .card, .tiles .card + .card { margin-top: 0; }
.tile b { display: block; font-size: 1.35rem; line-height: 1.2; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.tag { font-size: .8rem; font-weight: 600; border: 1px solid currentColor; border-radius: 1rem; padding: 0 .5rem;
  white-space: nowrap; margin-right: .4rem; }
.part th:first-child { width: 32%; } .part th:nth-child(2) { width: 22%; } .part td.num { padding-right: 1rem; }
.part th.num { padding-right: 1rem; } table { width: 100%; border-collapse: collapse; } td, th { text-align: left; padding: .3rem .4rem .3rem 0; vertical-align: top;
  border-top: 1px solid var(--rule); } th { font-size: .8rem; font-weight: 600; color: var(--soft); border-top: 0; }
td.num { text-align: right; font-variant-numeric: tabular-nums; } th.num { text-align: right; }
li small { display: block; } td small { white-space: nowrap; margin-left: .5rem; } ul, ol { margin: .3rem 0; padding-left: 1.2rem; } dl { margin: .4rem 0; }
dt { color: var(--soft); font-size: .8rem; font-weight: 600; margin-top: .4rem; } dd { margin: 0; }
svg { display: block; width: 100%; height: auto; } svg text { font: 11px system-ui, "DejaVu Sans", sans-serif; fill: var(--soft); }
svg .end { text-anchor: end; } svg polyline, svg line, svg .frame { fill: none; vector-effect: non-scaling-stroke; }
svg .frame { stroke: var(--rule); } svg .value { stroke: var(--line); stroke-width: 1.6; stroke-linejoin: round; }
svg .rare { stroke: var(--ink); stroke-width: 1.4; } svg .usual { stroke: var(--soft); stroke-dasharray: 4 3; }
svg .band { fill: var(--band); } svg .limit, svg .bar { stroke: var(--bad); stroke-dasharray: 6 3; }
svg .alarm { fill: var(--badfill); } svg.spark { width: 5rem; height: 1.25rem; display: inline-block; vertical-align: middle; }
.legend span { margin-right: .8rem; white-space: nowrap; }
@media (max-width: 34rem) { body { padding: .7rem; } .spark-cell { display: none; }
  td small { display: block; margin-left: 0; white-space: normal; } td, th { font-size: .85rem; } .part { table-layout: fixed; }
  .part th:first-child { width: 42%; } .part th:nth-child(2) { width: 30%; } }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --ground: #fff; --card: #fff; --rule: #bbb;
  --line: #0b3d91; --band: #0b3d9118; --good: #0a5c2c; --warn: #6b4600; --bad: #a01010; --badfill: #a010101a; }
  body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; } .tile, tr, figure, li, p { break-inside: avoid; }
  h2, h3 { break-after: avoid; } .grid { grid-template-columns: 1fr 1fr; } * { print-color-adjust: exact; } }
"""
