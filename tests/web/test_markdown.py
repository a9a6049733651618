"""Markdown that cannot do anything: what it may show, and what is shown as the text that it is."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.web.markdown import LONGEST, is_cut, to_html

ALLOWED = {
    "p", "a", "h3", "h4", "h5", "h6", "em", "strong", "s", "code", "pre", "ul", "ol", "li", "blockquote", "hr", "br",
    "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip


class Seen(HTMLParser):
    """The tags of a text with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags(text: str) -> list[tuple[str, dict[str, str | None]]]:
    seen = Seen()
    seen.feed(str(to_html(text)))
    return seen.tags


def test_what_people_write_is_shown() -> None:
    html = to_html(
        "# Title\n\nSome **bold** [link](https://example.org).\n\n| a | b |\n|---|--:|\n| x | 1 |\n"
    )
    assert "<h3>Title</h3>" in html and "<strong>bold</strong>" in html
    assert 'href="https://example.org"' in html and "noopener" in html
    assert '<td class="number">1</td>' in html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "[x](vbscript:x)",
        "[x](/logout)",
        "[x](//evil.example)",
        "[x](file:///etc/passwd)",
        "<javascript:alert(1)>",
        "[x]: javascript:alert(1)\n\n[x]",
        "![p](https://evil.example/pixel.png)",
        "[![p](https://evil.example/pixel.png)](javascript:alert(1))",
        '[x](https://a.example "onclick=alert(1)")',
        "```<script>\n</pre><script>alert(1)</script>\n```",
        "<style>*{display:none}</style>",
        "| a |\n|:-:|\n| <b onclick=x> |",
    ],
)
def test_nothing_of_it_can_do_anything(text: str) -> None:
    for tag, attributes in tags(text):
        assert tag in ALLOWED
        assert set(attributes) <= {"href", "rel", "class", "tabindex", "start"}
        assert re.match(r"(https?:|mailto:)", attributes.get("href") or "https:")


@given(st.text(alphabet=st.sampled_from(list("<>[]()!`*_#|-:\n \"'&;/ajvscript\x00\u202e")), max_size=300))
def test_no_text_makes_another_tag(text: str) -> None:
    for tag, attributes in tags(text):
        assert tag in ALLOWED
        assert re.match(r"(https?:|mailto:)", attributes.get("href") or "https:", re.IGNORECASE)


def test_a_picture_is_told_and_not_loaded() -> None:
    assert "[picture: a curve]" in to_html("![a curve](https://evil.example/x.png)")


def test_only_the_beginning_of_a_long_text_is_rendered() -> None:
    assert is_cut("x" * (LONGEST + 1)) and not is_cut("x" * LONGEST)
    assert len(to_html("x" * 10 * LONGEST)) < 2 * LONGEST
