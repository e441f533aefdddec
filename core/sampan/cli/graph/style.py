"""The style sheet of the SVG. Its colours keep apart on both grounds, and where red and green look alike."""

STYLE = """
:root{--ground:#fcfcfb;--ink:#1c1c1a;--soft:#5c5b57;--line:#c9c8c2;--panel:#fff;--host:#2c2c2a;--on:#fcfcfb;--port:#efeee9;
--c0:#2a78d6;--c1:#14875c;--c2:#6a4fc0;--c3:#b0801a;--c4:#c2407f;--c5:#d9541e}
@media(prefers-color-scheme:dark){:root{--ground:#191918;--ink:#f3f2ee;--soft:#b4b2aa;--line:#55534e;--panel:#242422;
--host:#dedcd5;--on:#191918;--port:#33322f;--c0:#4d97ec;--c1:#2fb384;--c2:#a18cf0;--c3:#d5a53a;--c4:#e871a8;--c5:#f0763f}}
text{fill:var(--ink);font-family:system-ui,-apple-system,"Segoe UI",sans-serif}
.name{font-size:15px;font-weight:600}
.small{font-size:12px;fill:var(--soft)}
.mono{font:11px ui-monospace,"DejaVu Sans Mono",Menlo,monospace;fill:var(--soft)}
.on-port{fill:var(--ink)}
.ground{fill:var(--ground)}
.host{fill:var(--host)}
.on-host{fill:var(--on)}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--c5)}
.rail{stroke:var(--c);stroke-width:4;fill:none;stroke-linecap:round}
.rail.sealed{stroke-dasharray:2 8}
.sign{fill:var(--panel);stroke:var(--c);stroke-width:2}
.sign.sealed{stroke-dasharray:6 4}
.lock{fill:none;stroke:var(--c);stroke-width:2}
.lock-body{fill:var(--c)}
.over{stroke:var(--ground);stroke-width:8;fill:none}
.way{stroke:var(--c);stroke-width:2;fill:none}
.stop{fill:var(--c);stroke:var(--ground);stroke-width:2}
.stop.idle{fill:var(--ground);stroke:var(--c)}
.card{fill:var(--panel);stroke:var(--line);stroke-width:1.5}
.card.idle{stroke-dasharray:4 4}
.trunk{stroke:var(--line);stroke-width:1.5;fill:none}
.arrow{stroke:var(--ink);stroke-width:1.5;fill:none}
.head{fill:var(--ink)}
.port{fill:var(--port);stroke:var(--line)}
.shares{stroke:var(--soft);stroke-width:1.5;stroke-dasharray:3 3;fill:none}
"""
