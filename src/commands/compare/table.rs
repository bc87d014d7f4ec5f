//! The report for a terminal, and the rows of figures that every form of the report has.

use std::fmt;

use super::{
    measurement::Measurement,
    report::{QUANTILES, Report},
};

/// The most differences printed of one review.
pub(super) const MAX_DIFFERENCES: usize = 20;

/// The figures: of each side, and their ratio.
pub(super) struct Rows {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Rows {
    pub(super) fn of(report: &Report) -> Self {
        let mut head: Vec<String> = vec![String::new()];
        head.extend(report.sides.iter().map(|side| side.name.to_owned()));
        if report.sides.len() == 2 {
            head.push("ratio".to_owned());
        }
        let concurrency = report.load.concurrency;
        let latency = |(name, quantile)| row(report, name, |side| side.latency(quantile), time);
        let mut rows: Vec<_> = QUANTILES.into_iter().map(latency).collect();
        rows.push(row(
            report,
            "throughput",
            |side| side.throughput(concurrency),
            |rate| format!("{rate:.0}/s"),
        ));
        rows.push(counts(report, "answers", Measurement::answered));
        rows.push(counts(report, "errors", |side| side.errors));
        Self { head, rows }
    }
}

fn row(
    report: &Report,
    name: &str,
    value: impl Fn(&Measurement) -> Option<f64>,
    text: impl Fn(f64) -> String,
) -> Vec<String> {
    let of_sides = report.measured.sides.iter().map(|side| value(side).map_or("-".to_owned(), &text));
    let ratio = report.ratio(&value).map(|ratio| format!("{ratio:.3}"));
    [name.to_owned()].into_iter().chain(of_sides).chain(ratio).collect()
}

fn counts(report: &Report, name: &str, count: impl Fn(&Measurement) -> u64) -> Vec<String> {
    let of_sides = report.measured.sides.iter().map(|side| count(side).to_string());
    [name.to_owned()].into_iter().chain(of_sides).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for side in &self.sides {
            writeln!(f, "{:<11}{}", side.name, side.url)?;
        }
        writeln!(f)?;
        self.write_differences(f)?;
        self.sentences().iter().try_for_each(|sentence| writeln!(f, "{sentence}"))?;
        writeln!(f)?;
        let Rows { head, rows } = Rows::of(self);
        for row in [head].iter().chain(&rows) {
            write!(f, "{:<11}", row[0])?;
            for (column, cell) in row.iter().enumerate().skip(1) {
                let width = if column > self.sides.len() { 9 } else { 12 };
                write!(f, "{cell:>width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Report {
    fn write_differences(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (review, differences) in &self.verification.differences {
            for difference in differences.iter().take(MAX_DIFFERENCES) {
                writeln!(f, "{review}: {difference}")?;
            }
            if let Some(more) = differences.len().checked_sub(MAX_DIFFERENCES).filter(|&more| more > 0) {
                writeln!(f, "{review}: and {more} more; --output json has them all")?;
            }
        }
        self.verification
            .unanswered
            .iter()
            .try_for_each(|(review, error)| writeln!(f, "{review}: not answered: {error}"))
    }
}

/// Microseconds with three digits and the unit that fits.
pub(super) fn time(micros: f64) -> String {
    let (value, unit) = if micros < 1e3 { (micros, "µs") } else { (micros / 1e3, "ms") };
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}
