"""The look of the pages: one style sheet, light or dark as the reader's system is.

The colours are variables, which the plots use by class; a plot in a file of its own falls back to
the colours in its attributes.
"""

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #222222; --dim: #666666;
  --rule: #e3e3e3; --panel: #f6f6f4; --warn: #fff3cd; --sub: #8a5a00; --del: #b3261e;
  --ins: #0b57a4; --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #c0569a; --s4: #8a6d00;
  --s5: #3c9cd6; --s6: #333333; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181c; --ink: #e4e4e2; --dim: #a0a3a8;
  --rule: #34383f; --panel: #1f2228; --warn: #4a3b0c; --sub: #f0b64a; --del: #ff8a80;
  --ins: #82b8ff; --s0: #4fa9e2; --s1: #ff8b4d; --s2: #3cc79d; --s3: #e58fc6; --s4: #d2b23c;
  --s5: #9ad4f7; --s6: #d8d8d8; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 0 auto;
  padding: 1.5rem 1rem 4rem; color: var(--ink); background: var(--paper);
  overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 0.5rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 0.6rem; border-bottom: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.2rem 0 0.4rem; }
p { max-width: 46rem; }
svg { display: block; width: 100%; height: auto; }
.wide { overflow-x: auto; overflow-wrap: normal; }
.wide > svg { min-width: 44rem; border: 1px solid var(--rule); }
table { border-collapse: collapse; margin: 0.5rem 0 1rem; font-size: 14px; }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid var(--rule); text-align: left;
  white-space: nowrap; }
th { font-weight: 600; }
tr > :first-child { padding-left: 0; }
.figure { text-align: right; font-variant-numeric: tabular-nums; }
.barred { color: var(--dim); font-style: italic; }
.dim { color: var(--dim); }
.warning { background: var(--warn); padding: 0.4rem 0.8rem; }
.paper { fill: var(--paper); }
text.ink { fill: var(--ink); }
path.rule { stroke: var(--rule); }
path.axis { stroke: var(--dim); }
.s0 { color: var(--s0); } .s1 { color: var(--s1); } .s2 { color: var(--s2); }
.s3 { color: var(--s3); } .s4 { color: var(--s4); } .s5 { color: var(--s5); }
.s6 { color: var(--s6); }
"""
