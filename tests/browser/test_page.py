"""The frame, Score and Threshold as a person meets them: a real browser, a running graph."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import expect
from surroundings import bare

from gradio_ui.score import EXAMPLES

pytestmark = pytest.mark.slow

PAGES = ["", "batch", "threshold", "model", "experiments", "live", "about"]


def model_of(demo: Any) -> dict[str, Any]:
    about: dict[str, Any] = httpx.get(f"{demo.url}/v1/model").json()
    return about


def example_of(demo: Any, kind: str) -> dict[str, Any]:
    (found,) = (e for e in model_of(demo)["examples"] if e["kind"] == kind)
    payment: dict[str, Any] = found["payment"]
    return payment


def explained(demo: Any, payment: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(f"{demo.url}/v1/explain", json=payment).json()
    return answer


def address(demo: Any, payment: dict[str, Any]) -> str:
    given = {k: v for k, v in payment.items() if v is not None}
    return str(httpx.URL(f"{demo.page_url}/", params=given))


def choose(visit: Any, demo: Any, kind: str) -> None:
    visit.page.get_by_role("button", name=EXAMPLES[kind]).click()
    visit.page.get_by_text("Filled in: a payment that turned out to be").wait_for()
    amount = example_of(demo, kind)["amount"]
    if amount is not None:
        visit.page.wait_for_function(
            "wanted => document.querySelector('[aria-label^=amount]')?.value == wanted", arg=amount
        )


def control(visit: Any, name: str, **how: Any) -> Any:
    """The control of a field; pictures name fields as well."""
    return visit.page.locator(".fr-fields").get_by_label(name, **how)


def score(visit: Any, role: str = "status") -> Any:
    """Press the button; the card that appears, of the given role."""
    visit.page.get_by_role("button", name="Score this payment").click()
    if role == "alert":
        card = visit.page.locator(".fr-result [role=alert]")
    else:
        card = visit.page.locator(".fr-result [role=status]:has(data)")
    card.wait_for()
    return card


@pytest.fixture
def visit(opened: Any) -> Any:
    """The page Score, freshly opened."""
    visit = opened()
    visit.page.get_by_role("button", name="Score this payment").wait_for()
    return visit


@pytest.fixture
def threshold(opened: Any) -> Any:
    """The page Threshold, freshly opened."""
    visit = opened("threshold")
    visit.page.get_by_role("slider").wait_for()
    return visit


# The frame


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_an_address_a_heading_and_the_navigation(opened: Any, path: str) -> None:
    visit = opened(path)
    visit.page.get_by_role("heading", level=1).first.wait_for()
    names = ["Score", "Batch", "Threshold", "Model", "Experiments", "Live", "About"]
    links = visit.page.get_by_role("navigation").get_by_role("link")
    expect(links).to_have_text(names, timeout=60_000)
    name = names[PAGES.index(path)]
    visit.page.wait_for_function("name => document.title === `${name} · fraudray`", arg=name)
    visit.assert_nothing_left_and_nothing_broke()


def test_the_navigation_leads_on(visit: Any, demo: Any) -> None:
    visit.page.get_by_role("navigation").get_by_role("link", name="Threshold").click()
    visit.page.get_by_role("heading", level=1, name="Threshold").wait_for()
    # What the page shows at once may be in its address already.
    assert visit.page.url.partition("?")[0].rstrip("/") == f"{demo.page_url}/threshold"


def test_gradio_offers_no_endpoints_of_its_own(demo: Any) -> None:
    assert httpx.get(f"{demo.page_url}/gradio_api/info").json()["named_endpoints"] == {}
    assert httpx.get(f"{demo.page_url}/openapi.json").status_code == 404


def test_browsers_are_told_to_ask_nobody_else_and_other_names_are_refused(demo: Any) -> None:
    headers = httpx.get(demo.page_url).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "same-origin"
    rebound = httpx.get(demo.page_url, headers={"host": "evil.example"})
    assert rebound.status_code == 400


def test_what_happens_is_counted_for_prometheus(opened: Any, demo: Any) -> None:
    def counted(name: str) -> float:
        text = httpx.get(f"{demo.page_url}/metrics").text
        found = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return float(found[0]) if found else 0.0

    names = [
        'fraudray_page_views_total{page="score"}', 'fraudray_page_scores_total{page="score"}',
        'fraudray_page_errors_total{kind="refused"}',
        'fraudray_page_upstream_seconds_count{upstream="graph"}',
    ]  # fmt: skip
    before = [counted(name) for name in names]
    visit = opened(address(demo, example_of(demo, "legitimate")))
    visit.page.locator(".fr-result data").wait_for()
    control(visit, "localTime").fill("30")
    score(visit, "alert")
    after = [counted(name) for name in names]
    grown = [b - a for a, b in zip(before, after, strict=True)]
    assert grown[:3] == [1, 2, 1]
    assert grown[3] >= 2


# Score


def test_the_header_names_the_model_in_service(visit: Any, demo: Any) -> None:
    about = model_of(demo)
    said = " ".join(visit.page.locator(".fr-card").first.inner_text().split())
    assert f"{about['name']} version {about['version']} ({about['family']}) is in service" in said
    assert about["policy"] in said
    test = about["metrics"]["test"]
    assert f"found {test['true_positives']:,} of {test['frauds']:,} frauds" in said


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_page_says_what_the_service_says(visit: Any, demo: Any, kind: str) -> None:
    choose(visit, demo, kind)
    card = score(visit)
    answer = explained(demo, example_of(demo, kind))
    shown = float(card.locator("data").get_attribute("value"))
    assert shown == pytest.approx(answer["probability"], abs=1e-12)
    words = "Alert: looks fraudulent" if answer["decision"] else "Let through"
    assert words in card.inner_text()
    assert f"version {answer['model_version']}" in card.inner_text()
    told = card.get_by_role("img").get_attribute("aria-label")
    assert ("reaches" if answer["decision"] else "is below") in told
    bars = visit.page.locator(".fr-card", has_text="Why").get_by_role("img")
    drawn = bars.locator("text").all_text_contents()  # SVG has no inner text
    for reason in answer["reasons"][:8]:
        assert any(text.startswith(f"{reason['field']}:") for text in drawn)
        assert f"{reason['contribution']:+.3g}" in drawn


def test_the_nearest_change_that_is_told_turns_the_decision_at_the_endpoint(
    visit: Any, demo: Any
) -> None:
    payment = example_of(demo, "borderline")
    choose(visit, demo, "borderline")
    card = score(visit)
    answer = explained(demo, payment)
    first, *_ = answer["changes"]
    visit.page.get_by_text(first["text"]).wait_for()
    changed = explained(demo, payment | {first["field"]: first["value"]})
    assert changed["decision"] == 1 - answer["decision"]
    assert card.is_visible()


def test_curl_and_python_give_the_same_probability(visit: Any, demo: Any) -> None:
    choose(visit, demo, "fraudulent")
    shown = float(score(visit).locator("data").get_attribute("value"))
    curl = visit.page.get_by_role("region", name="With curl").inner_text()
    done = subprocess.run(
        ["sh", "-c", curl], capture_output=True, text=True, check=True, timeout=30
    )
    assert json.loads(done.stdout)["probability"] == pytest.approx(shown, abs=1e-12)
    python = visit.page.get_by_role("region", name="With Python").inner_text()
    done = subprocess.run(
        [sys.executable, "-c", python], capture_output=True, text=True, check=True, timeout=60
    )
    assert float(done.stdout.split()[1]) == pytest.approx(shown, abs=1e-12)


def test_a_payment_has_an_address_that_can_be_sent(visit: Any, opened: Any, demo: Any) -> None:
    choose(visit, demo, "fraudulent")
    shown = score(visit).locator("data").get_attribute("value")
    link = visit.page.get_by_role("region", name="A link to this payment").get_by_role("link")
    visit.page.wait_for_function("location.search.length > 1")
    assert link.evaluate("a => a.href") == visit.page.url
    other = opened(visit.page.url)
    data = other.page.locator(".fr-result data")
    data.wait_for()
    assert data.get_attribute("value") == shown
    amount = example_of(demo, "fraudulent")["amount"]
    assert float(control(other, "amount").input_value()) == pytest.approx(amount)


def test_copying_puts_the_command_on_the_clipboard(opened: Any, demo: Any) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    visit = opened(address(demo, example_of(demo, "legitimate")), permissions=permissions)
    visit.page.get_by_role("button", name="Copy: With curl").click()
    visit.page.get_by_role("button", name="Copy: With curl").get_by_text("Copied").wait_for()
    copied = visit.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl -s ")
    assert "/v1/explain" in copied


def test_every_problem_is_told_with_its_field(visit: Any) -> None:
    control(visit, "accountAgeDays").fill("")
    control(visit, "localTime").fill("30")
    control(visit, "amount").fill("-5")
    card = score(visit, "alert")
    problems = [" ".join(t.split()) for t in card.locator("li").all_inner_texts()]
    assert len(problems) == 3
    assert problems[0].startswith("accountAgeDays must be a whole number of 0 or more")
    assert problems[0].endswith("it is empty")
    assert problems[1] == "localTime must be a number from 0 to 24; it is 30"
    assert problems[2] == "amount must be a number of 0 or more; it is -5"
    assert "Traceback" not in visit.page.content()


def test_an_address_that_breaks_the_contract_is_told_by_field(opened: Any, demo: Any) -> None:
    payment = example_of(demo, "legitimate") | {"amount": "much", "unknown": "1"}
    visit = opened(address(demo, payment))
    card = visit.page.locator(".fr-result [role=alert]")
    card.wait_for()
    said = [" ".join(t.split()) for t in card.locator("li").all_inner_texts()]
    assert said == ["amount must be a number of 0 or more; it is much"]


def test_what_is_left_empty_is_not_sent_and_any_text_stays_text(visit: Any, demo: Any) -> None:
    text = "${alert(1)}<img src=x onerror=alert(1)> it's"
    about = model_of(demo)
    control(visit, "paymentMethod", exact=True).fill(text)
    control(visit, "amount").fill("")
    visit.page.get_by_label("Unknown").click()
    shown = float(score(visit).locator("data").get_attribute("value"))
    payment = {f["name"]: f["example"] for f in about["inputs"]} | {"paymentMethod": text}
    del payment["amount"], payment["isWeekend"]
    answer = explained(demo, payment)
    assert shown == pytest.approx(answer["probability"], abs=1e-12)
    visit.assert_nothing_left_and_nothing_broke()


def test_enter_in_a_field_scores(visit: Any, demo: Any) -> None:
    choose(visit, demo, "legitimate")
    control(visit, "amount").press("Enter")
    visit.page.locator(".fr-result data").wait_for()


def test_the_form_is_reached_and_sent_with_the_keyboard_alone(visit: Any) -> None:
    visit.page.locator("body").click(position={"x": 2, "y": 2})
    seen = []
    for _ in range(40):
        visit.page.keyboard.press("Tab")
        name = visit.page.evaluate(
            "document.activeElement.innerText || document.activeElement.getAttribute('aria-label')"
        )
        seen.append((name or "").strip())
        if seen[-1] == "Score this payment":
            break
    assert "Score" in seen
    assert EXAMPLES["legitimate"] in seen
    outline = visit.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert seen[-1] == "Score this payment", seen
    assert outline == "solid"
    visit.page.keyboard.press("Enter")
    visit.page.locator(".fr-result data").wait_for()


# Threshold


def test_the_numbers_are_those_of_the_curve_in_mlflow(threshold: Any, demo: Any) -> None:
    at = float(threshold.page.get_by_label("Threshold, as a probability").input_value())
    assert at == pytest.approx(model_of(demo)["threshold"])
    validation = model_of(demo)["metrics"]["validation"]
    told = threshold.page.get_by_role("img").first.get_attribute("aria-label")
    tp, fp = validation["true_positives"], validation["false_positives"]
    assert told.startswith(f"{tp:,} frauds found and {validation['frauds'] - tp:,} missed; {fp:,}")


def test_all_of_it_moves_with_the_slider(threshold: Any) -> None:
    page = threshold.page
    box = page.get_by_label("Threshold, as a probability")
    before, told = box.input_value(), page.get_by_role("img").first.get_attribute("aria-label")
    page.get_by_role("slider").focus()
    for _ in range(5):
        page.keyboard.press("PageDown")
    page.wait_for_function(
        "told => document.querySelector('svg[role=img]').getAttribute('aria-label') !== told",
        arg=told,
    )
    page.wait_for_function(
        "b => document.querySelector('input[aria-label^=\"Threshold, as\"]').value !== b",
        arg=before,
    )
    assert float(box.input_value()) < float(before)
    page.wait_for_function("new URLSearchParams(location.search).has('at')")


def test_own_costs_move_the_least_cost(threshold: Any) -> None:
    page = threshold.page
    row = page.get_by_role("row", name="Least cost")
    before = row.inner_text()
    page.get_by_label("A false alarm costs").fill("0")
    page.wait_for_function(
        "before => [...document.querySelectorAll('tr')].find("
        "r => r.innerText.includes('Least cost')).innerText !== before", arg=before,
    )  # fmt: skip
    assert "100.0%" in row.inner_text()  # recall: alarms that cost nothing are taken


def test_a_policy_is_taken(threshold: Any) -> None:
    threshold.page.get_by_label("Recall of 90 % or more").click()
    row = threshold.page.get_by_role("row", name="Recall of 90 % or more").inner_text()
    wanted = float(re.findall(r"([0-9.]+)%", row)[0]) / 100
    threshold.page.wait_for_function(
        "w => Math.abs(document.querySelector('input[aria-label^=\"Threshold, as\"]').value - w)"
        " < 0.0001", arg=wanted,
    )  # fmt: skip


def test_an_address_keeps_a_threshold(opened: Any) -> None:
    visit = opened("threshold?at=0.123")
    visit.page.get_by_role("slider").wait_for()
    box = visit.page.get_by_label("Threshold, as a probability")
    assert float(box.input_value()) == pytest.approx(0.123)


def test_applying_asks_first_then_moves_the_running_graph(threshold: Any, demo: Any) -> None:
    before = model_of(demo)
    payment = example_of(demo, "legitimate")
    page = threshold.page
    box = page.get_by_label("Threshold, as a probability")
    probability = explained(demo, payment)["probability"]
    box.fill(f"{probability / 2:.12f}")
    page.get_by_role("button", name="Apply to the running model").click()
    page.get_by_role("button", name="No, leave it").click()
    page.get_by_role("button", name="No, leave it").wait_for(state="hidden")
    assert model_of(demo)["threshold"] == before["threshold"]
    page.get_by_role("button", name="Apply to the running model").click()
    page.get_by_role("button", name="Yes, apply it").click()
    page.get_by_role("heading", name="Applied").wait_for()
    try:
        after = model_of(demo)
        assert after["version"] != before["version"]
        assert after["threshold"] == pytest.approx(probability / 2)
        answer = explained(demo, payment)
        assert (answer["decision"], answer["probability"]) == (1, probability)
    finally:
        httpx.post(
            f"{demo.url}/v1/admin/rollback", json={}, headers={"content-type": "application/json"},
            timeout=60,
        ).raise_for_status()  # fmt: skip
    assert model_of(demo)["version"] == before["version"]


def test_what_is_no_threshold_is_not_applied(threshold: Any, demo: Any) -> None:
    before = model_of(demo)["threshold"]
    threshold.page.get_by_label("Threshold, as a probability").fill("7")
    threshold.page.get_by_role("button", name="Apply to the running model").click()
    threshold.page.get_by_role("heading", name="This is no threshold").first.wait_for()
    assert model_of(demo)["threshold"] == before


# Looks


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1360)])
def test_the_pages_fit_their_window_and_are_accessible(
    opened: Any, demo: Any, scheme: str, width: int
) -> None:
    how = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    visit = opened(address(demo, example_of(demo, "borderline")), **how)
    visit.page.locator(".fr-result data").wait_for()
    visit.page.get_by_role("button", name="Score this payment").wait_for()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    assert visit.page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    visit.assert_accessible()
    button = visit.page.get_by_role("button", name="Score this payment").bounding_box()
    card = visit.page.locator(".fr-result [role=status]:has(data)").bounding_box()
    assert (card["y"] >= button["y"] + button["height"]) == (width == 390)
    other = opened("threshold", **how)
    other.page.get_by_role("slider").wait_for()
    assert other.page.evaluate("document.documentElement.scrollWidth") <= width
    other.assert_accessible()


# Troubles, and many people


def test_a_page_without_its_graph_says_what_to_do(opened: Any, alone: Any) -> None:
    url, _ = alone("--url", "http://127.0.0.1:9")
    visit = opened(url)
    said = visit.page.get_by_role("alert")
    said.wait_for()
    assert "No answer from http://127.0.0.1:9" in said.inner_text()
    assert "fraudray serve" in said.inner_text()
    assert "goes on by itself" in visit.page.inner_text("body")
    assert "Traceback" not in visit.page.content()
    assert visit.errors == []
    other = opened(f"{url}/threshold")
    other.page.get_by_role("alert").wait_for()
    assert "fraudray serve" in other.page.get_by_role("alert").inner_text()


def test_a_page_without_mlflow_scores_and_says_what_the_rest_lacks(
    opened: Any, alone: Any, demo: Any
) -> None:
    # The retries are those of a store that may be back in a moment: some seconds.
    url, _ = alone("--url", demo.url, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    visit = opened(f"{url}/threshold")
    visit.page.get_by_role("heading", name="MLflow cannot be reached").wait_for(timeout=60_000)
    query = address(demo, example_of(demo, "legitimate")).partition("?")[2]
    visit = opened(f"{url}/?{query}")
    visit.page.locator(".fr-result data").wait_for()


def test_a_page_with_a_login_lets_in_who_knows_it(opened: Any, alone: Any, demo: Any) -> None:
    url, _ = alone("--url", demo.url, FRAUDRAY_UI_USER="ana", FRAUDRAY_UI_PASSWORD="correct horse")
    assert httpx.get(f"{url}/config").status_code == 401
    visit = opened(url)
    for password in ("wrong", "correct horse"):
        visit.page.get_by_label("username").fill("ana")
        visit.page.get_by_label("password").fill(password)
        visit.page.get_by_role("button", name="Login").click()
        if password == "wrong":
            visit.page.get_by_text("Incorrect Credentials").wait_for()
    visit.page.get_by_role("button", name="Score this payment").wait_for()


def test_other_machines_are_not_let_in_without_a_login(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fraudray", "ui", "--host", "0.0.0.0"],  # noqa: S104
        check=False,
        env=bare(FRAUDRAY_HOME=tmp_path), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "FRAUDRAY_UI_USER and FRAUDRAY_UI_PASSWORD" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_twenty_people_at_once_and_the_process_stays_small(
    opened: Any, alone: Any, demo: Any
) -> None:
    url, process = alone(
        "--url", demo.url, MLFLOW_TRACKING_URI=f"sqlite:///{demo.home / 'mlflow.db'}"
    )
    query = address(demo, example_of(demo, "borderline")).partition("?")[2]
    wanted = explained(demo, example_of(demo, "borderline"))["probability"]
    tabs = [opened(f"{url}/?{query}", wait_until="commit") for _ in range(20)]
    for tab in tabs:
        data = tab.page.locator(".fr-result data")
        data.wait_for(timeout=400_000)
        assert float(data.get_attribute("value")) == pytest.approx(wanted, abs=1e-12)
        assert tab.errors == []
    tabs[0].page.goto(f"{url}/threshold")
    tabs[0].page.get_by_role("slider").wait_for()  # MLflow and a model are in memory now
    assert psutil.Process(process.pid).memory_info().rss < 600e6
