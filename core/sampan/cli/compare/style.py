"""The page's style sheet. The colours of series keep apart on both grounds, and where red and green look alike."""

STYLE = """
:root{--ground:#fcfcfb;--ink:#1c1c1a;--soft:#5c5b57;--line:#e4e3de;--panel:#fff;
--s0:#2a78d6;--s1:#d9541e;--s2:#14875c;--s3:#6a4fc0;--s4:#b0801a;--s5:#c2407f}
@media(prefers-color-scheme:dark){:root{--ground:#191918;--ink:#f3f2ee;--soft:#b4b2aa;--line:#3a3936;--panel:#222220;
--s0:#4d97ec;--s1:#f0763f;--s2:#2fb384;--s3:#a18cf0;--s4:#d5a53a;--s5:#e871a8}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1180px;margin:0 auto;padding:32px 20px 48px}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 8px;text-wrap:balance}
h2{font-size:1.15rem;margin:40px 0 12px}
h3{font-size:.95rem;margin:0 0 8px}
header p,section>p{color:var(--soft);margin:0;max-width:70ch}
section>p{margin:-6px 0 14px}
code{font:.86em/1.45 ui-monospace,monospace;overflow-wrap:anywhere}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,470px),1fr));gap:16px}
.plot,.fact{background:var(--panel);border:1px solid var(--line);border-radius:8px}
.plot{width:100%;border-spacing:0;padding:8px 14px 10px;table-layout:auto}
caption{text-align:left;font-weight:600;padding:0 0 4px;caption-side:top}
caption span{color:var(--soft);font-weight:400}
.plot th{font-weight:400;text-align:left;white-space:nowrap;padding:1px 12px 1px 0;font-size:.86rem}
.plot td{padding:1px 0}
.plot .wide{width:100%}
.plot .number{padding-left:10px;text-align:right;font-variant-numeric:tabular-nums;font-weight:600;font-size:.9rem}
.plot .range{padding-left:10px;text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap;color:var(--soft);
font-size:.78rem}
.bar{display:block;width:100%;height:22px}
.bar rect{fill:var(--c)}
.bar path{stroke:var(--ink);stroke-width:1.5px;vector-effect:non-scaling-stroke;fill:none;opacity:.55}
.bar .base{stroke:var(--line);opacity:1}
.s0{--c:var(--s0)}.s1{--c:var(--s1)}.s2{--c:var(--s2)}.s3{--c:var(--s3)}.s4{--c:var(--s4)}.s5{--c:var(--s5)}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,470px),1fr));gap:12px}
.fact{padding:12px 14px}
.value{border-left:2px solid var(--line);padding-left:10px}
.value+.value{margin-top:10px}
.value p{margin:4px 0 0;display:flex;flex-wrap:wrap;gap:4px 6px}
.chip{font-size:.78rem;border:1px solid var(--line);border-radius:99px;padding:0 9px;color:var(--soft)}
.chip::before{content:"";display:inline-block;width:8px;height:8px;border-radius:2px;background:var(--c);
margin-right:6px}
.plainly::before{display:none}
.notes li{margin:4px 0}
.plain{border-spacing:0;font-size:.9rem}
.plain th{text-align:left;font-weight:400;color:var(--soft);vertical-align:top;padding:3px 20px 3px 0;
white-space:nowrap}
.plain td{padding:3px 0}
.scroll{overflow-x:auto}
summary{cursor:pointer}
summary h2{display:inline}
details{margin-top:40px}
details .scroll{margin-top:12px}
footer{border-top:1px solid var(--line);margin-top:40px}
footer h2{margin-top:20px}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
@media(max-width:640px){
main{padding:20px 14px 32px}
.plot tbody,.plot tr,.plot th,.plot td{display:block}
.plot tr{display:grid;grid-template-columns:1fr auto auto;align-items:baseline;margin-top:6px}
.plot th{grid-column:1;padding-right:6px}
.plot .number{grid-column:2;grid-row:1}
.plot .range{grid-column:3;grid-row:1}
.plot .wide{grid-column:1/-1;grid-row:2}
.bar{height:16px}
.plain th{white-space:normal}}
@media print{.plot,.fact{break-inside:avoid}}
"""
