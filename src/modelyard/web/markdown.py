"""Markdown that somebody wrote, as HTML that cannot do anything.

No HTML of theirs passes, no link leads anywhere but to the web or to a mailbox, and no picture is loaded: it would tell
its server who reads the page. What is refused is shown as the text that it is.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from modelyard.web.rendering import unturned

LONGEST: Final = 32 * 1024  # characters that are rendered; a card may have eight times as many
_LINK: Final = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x1f]+", re.IGNORECASE)
_DEEPEST: Final = 20


@lru_cache(maxsize=128)
def to_html(text: str) -> Markup:
    """``text`` as HTML. Its headings begin at the third level, below those of the page."""
    tokens = _parser.parse(unturned(text[:LONGEST]))
    html: str = _parser.renderer.render(_tamed(tokens), _parser.options, {})
    return Markup(html)  # of escaped text, as the parser was made without its html option


def is_cut(text: str) -> bool:
    """Whether only the beginning of ``text`` is rendered."""
    return len(text) > LONGEST


def _tamed(tokens: Sequence[Token]) -> list[Token]:
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
        if token.type in ("th_open", "td_open"):
            # Alignment comes as a style attribute, which the pages' own rules do not allow.
            style = str(token.attrs.pop("style", ""))
            if style.endswith("right"):
                token.attrSet("class", "number")
        if token.type == "inline" and token.children is not None:
            token.children = _inline(token.children)
    return list(tokens)


def _inline(children: Sequence[Token]) -> list[Token]:
    made: list[Token] = []
    refused: list[bool] = []
    for child in children:
        if child.type == "link_open":
            refused.append(_LINK.fullmatch(str(child.attrGet("href") or "")) is None)
            if refused[-1]:
                continue
            child.attrs = {"href": str(child.attrGet("href")), "rel": "nofollow noreferrer noopener"}
        elif child.type == "link_close":
            if refused and refused.pop():
                continue
        elif child.type == "image":
            child = _picture(child)
        made.append(child)
    return made


def _picture(image: Token) -> Token:
    text = Token("text", "", 0)
    told = image.content or "without a description"
    text.content = f"[picture: {told}]"
    return text


def _parser_of() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False, "maxNesting": _DEEPEST, "linkify": False})
    made.enable(["table", "strikethrough"])

    def fence(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        # The language stands in an attribute of the library's own; nothing here colours code.
        from markdown_it.common.utils import escapeHtml

        return f'<pre tabindex="0"><code>{escapeHtml(tokens[index].content)}</code></pre>\n'

    made.add_render_rule("fence", fence)
    return made


_parser: Final = _parser_of()
