"""Links in README and docs lead somewhere: files, and headings in them; and every page is in the site's navigation."""

from __future__ import annotations

import re

import pytest

from pages import PAGES, ROOT, links, slugs

LINKS = [(page, link) for page in PAGES for link in links(page) if not re.match(r"https?://|mailto:", link)]


def test_pages_have_links() -> None:
    assert len(LINKS) > 20


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{page}-{link}" for page, link in LINKS])
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(page: str, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    assert target.exists()
    if anchor:
        assert anchor in list(slugs(str(target.resolve().relative_to(ROOT))))


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_pages_of_the_site_link_to_nothing_outside_it(page: str) -> None:
    assert not [link for link in links(page) if link.startswith("../")]


def test_every_page_is_in_the_navigation_once() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    named = [f"docs/{name}" for name in re.findall(r"([\w-]+\.md)$", navigation, re.M)]
    assert sorted(named) == sorted(set(PAGES) - {"README.md"})
