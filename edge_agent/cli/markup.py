"""HTML and SVG as a tree of calls. Text becomes markup here alone, so that nothing from outside ever does unescaped."""

import html

from edge_agent.service.logs import one_line

_VOID = frozenset({"meta", "br", "hr", "link"})


class Markup(str):
    """Text that is markup already; only this file makes it of plain text."""

    __slots__ = ()


Child = str | None
"""Text, which is escaped, or markup, which is not; None is left out."""


def el(name: str, /, *children: Child, **attributes: object) -> Markup:
    """Return an element. `cls` is the class; an underscore in an attribute's name is a hyphen; None leaves it out."""
    given = {("class" if key == "cls" else key.replace("_", "-")): value for key, value in attributes.items()}
    told = "".join(f' {key}="{html.escape(str(value))}"' for key, value in given.items() if value is not None)
    return Markup(f"<{name}{told}>" if name in _VOID else f"<{name}{told}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Return some markup and text, one after the other."""
    return Markup("".join(c if isinstance(c, Markup) else _text(c) for c in children if c is not None))


def trusted(text: str) -> Markup:
    """Return a constant of this program as the markup it is: a style sheet, a doctype."""
    return Markup(text)


def _text(text: str) -> str:
    return html.escape(one_line(text))
