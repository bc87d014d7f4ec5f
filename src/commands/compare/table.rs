//! The report for people.

use std::fmt;

use super::{
    measurement::Measurement,
    report::{QUANTILES, Report, Verdict, median},
};

/// The most differences printed of one review.
const MAX_DIFFERENCES: usize = 20;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for side in &self.sides {
            writeln!(f, "{:<11}{}", side.name, side.url)?;
        }
        writeln!(f)?;
        self.write_differences(f)?;
        self.write_verdict(f)?;
        writeln!(f)?;
        self.write_measured(f)
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

    fn write_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verification, measured) = (&self.verification, &self.measured);
        write!(f, "{} reviews: ", verification.reviews)?;
        match self.sides.len() {
            1 => match verification.unanswered.len() {
                0 => writeln!(f, "all answered")?,
                count => writeln!(f, "{count} not answered")?,
            },
            _ => match verification.differences.len() {
                0 => writeln!(f, "both give the same pods")?,
                count => writeln!(f, "{count} answered differently")?,
            },
        }
        if measured.answered_by_one > 0 {
            writeln!(f, "{} requests were answered by one side only", measured.answered_by_one)?;
        }
        for (side, measurement) in self.sides.iter().zip(&measured.sides) {
            if let Some(error) = &measurement.first_error {
                writeln!(f, "{}: {} requests failed, one with: {error}", side.name, measurement.errors)?;
            }
        }
        match (self.verdict(), self.max_ratio, self.ratio(median)) {
            (Verdict::Slower, Some(max), Some(ratio)) => {
                writeln!(f, "the candidate's median is {ratio:.3} times the baseline's, more than {max}")
            }
            _ => Ok(()),
        }
    }

    fn write_measured(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let concurrency = self.load.concurrency;
        write!(f, "{:<11}", "")?;
        self.sides.iter().try_for_each(|side| write!(f, "{:>12}", side.name))?;
        writeln!(f, "{}", if self.sides.len() == 2 { format!("{:>9}", "ratio") } else { String::new() })?;
        for (name, quantile) in QUANTILES {
            self.write_row(f, name, |side| side.latency(quantile), time)?;
        }
        self.write_row(f, "throughput", |side| side.throughput(concurrency), |rate| format!("{rate:.0}/s"))?;
        self.write_counts(f, "answers", Measurement::answered)?;
        self.write_counts(f, "errors", |side| side.errors)
    }

    fn write_row(
        &self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        value: impl Fn(&Measurement) -> Option<f64>,
        text: impl Fn(f64) -> String,
    ) -> fmt::Result {
        write!(f, "{name:<11}")?;
        for side in &self.measured.sides {
            write!(f, "{:>12}", value(side).map_or("-".to_owned(), &text))?;
        }
        let ratio = self.ratio(value).map(|ratio| format!("{ratio:>9.3}"));
        writeln!(f, "{}", ratio.unwrap_or_default())
    }

    fn write_counts(
        &self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        count: impl Fn(&Measurement) -> u64,
    ) -> fmt::Result {
        write!(f, "{name:<11}")?;
        self.measured.sides.iter().try_for_each(|side| write!(f, "{:>12}", count(side)))?;
        writeln!(f)
    }
}

/// Microseconds with three digits and the unit that fits.
fn time(micros: f64) -> String {
    let (value, unit) = if micros < 1e3 { (micros, "µs") } else { (micros / 1e3, "ms") };
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}
