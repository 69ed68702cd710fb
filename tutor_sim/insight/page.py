"""HTML pages that need nothing else: no script, nothing from elsewhere, readable, printable."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from tutor_sim import report

_CSS = """
:root { --alert: #a33c00; --good: #00603f; }
@media (prefers-color-scheme: dark) { :root { --alert: #ff9d6b; --good: #5fd3a8; } }
li { max-width: 46rem; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding-right: .9rem; }
td { white-space: normal; }
.stuck { color: var(--alert); font-weight: 700; }
.learned { color: var(--good); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(27rem, 1fr)); gap: 1rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .4rem;
  padding: .75rem 1rem; }
.card p { margin: .4rem 0 0; font-size: .9rem; }
.card table { width: 100%; }
.card td { white-space: nowrap; }
meter { width: 5rem; vertical-align: middle; }
figure img { max-width: 60rem; }
@media print { :root { --ink: #000; --soft: #444; --card: #fff; --line: #999; --alert: #000;
  --good: #000; }
  html { font-size: 65%; }
  .card, tr { break-inside: avoid; } .cards { grid-template-columns: 1fr 1fr; } }
"""
"""What these pages add to the style of the report."""


def page(title: str, introduction: Sequence[str], body: str) -> str:
    """A whole document.

    Args:
        title: its heading.
        introduction: paragraphs of plain text.
        body: HTML of the sections.
    """
    paragraphs = "".join(f'<p class="soft">{escape(text)}</p>' for text in introduction)
    title = escape(title)
    whole = f"<header><h1>{title}</h1>{paragraphs}</header>\n<main>{body}</main>"
    return report.page(title, whole, style=_CSS)


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
