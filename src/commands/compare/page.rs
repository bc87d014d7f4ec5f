//! The report as one HTML page that needs nothing else, to be attached to a change request.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    about::About,
    plot,
    report::{Report, Verdict},
    sides::Side,
    table::Rows,
};

/// The most differences that a page lists: thousands would only slow the browser down.
const MAX_DIFFERENCES: usize = 1000;

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } th, td { padding: .3rem .8rem; border-bottom: 1px solid #d8dee4; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.path { min-width: 19rem; }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; }
.verdict { padding: .8rem 1rem; border-left: .4rem solid; } .verdict p { margin: .2rem 0; }
.good { border-color: #1a7f37; background: #dafbe1; } .bad { border-color: #cf222e; background: #ffebe9; } .slow { border-color: #bc4c00; background: #fff1e5; }
.changed code { font-weight: 600; }
svg { max-width: 100%; height: auto; }";

/// Renders the page.
pub(super) fn render(report: &Report) -> anyhow::Result<String> {
    let sides: Vec<_> = report.sides.iter().map(|side| side.name).zip(&report.measured.sides).collect();
    let plot = plot::draw(&sides)?;
    let verdict = report.verdict();
    let headline = verdict.headline(report.sides.len());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "Webhook comparison: " (headline) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Webhook comparison" }
                div class={ "verdict " (class(verdict)) } {
                    p { strong { (headline) } }
                    @for sentence in report.sentences() { p { (sentence) } }
                }
                h2 { "Versions" }
                (versions(report))
                h2 { "Latency and throughput" }
                (measured(report))
                @if let Some(svg) = plot {
                    p { "How the latencies are distributed, on a logarithmic scale:" }
                    (PreEscaped(svg))
                }
                p { "Measured on " (report.machine) "; " (report.load) "." }
                h2 { "Differences" }
                (differences(report))
                @if !report.verification.unanswered.is_empty() {
                    h2 { "Not answered" }
                    (unanswered(report))
                }
            }
        }
    };
    Ok(page.into_string())
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Same => "good",
        Verdict::Different => "bad",
        Verdict::Slower => "slow",
    }
}

fn versions(report: &Report) -> Markup {
    let mut names: Vec<&str> =
        report.sides.iter().flat_map(|side| &side.about.flags).map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names.dedup();
    let value = |about: &About, name: &str| {
        about.flags.iter().find(|(flag, _)| flag == name).map(|(_, value)| value.clone())
    };
    html! {
        table {
            tr { th {} @for side in &report.sides { th { (side.name) } } }
            tr { td { "URL" } @for side in &report.sides { td { code { (side.url) } } } }
            tr {
                td { "version" }
                @for side in &report.sides { td { (version(side)) } }
            }
            @for name in names {
                @let values: Vec<_> = report.sides.iter().map(|side| value(&side.about, name)).collect();
                tr.changed[values.windows(2).any(|pair| pair[0] != pair[1])] {
                    td { code { (name) } }
                    @for value in &values { td { code { (value.as_deref().unwrap_or_default()) } } }
                }
            }
        }
    }
}

fn version(side: &Side) -> String {
    side.about.version.clone().unwrap_or_else(|| format!("not known; --{}-admin URL shows it", side.name))
}

fn measured(report: &Report) -> Markup {
    let Rows { head, rows } = Rows::of(report);
    html! {
        table {
            tr { @for (column, cell) in head.iter().enumerate() { th.number[column > 0] { (cell) } } }
            @for row in rows {
                tr {
                    @for column in 0..head.len() { td.number[column > 0] { (row.get(column).map_or("", String::as_str)) } }
                }
            }
        }
    }
}

fn differences(report: &Report) -> Markup {
    let all = report.verification.differences.iter();
    let all = all.flat_map(|(review, differences)| differences.iter().map(move |one| (review, one)));
    let more = all.clone().skip(MAX_DIFFERENCES).count();
    html! {
        @if report.sides.len() < 2 {
            p { "One webhook alone was measured." }
        } @else if report.verification.differences.is_empty() {
            p { "None: both give the same pods." }
        } @else {
            table {
                tr { th { "request" } th { "path" } th { "baseline" } th { "candidate" } }
                @for (review, difference) in all.take(MAX_DIFFERENCES) {
                    tr {
                        td { (review) }
                        td.path { code { (difference.place()) } }
                        @for text in difference.texts() { td { code { (text) } } }
                    }
                }
            }
            @if more > 0 { p { "and " (more) " more; --output json has them all" } }
        }
    }
}

fn unanswered(report: &Report) -> Markup {
    html! {
        table {
            tr { th { "request" } th { "error" } }
            @for (review, error) in report.verification.unanswered.iter().take(MAX_DIFFERENCES) {
                tr { td { (review) } td { (error) } }
            }
        }
    }
}
