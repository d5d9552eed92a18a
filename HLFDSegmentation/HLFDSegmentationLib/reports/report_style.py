"""How a report looks: on a screen, light or dark, and on paper."""

STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1b1f24; --quiet: #57606a; --line: #d8dee4;
  --card: #f6f8fa; --banner: #0b4f79; --banner-text: #ffffff; --warning: #b3261e; --warning-back: #fdeceb;
  --notes: #9a6700; --notes-back: #fff8e1; }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --text: #e6e9ec; --quiet: #9aa4ae; --line: #343b42;
  --card: #1e2327; --banner: #9fd3f5; --banner-text: #0a2231; --warning: #ff8a80; --warning-back: #3a1614;
  --notes: #f2c14e; --notes-back: #332a10; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 32px 24px 48px; }
h1 { margin: 0; font-size: 28px; line-height: 1.2; }
h2 { margin: 36px 0 12px; padding-bottom: 6px; border-bottom: 1px solid var(--line); font-size: 20px; }
h3 { margin: 28px 0 4px; font-size: 17px; }
p { margin: 8px 0; max-width: 80ch; }
.name { font-size: 17px; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); font-size: 13px; }
.banner { max-width: none; margin: 20px 0; padding: 12px 16px; border-radius: 6px; background: var(--banner);
  color: var(--banner-text); font-weight: 600; font-size: 17px; }
.warning, .notes { margin: 16px 0; padding: 10px 16px; border-left: 6px solid; border-radius: 4px; }
.warning { border-color: var(--warning); background: var(--warning-back); font-size: 16px; font-weight: 600; }
.notes { border-color: var(--notes); background: var(--notes-back); }
.warning h2, .notes h2 { margin: 0; padding: 0; border: 0; font-size: 16px; }
.warning h2 { color: var(--warning); }
.notes h2 { color: var(--notes); }
.warning ul, .notes ul { margin: 4px 0; padding-left: 20px; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); text-align: right; vertical-align: bottom; }
th:first-child, td.lesion { text-align: left; }
thead th { color: var(--quiet); font-size: 13px; }
thead small { display: block; font-weight: 400; }
tbody th, tbody td { white-space: nowrap; }
tbody th { font-weight: 600; }
tbody th.lesion, td.lesion { padding-left: 34px; font-weight: 400; }
.readings th, .readings td { text-align: left; vertical-align: top; white-space: normal; }
.readings td:last-child { width: 45%; white-space: pre-line; overflow-wrap: anywhere; }
.absent { color: var(--quiet); }
.swatch { display: inline-block; width: 13px; height: 13px; margin-right: 8px; border-radius: 3px;
  border: 1px solid #0004; vertical-align: -1px; }
.legend > span { margin-right: 14px; }
.legend > .swatch { margin-right: 6px; }
figure { margin: 0; break-inside: avoid; }
figcaption { margin-top: 6px; }
figcaption b + .quiet, .layers .quiet { display: block; }
img { display: block; width: 100%; height: auto; border-radius: 4px; background: #000; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 20px; }
.layers { display: grid; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); gap: 16px; margin: 12px 0; }
.frame { position: relative; }
.side { position: absolute; color: #fff; font: 600 13px/1 system-ui, sans-serif; text-shadow: 0 0 3px #000; }
.side.R { left: 6px; top: 50%; } .side.L { right: 6px; top: 50%; }
.side.A { left: 50%; top: 6px; } .side.P { left: 50%; bottom: 6px; }
.colors { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; max-width: none; }
.bar { width: 160px; height: 12px; border-radius: 3px; }
.chart { max-width: 620px; margin: 16px 0; }
svg { display: block; width: 100%; height: auto; margin-top: 4px; }
svg text { fill: var(--text); font-size: 12.5px; }
.grid { stroke: var(--line); }
.base { stroke: var(--quiet); } circle.base { fill: var(--quiet); stroke: none; }
.chance { stroke: var(--quiet); stroke-dasharray: 4 3; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 0; }
dt { grid-column: 1; color: var(--quiet); }
dd { grid-column: 2; margin: 0; overflow-wrap: anywhere; }
@media print { :root { color-scheme: light; --back: #ffffff; --text: #000000; --quiet: #444444; --line: #cccccc;
  --banner: #0b4f79; --banner-text: #ffffff; --warning: #b3261e; --warning-back: #fdeceb; --notes: #9a6700;
  --notes-back: #fff8e1; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { max-width: none; padding: 0; } body { font-size: 11pt; }
  h2, h3 { break-after: avoid; } tr { break-inside: avoid; }
  .scroll { overflow: visible; } table { font-size: 9pt; } thead th { font-size: 8pt; } th, td { padding: 3px 5px; }
  tbody th, tbody td { white-space: normal; }
  .pictures { grid-template-columns: repeat(2, 1fr); } .layers { grid-template-columns: repeat(3, 1fr); } }
"""

WIDE_STYLE = """
@media print { @page { size: landscape; margin: 10mm; } table, thead th { font-size: 6pt; } th, td { padding: 2px; } }
"""
"""For pages whose tables have many columns: no column is left out on paper."""
