"""`docs/performance.md` shows what the kept report says."""

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def chart(monkeypatch, tmp_path):
    """The script, on a copy of the reports, the page and the picture."""
    loader = importlib.machinery.SourceFileLoader("chart", str(ROOT / "benches/chart"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("chart", loader))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader.exec_module(module)
    for name in ("RESULTS", "PAGE", "PICTURE"):
        original = getattr(module, name)
        copy = tmp_path / original.name
        if original.is_dir():
            copy.mkdir()
            for file in original.iterdir():
                (copy / file.name).write_text(file.read_text())
        else:
            copy.write_text(original.read_text())
        monkeypatch.setattr(module, name, copy)
    monkeypatch.setattr("sys.argv", ["benches/chart", "--check"])
    return module


def change(chart, old, new):
    report = chart.RESULTS / f"{chart.THIS}.md"
    assert old in report.read_text()
    report.write_text(report.read_text().replace(old, new))


def test_the_page_and_the_picture_match_the_report(chart):
    chart.main()


def test_another_figure_is_noticed(chart):
    row = "| CPU of the webhook per admission, this webhook, Service, 200 clients | "
    change(chart, row, f"{row}9")
    with pytest.raises(chart.Stale, match="does not match"):
        chart.main()


def test_a_missed_target_has_to_be_explained(chart):
    change(chart, "| allocations, annotated, minimal (2.5 KB) | 0 | ≤ 1 | ok |", "| allocations, annotated, minimal (2.5 KB) | 2 | ≤ 1 | missed |")
    chart.PAGE.write_text(chart.written(chart.PAGE.read_text()))
    chart.PICTURE.write_text(chart.picture())
    with pytest.raises(chart.Stale, match=r"explain each of these:\n- \*\*allocations, annotated, minimal \(2.5 KB\)\*\*"):
        chart.main()


def test_an_explanation_of_a_target_that_is_met_is_noticed(chart):
    page = chart.PAGE.read_text()
    chart.PAGE.write_text(page.replace("## Missed targets\n", "## Missed targets\n\n- **CPU until synced, 100000 accounts by watch**: large.\n"))
    with pytest.raises(chart.Stale, match=r"are met:\n- \*\*CPU until synced, 100000 accounts by watch\*\*"):
        chart.main()


def test_a_report_without_the_aws_webhook_is_refused(chart):
    change(chart, "peer, Service", "another, Service")
    with pytest.raises(chart.Stale, match="PEER_WEBHOOK"):
        chart.main()
