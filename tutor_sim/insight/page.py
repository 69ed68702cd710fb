"""HTML pages that need nothing else: no script, nothing from elsewhere, readable, printable."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

_CSS = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #595959; --line: #d4d4d4;
  --paper: #ffffff; --card: #f5f6f7; --mark: #0072b2; --alert: #a33c00; --good: #00603f; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --soft: #b3b3b3; --line: #454545;
  --paper: #161718; --card: #222426; --mark: #6cb8e6; --alert: #ff9d6b; --good: #5fd3a8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 70rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial,
  sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1.05rem; margin: 0 0 .5rem; }
p, li { max-width: 46rem; }
.soft, figcaption, caption { color: var(--soft); }
caption { text-align: left; padding-bottom: .4rem; }
.scroll { overflow-x: auto; margin-bottom: 1.25rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { padding: .4rem .9rem .4rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--line); }
tbody th { font-weight: 400; white-space: nowrap; }
.stuck { color: var(--alert); font-weight: 700; }
.learned { color: var(--good); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(27rem, 1fr)); gap: 1rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .4rem;
  padding: .75rem 1rem; }
.card p { margin: .4rem 0 0; font-size: .9rem; }
.card table { width: 100%; }
.card td { white-space: nowrap; }
meter { width: 5rem; vertical-align: middle; }
figure { margin: 1.5rem 0 2.25rem; }
figure img { display: block; width: 100%; max-width: 60rem; height: auto; background: #fff;
  border: 1px solid var(--line); border-radius: .4rem; padding: .5rem; }
figcaption { max-width: 46rem; margin-top: .5rem; font-size: .9rem; }
@media print { :root { --ink: #000; --soft: #444; --paper: #fff; --card: #fff; --line: #999;
  --alert: #000; --good: #000; }
  html { font-size: 65%; }
  body { max-width: none; padding: 0; }
  figure, .card, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .scroll { overflow: visible; } .cards { grid-template-columns: 1fr 1fr; } }
"""


def page(title: str, introduction: Sequence[str], body: str) -> str:
    """A whole document.

    Args:
        title: its heading.
        introduction: paragraphs of plain text.
        body: HTML of the sections.
    """
    paragraphs = "".join(f'<p class="soft">{escape(text)}</p>' for text in introduction)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} – tutor-sim</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body><header><h1>{escape(title)}</h1>{paragraphs}</header>\n"
        f"<main>{body}</main></body>\n</html>\n"
    )


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of HTML cells; the first of each row is its heading.

    Args:
        caption: plain text.
        head: plain text.
        rows: cells that are HTML already.
    """
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{c}</td>" for c in row[1:]) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def picture(svg: str, title: str, caption: str, alt: str) -> str:
    """An SVG picture inside the document, with the words to read it by."""
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<figure><h3>{escape(title)}</h3><img alt="{escape(alt)}" '
        f'src="data:image/svg+xml;base64,{data}"><figcaption>{escape(caption)}</figcaption></figure>'
    )
