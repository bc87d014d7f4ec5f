"""The page that `compare --report` writes, in a real browser: Chromium, or Chrome."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from expressions import ROOT
from freshness import drawn_from, sign
from processes import BINARY, Webhook

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
REVIEWS = ROOT / "tests/fixtures/admission-reviews"
QUANTILES = ["p50", "p90", "p99", "p99.9", "max"]


class Rendered(HTMLParser):
    """What the browser made of the page: the cells of each row, the labels of the plot, the style, and the text as a whole."""

    def __init__(self, document):
        super().__init__()
        self.rows, self.labels, self.text, self.label, self.areas = [], [], "", None, 0
        self.style = re.search("<style>(.*?)</style>", document, re.DOTALL)[1] if "<style>" in document else ""
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "text":
            place = dict(attrs)
            self.label = float(place["x"]), float(place["y"])
        elif tag == "polygon":
            self.areas += 1

    def handle_endtag(self, tag):
        if tag == "text":
            self.label = None

    def handle_data(self, data):
        self.text += data
        if self.label:
            self.labels.append((data.strip(), *self.label))
        elif self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()

    def row(self, name):
        (row,) = [row[1:] for row in self.rows if row[0] == name]
        return row


    def outline(self):
        """A digest of what is on every page of this kind: the style and the names of rows, without what is measured."""
        names = [row[0] for row in self.rows if not row[0].endswith(".json")]
        return hashlib.sha256(json.dumps([self.style, names, self.areas]).encode()).hexdigest()


def chromium(page, folder, *options):
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder}/profile",
        "--host-resolver-rules=MAP * ~NOTFOUND", *options, page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def browse(page, folder):
    """The document as the browser has it, and the URLs that it asked for on behalf of the page."""
    log = folder / "requests.json"
    document = chromium(page, folder, f"--log-net-log={log}", "--dump-dom")
    logged = json.loads(log.read_text())
    request = logged["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    started = [event["params"] for event in logged["events"] if event["type"] == request and "url" in event.get("params", {})]
    # The browser asks for updates of its own, which have no origin.
    return Rendered(document), [params["url"] for params in started if params["initiator"] != "not an origin"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Two versions that differ in one flag: the object that the program prints, and its page in the browser."""
    assert BROWSER, "install chromium; dashboards/check does"
    folder = tmp_path_factory.mktemp("report")
    flags = ["--tls-self-signed", "--debug-endpoints", "--service-accounts=deploy/examples/service-accounts.yaml"]
    sides = {"baseline": Webhook(folder, "baseline", *flags), "candidate": Webhook(folder, "candidate", *flags, "--aws-region=eu-west-1")}
    command = [BINARY, "compare", "--insecure", f"--reviews={REVIEWS}", "--count=2000", "--output=json", f"--report={folder}/report.html"]
    for name, side in sides.items():
        command += [f"--{name}=https://{side.address}", f"--{name}-admin=http://{side.admin}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    finally:
        for side in sides.values():
            side.stop()
    assert done.returncode == 3, done.stderr
    page, requested = browse(folder / "report.html", folder)
    if pictures := os.environ.get("OBSERVE_DRAW"):
        picture = ROOT / pictures / "report.png"
        chromium(folder / "report.html", folder, "--hide-scrollbars", "--window-size=1000,1560", f"--screenshot={picture}")
        sign(picture, page.outline())
    return json.loads(done.stdout), page, requested


def figure(text):
    """A latency in microseconds, or a plain number."""
    number, unit = re.fullmatch(r"([0-9.]+) ?(µs|ms|s|/s|)", text).groups()
    return float(number) * {"µs": 1, "ms": 1e3, "s": 1e6}.get(unit, 1)


def test_the_verdict_and_both_versions_are_readable(compared):
    printed, page, _ = compared
    differing = {difference["review"] for difference in printed["differences"]}
    assert "Different answers" in page.text
    assert f"{printed['reviews']} reviews: {len(differing)} answered differently" in page.text
    assert page.row("version") == [printed["baseline"]["version"], printed["candidate"]["version"]]
    assert page.row("--aws-region") == ["", "eu-west-1"]
    assert f"Measured on {printed['machine']}" in page.text


@pytest.mark.parametrize("quantile", QUANTILES)
def test_latencies_are_those_that_the_program_prints(compared, quantile):
    printed, page, _ = compared
    baseline, candidate, ratio = page.row(quantile)
    for side, shown in (("baseline", baseline), ("candidate", candidate)):
        assert figure(shown) == pytest.approx(printed[side]["latencyMicroseconds"][quantile], rel=0.01), shown
    assert float(ratio) == pytest.approx(printed["ratio"]["latency"][quantile], abs=0.001)


def test_throughput_answers_and_errors_are_those_that_the_program_prints(compared):
    printed, page, _ = compared
    for index, side in enumerate(("baseline", "candidate")):
        assert figure(page.row("throughput")[index]) == pytest.approx(printed[side]["throughput"], abs=0.5)
        assert page.row("answers")[index] == "2000" and page.row("errors")[index] == "0"


def test_each_difference_is_a_row(compared):
    printed, page, _ = compared
    assert printed["differences"]
    for difference in printed["differences"]:
        (values,) = [row[2:] for row in page.rows if row[:2] == [difference["review"], difference["path"]]]
        for value, side in zip(values, ("baseline", "candidate")):
            text = json.dumps(difference[side], separators=(",", ":")) if side in difference else "absent"
            # Long values are cut.
            assert value == text or value.endswith("…") and text.startswith(value[:-1])


def test_the_plot_shows_both_distributions_with_labels_that_do_not_overlap(compared):
    _, page, _ = compared
    names = [name for name, _, _ in page.labels]
    assert {"baseline", "candidate", "latency", "share of answers"} <= set(names) and page.areas == 2
    ticks = sorted((x, y) for name, x, y in page.labels if name.endswith(("µs", "ms", " s")))
    assert len(ticks) >= 2 and len({y for _, y in ticks}) == 1
    assert all(right - left >= 45 for (left, _), (right, _) in zip(ticks, ticks[1:])), ticks


def test_the_picture_in_the_docs_shows_such_a_page(compared):
    _, page, _ = compared
    assert drawn_from("report") == page.outline(), "run dashboards/check --draw"


def test_the_page_asks_for_nothing(compared):
    _, _, requested = compared
    assert requested == []


def test_a_request_of_a_page_is_noticed(tmp_path):
    """The proof that the test above can fail."""
    page = tmp_path / "page.html"
    page.write_text('<img src="http://pictures.invalid/x.png">')
    assert browse(page, tmp_path)[1] == ["http://pictures.invalid/x.png"]
