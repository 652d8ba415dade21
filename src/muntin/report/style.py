"""How the page looks: warm paper, dark ink, one accent; a dark scheme; a print sheet."""

STYLE = """
:root{--paper:#fbfaf7;--raised:#fff;--sunk:#f3f1eb;--ink:#23211d;--soft:#6b665d;--faint:#9a948a;--rule:#e4e0d7;
--accent:#b4472a;--on-accent:#fff;--c0:#b4472a;--c1:#2f6690;--c2:#8a8420;--c3:#7d5186;--c4:#2c8577;--c5:#77736b;
--more:#b4472a;--less:#2f6690;--good:#2f6690;
--serif:"Iowan Old Style","Palatino Linotype",Palatino,"Book Antiqua",Georgia,"DejaVu Serif",serif;
--sans:Inter,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
--mono:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media screen and (prefers-color-scheme:dark){:root{--paper:#17171a;--raised:#1f1f23;--sunk:#242429;--ink:#e9e6df;
--soft:#a8a399;--faint:#7b776f;--rule:#34343a;--accent:#ef8a62;--on-accent:#1a1311;--c0:#ef8a62;--c1:#7ab2dc;
--c2:#cfc65a;--c3:#c69ad0;--c4:#63c3b3;--c5:#a5a199;--more:#f08a62;--less:#6fb0e3;--good:#6fa6d0}}
*{box-sizing:border-box}
html{color-scheme:light dark;scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.6 var(--sans);display:grid;
grid-template-columns:minmax(0,1fr);font-variant-numeric:tabular-nums}
main{width:100%;max-width:956px;margin:0 auto;padding:64px 48px 96px}
a{color:var(--accent);text-decoration-thickness:1px;text-underline-offset:3px}
p{max-width:68ch;margin:0 0 1em}
header{margin-bottom:36px}
.mark{display:flex;gap:10px;align-items:center;color:var(--soft);font-size:13px;letter-spacing:.06em;margin-bottom:28px}
.mark svg{width:20px;height:20px;fill:none;stroke:var(--faint);stroke-width:1.2}
.mark .shifted{stroke:var(--accent);stroke-width:1.6}
h1,h2{font-family:var(--serif);font-weight:600;letter-spacing:-.01em;text-wrap:balance}
h1{font-size:clamp(34px,5vw,50px);line-height:1.1;margin:0 0 14px;overflow-wrap:anywhere}
.subtitle{font-size:18px;line-height:1.5;color:var(--soft);margin:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));margin-top:36px;gap:1px;
background:var(--raised);border:1px solid var(--rule);border-radius:10px;overflow:hidden}
.tile{box-shadow:0 0 0 1px var(--rule);padding:18px 20px 16px;display:flex;flex-direction:column;gap:2px;min-width:0}
.tile span{font-size:13px;color:var(--soft)}
.tile strong{text-wrap:balance;font:600 26px/1.3 var(--serif);letter-spacing:-.01em;overflow-wrap:anywhere}
.tile:first-child strong{color:var(--accent)}
.tile small{font-size:12.5px;line-height:1.4;color:var(--faint)}
section{margin-top:72px;scroll-margin-top:32px}
h2{font-size:28px;line-height:1.25;margin:0 0 14px;display:flex;gap:14px;align-items:baseline;overflow-wrap:anywhere}
h2 span{font:500 14px var(--sans);color:var(--accent);min-width:1.4em}
h4{font-size:13.5px;font-weight:600;margin:0 0 6px;line-height:1.4;overflow-wrap:anywhere}
h4 small{font-weight:400;color:var(--faint);font-size:12px}
nav{font-size:14px;line-height:1.4;padding:20px 48px 0;max-width:956px;width:100%;margin:0 auto}
nav ol{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:6px 18px}
nav a{color:var(--soft);text-decoration:none}
nav a:hover{color:var(--accent)}
@media(min-width:1240px){body{grid-template-columns:264px minmax(0,1fr);max-width:1280px;margin:0 auto}
nav{position:sticky;top:0;align-self:start;max-height:100vh;overflow:auto;padding:152px 12px 32px 40px}
nav ol{display:block;border-left:1px solid var(--rule);counter-reset:n}nav li{margin:0 0 2px}
nav a{display:block;padding:4px 0 4px 16px;margin-left:-1px;border-left:1px solid transparent}
nav a:hover{border-color:var(--accent)}main{margin:0;padding-left:40px}}
figure{margin:26px 0 30px}
figcaption{font-size:14px;line-height:1.55;color:var(--soft);max-width:76ch;margin-top:14px}
figcaption b{color:var(--ink);font-weight:600}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(330px,100%),1fr));gap:28px 24px}
.chart{min-width:0}.chart svg,.matrix svg{display:block;width:100%;height:auto;overflow:visible}
.chart svg text,.matrix text{font-family:var(--sans);font-size:11.5px;fill:var(--soft)}
.mid{text-anchor:middle}.end{text-anchor:end}
.chart .label{fill:var(--faint)}
.grid{stroke:var(--rule);stroke-width:1}.axis{stroke:var(--faint);stroke-width:1}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--c5)}
.line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.line.dashed{stroke-dasharray:2 5}
.dot{fill:var(--c);stroke:transparent;stroke-width:12}.dot.quiet{fill:transparent}.dot.quiet:hover{fill:var(--c)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 18px;margin:0 0 10px;padding:0;font-size:12.5px;
color:var(--soft);line-height:1.6}
.legend b{color:var(--ink);font-weight:600}
.swatch{display:inline-block;width:18px;border-top:2px solid var(--c);vertical-align:middle;margin-right:7px}
.swatch.dashed{border-top-style:dotted}
.bars{display:grid;grid-template-columns:fit-content(42%) 1fr auto;gap:12px 18px;align-items:center;font-size:14.5px;
max-width:760px}
.bars .name{overflow-wrap:anywhere}.bars .track{background:var(--sunk);border-radius:4px;height:22px;display:block}
.bars .fill{display:block;height:100%;border-radius:4px;background:var(--faint)}.bars .best{background:var(--accent)}
.bars .number{font-weight:600}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:14.5px;line-height:1.4;min-width:min(100%,420px)}
th,td{padding:8px 0 8px 32px;text-align:right;border-bottom:1px solid var(--rule);vertical-align:baseline}
th{font-weight:500;font-size:13px;color:var(--soft);border-bottom-color:var(--faint)}
th:first-child,td:first-child{text-align:left;padding-left:0;min-width:7ch;overflow-wrap:break-word}
.share{display:inline-flex;gap:12px;align-items:center;justify-content:flex-end}
.share .track{width:90px;height:6px;border-radius:3px;background:var(--sunk);display:block}
.share i{display:block;height:100%;border-radius:3px;background:var(--good)}.share b{min-width:4.2em;font-weight:500}
.left th,.left td{text-align:left}
.matrix{max-width:680px}.matrix .right{fill:var(--good)}.matrix .wrong{fill:var(--accent)}
.matrix .frame{fill:none;stroke:var(--rule)}.matrix .cell{pointer-events:none;fill:var(--ink)}
.matrix .cell.on{fill:var(--on-accent)}.matrix .axis-name{fill:var(--faint)}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(var(--smallest),1fr));gap:20px 16px}
.card{min-width:0;font-size:12.5px;line-height:1.4;color:var(--soft);display:flex;flex-direction:column;
overflow-wrap:anywhere}
.card img{width:100%;aspect-ratio:1;object-fit:contain;background:var(--sunk);border-radius:6px;margin-bottom:7px;
display:block}
.pixels{image-rendering:pixelated}
.card b{color:var(--ink);font-weight:600}.card.wrong img{outline:2px solid var(--accent);outline-offset:1px}
.strip{display:grid;grid-template-columns:68px repeat(auto-fit,minmax(24px,1fr));gap:8px;margin-bottom:8px;
align-items:center}
.strip>span{font-size:12.5px;color:var(--soft)}
.strip img{width:100%;border-radius:5px;display:block}
.block{margin:0 0 26px}.block:last-child{margin-bottom:0}
.multiples{display:grid;grid-template-columns:repeat(auto-fill,minmax(104px,1fr));gap:12px}
.multiples.large{grid-template-columns:repeat(auto-fill,minmax(128px,1fr))}
.multiples>div{font-size:12px;color:var(--soft);min-width:0}
.multiples svg{display:block;width:100%;height:auto;border-radius:4px;margin-bottom:5px}
.heat{background:var(--raised);outline:1px solid var(--rule);shape-rendering:crispEdges}
.heat .more{fill:var(--more)}.heat .less{fill:var(--less)}
.heat .middle{fill:none;stroke:var(--ink);stroke-width:1px;vector-effect:non-scaling-stroke}
.scale{display:inline-flex;gap:8px;align-items:center;font-size:12px;font-weight:400;color:var(--soft);float:right}
.scale i{width:96px;height:8px;border-radius:4px;border:1px solid var(--rule);
background:linear-gradient(90deg,var(--less),var(--raised),var(--more))}
.lattice{fill:none;stroke:#fff;stroke-opacity:.55;vector-effect:non-scaling-stroke;stroke-width:1px}
.lattice.under{stroke:#000;stroke-opacity:.4;stroke-width:2px}
.window{fill:none;stroke:#ff7a3d;stroke-width:2.5px;vector-effect:non-scaling-stroke}
.query{fill:none;stroke:#3ddcff;stroke-width:2px;vector-effect:non-scaling-stroke}
details{margin:12px 0;border-top:1px solid var(--rule);padding-top:12px}
details details{border-left:1px solid var(--rule);border-top:0;padding:0 0 0 16px;margin:10px 0 10px 4px}
summary{cursor:pointer;font-weight:500;font-size:14.5px}summary::marker{color:var(--faint)}
dl{display:grid;grid-template-columns:fit-content(45%) minmax(0,1fr);gap:3px 28px;margin:10px 0 14px;
font:13px/1.6 var(--mono)}
dt{color:var(--soft);overflow-wrap:anywhere}dd{margin:0;overflow-wrap:anywhere}
code{font:.92em var(--mono)}
footer{margin-top:96px;padding-top:20px;border-top:1px solid var(--rule);font-size:13px;color:var(--faint)}
@media(max-width:640px){main{padding:36px 20px 64px}nav{padding:16px 20px 0}th,td{padding-left:18px}
.bars{grid-template-columns:1fr auto}.bars .name{grid-column:1/-1;margin-bottom:-8px}}
@media print{body{display:block;font-size:10.5pt;background:#fff}nav{display:none}main{max-width:none;padding:0}
section{margin-top:32px}figure,.chart,.card,.block,tr{break-inside:avoid}h2,h4,section>p{break-after:avoid}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}details::details-content{content-visibility:visible;
block-size:auto}}
"""
