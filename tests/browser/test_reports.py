"""The audit and the model card that a run keeps, opened in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "head", "pictures"), [("card.html", "Model card", 6), ("audit.html", "Audit of", 8)]
)
def test_a_report_opens_by_itself_with_its_pictures(
    name: str, head: str, pictures: int, demo: Any, browser: Any
) -> None:
    path = next((demo.home / "artifacts").rglob(name))
    asked: list[str] = []
    complaints: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url.partition(":")[0]))
    page.on("console", lambda message: complaints.append(message.text))

    page.goto(path.as_uri())

    assert page.locator("h1").inner_text().startswith(head)
    drawn = page.eval_on_selector_all("img", "all => all.map(i => i.naturalWidth > 100)")
    assert len(drawn) >= pictures
    assert all(drawn)
    assert all(page.eval_on_selector_all("img", "all => all.map(i => i.alt.length > 20)"))
    assert set(asked) <= {"file", "data"}  # nothing is fetched from anywhere
    assert not complaints
    page.close()
