"""Each tile leads to what it is of: a count to as many segments or waits, a share to those of its outcome."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest

from tests.crash.nursery import Nursery
from tests.signed_in import Site, signed_in
from tests.web.test_waits import SPAN, TARGETS, conversation, page, total

TILE = re.compile(r'<div class="tile"><dt[^>]*>([^<]+)</dt><dd>(?:<a href="([^"]+)">)?([^<]+)')


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    targets = folder / "targets.toml"
    targets.write_text(TARGETS)
    with signed_in(nursery, folder / "store", "UTC", "--targets", targets) as site:
        site.bring(*(event for number in range(100) for event in conversation(number)))
        yield site


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/skills?skill=3", {"skill segments ended", "abandoned in queue, unanswered", "agent segments ended"}),
        ("/agents?agent=8", {"agent segments ended"}),
    ],
)
def test_a_tile_leads_to_what_it_is_of(site: Site, path: str, counts: set[str]) -> None:
    tiles = {name: (html.unescape(href), text) for name, href, text in TILE.findall(page(site, f"{path}&{SPAN}"))}
    known = {name: each for name, each in tiles.items() if each[1] not in ("–", "0", "0.0 %", "0 s")}
    assert len(known) >= 5
    assert all(href for href, _ in known.values())
    assert counts <= known.keys()
    for name in counts:
        href, text = known[name]
        assert total(page(site, href)) == int(text) > 0, name
    href, text = known["interactive"]
    assert "outcome=interactive" in href
    share = total(page(site, href)) / int(known["agent segments ended"][1])
    assert text == f"{100 * share:.1f} %"
