"""The look of the result page: one style sheet, light and dark, for wide and narrow windows."""

STYLE = """
:root { color-scheme: light dark; --paper: #faf9f6; --card: #fff; --ink: #1c1f21; --soft: #62696d; --line: #e3e0d8;
  --stage: #eceae4; --glow: #fff; --accent: #0a6c74; --c0: #0a6c74; --c1: #c0562b; --c2: #6a55b5; --c3: #7d8a1d;
  --c4: #b0397f; --c5: #3b6fc4; }
@media (prefers-color-scheme: dark) { :root { --paper: #131618; --card: #1b1f22; --ink: #e8e6e1; --soft: #9aa3a8;
  --line: #30363a; --stage: #31383c; --glow: #59636a; --accent: #5cc3c9;
  --c0: #5cc3c9; --c1: #f0916a; --c2: #ab9bf0; --c3: #bccb5a; --c4: #f08cc3; --c5: #82aef5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main, header, footer { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 56px; }
h1 { font-size: clamp(1.8rem, 4vw, 2.7rem); line-height: 1.15; letter-spacing: -.02em; margin: 0 0 12px; }
h2 { font-size: 1.35rem; letter-spacing: -.01em; margin: 0 0 4px; }
header p, section > p, .note { color: var(--soft); max-width: 72ch; margin: 0 0 20px; }
section { margin: 56px 0; }
a { color: var(--accent); }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 8px 0 28px; font-size: .92rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 1px; margin: 0;
  background: var(--card); border: 1px solid var(--line); border-radius: 12px; overflow: hidden; }
.facts div { box-shadow: 0 0 0 1px var(--line); padding: 14px 18px; display: flex; flex-direction: column;
  justify-content: space-between; }
.facts dt { color: var(--soft); font-size: .82rem; }
.facts dd { margin: 0; font-size: 1.55rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.facts small { font-size: .85rem; font-weight: 400; color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 18px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; overflow: hidden; margin: 0; }
.card > img, .card > picture img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain;
  background: radial-gradient(circle at 50% 42%, var(--glow), var(--stage) 78%); }
.card figcaption { padding: 10px 14px 14px; font-size: .88rem; }
.card figcaption strong { display: flex; justify-content: space-between; gap: 8px; }
.beside { display: grid; grid-template-columns: repeat(4, 1fr); gap: 6px; margin-top: 8px; }
.beside span { grid-column: 1 / -1; color: var(--soft); font-size: .8rem; }
.beside img { width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: 6px; background: var(--stage);
  display: block; }
.strips { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); }
.strip { display: grid; gap: 6px; align-content: start; background: var(--card);
  border: 1px solid var(--line); border-radius: 12px; padding: 12px 14px; }
.strip h3 { font-size: .92rem; margin: 0; overflow-wrap: anywhere; }
.strip .row { display: grid; grid-template-columns: 86px 1fr; align-items: center; gap: 6px; }
.strip .row div { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 6px; }
.strip .row span { color: var(--soft); font-size: .82rem; }
.strip img { width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: 6px; background: var(--stage); }
.chart { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px; margin: 0 0 18px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 18px; }
.charts { margin-bottom: 18px; } .charts .chart { margin: 0; }
.chart h3 { font-size: 1rem; margin: 0 0 6px; }
.chart svg { width: 100%; height: auto; display: block; }
.chart p { margin: 6px 0 0; }
svg text { font-size: 13px; fill: var(--soft); }
.grid { stroke: var(--line); }
polyline { fill: none; stroke-linejoin: round; }
.raw { stroke-width: 1; opacity: .3; }
.smooth { stroke-width: 2.4; }
.c0 { --this: var(--c0); } .c1 { --this: var(--c1); } .c2 { --this: var(--c2); } .c3 { --this: var(--c3); }
.c4 { --this: var(--c4); } .c5 { --this: var(--c5); }
polyline { stroke: var(--this); }
.key { margin-right: 18px; font-size: .88rem; white-space: nowrap; }
.key::before { content: ""; display: inline-block; width: 14px; height: 3px; border-radius: 2px; margin: 0 6px 4px 0;
  background: var(--this); }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: 9px 14px; border-top: 1px solid var(--line); vertical-align: top; }
tr:first-child > * { border-top: 0; }
table th { min-width: 240px; }
td.value { text-align: right; font-variant-numeric: tabular-nums; font-weight: 600; white-space: nowrap; }
td.value small { font-weight: 400; color: var(--soft); }
td code, th code { font-size: .82rem; color: var(--soft); overflow-wrap: anywhere; }
.bars { display: grid; gap: 8px; margin: 0; }
.bars div { display: grid; grid-template-columns: minmax(110px, 250px) 1fr 74px; gap: 12px; align-items: center; }
.bars dt, .bars dd { margin: 0; font-size: .9rem; }
.bars dd:last-child { text-align: right; font-variant-numeric: tabular-nums; font-weight: 600; }
.bar { height: 14px; border-radius: 4px; background: var(--soft); opacity: .45; }
.bar.ours { background: var(--accent); opacity: 1; }
details { margin: 20px 0; } summary { cursor: pointer; color: var(--accent); }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px;
  font-size: .82rem; }
footer { color: var(--soft); font-size: .85rem; padding-bottom: 48px; }
@media (max-width: 560px) { .strip .row { grid-template-columns: 60px 1fr; }
  .cards { grid-template-columns: repeat(2, 1fr); gap: 10px; } .bars div { grid-template-columns: 1fr 60px; }
  .bars dt { grid-column: 1 / -1; } main, header, footer { padding-left: 14px; padding-right: 14px; } }
"""
