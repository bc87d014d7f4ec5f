//! What it all comes to: the verdict, and the object for pipelines.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use serde_json::{Value, json};

use super::{
    machine::Machine,
    measurement::Measurement,
    replay::{Load, Measured},
    sides::Side,
    verification::Verification,
};

/// The quantiles that are told, by their names.
pub(super) const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// Everything there is to say.
pub(super) struct Report {
    /// One, or baseline and candidate.
    pub(super) sides: Vec<Arc<Side>>,
    pub(super) machine: Machine,
    pub(super) verification: Verification,
    pub(super) measured: Measured,
    pub(super) load: Load,
    /// How many times the baseline's median the candidate's may be.
    pub(super) max_ratio: Option<f64>,
}

/// The result, which is also the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Both give the same pods; one URL alone: it answers every request.
    Same,
    /// They do not, or one answers where the other does not; one URL alone: it fails to answer some requests.
    Different,
    /// The same, but the candidate is slower than it may be.
    Slower,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Same => Self::SUCCESS,
            Verdict::Different => Self::from(3),
            Verdict::Slower => Self::from(4),
        }
    }
}

impl Report {
    /// The verdict. A difference weighs more than slowness.
    pub(super) fn verdict(&self) -> Verdict {
        let is_alike = match &self.measured.sides[..] {
            [alone] => self.verification.unanswered.is_empty() && alone.errors == 0,
            _ => self.verification.differences.is_empty() && self.measured.answered_by_one == 0,
        };
        let is_slower = self.max_ratio.zip(self.ratio(median)).is_some_and(|(max, ratio)| ratio > max);
        match (is_alike, is_slower) {
            (false, _) => Verdict::Different,
            (true, true) => Verdict::Slower,
            (true, false) => Verdict::Same,
        }
    }

    /// The candidate's value over the baseline's, where there are both.
    pub(super) fn ratio(&self, value: impl Fn(&Measurement) -> Option<f64>) -> Option<f64> {
        let [baseline, candidate] = &self.measured.sides[..] else { return None };
        Some(value(candidate)? / value(baseline)?)
    }

    /// The result in sentences, the most important first.
    pub(super) fn sentences(&self) -> Vec<String> {
        let (verification, measured) = (&self.verification, &self.measured);
        let answered = match (self.sides.len(), verification.unanswered.len(), verification.differences.len())
        {
            (1, 0, _) => "all answered".to_owned(),
            (1, count, _) => format!("{count} not answered"),
            (_, _, 0) => "both give the same pods".to_owned(),
            (_, _, count) => format!("{count} answered differently"),
        };
        let reviews = match verification.reviews {
            1 => "1 review".to_owned(),
            count => format!("{count} reviews"),
        };
        let mut sentences = vec![format!("{reviews}: {answered}")];
        if measured.answered_by_one > 0 {
            sentences.push(format!("{} requests were answered by one side only", measured.answered_by_one));
        }
        for (side, measurement) in self.sides.iter().zip(&measured.sides) {
            if let Some(error) = &measurement.first_error {
                sentences.push(format!(
                    "{}: {} requests failed, one with: {error}",
                    side.name, measurement.errors
                ));
            }
        }
        if let (Verdict::Slower, Some(max), Some(ratio)) =
            (self.verdict(), self.max_ratio, self.ratio(median))
        {
            sentences
                .push(format!("the candidate's median is {ratio:.3} times the baseline's, more than {max}"));
        }
        sentences
    }

    /// The object for pipelines, as the README describes it.
    pub(super) fn to_json(&self) -> Value {
        let concurrency = self.load.concurrency;
        let differences = self.verification.differences.iter().flat_map(|(review, differences)| {
            differences.iter().map(|difference| difference.to_json(review))
        });
        let unanswered = self.verification.unanswered.iter();
        let unanswered = unanswered.map(|(review, error)| json!({"review": review, "error": error}));
        let mut report = json!({
            "verdict": self.verdict().as_str(),
            "reviews": self.verification.reviews,
            "differences": differences.collect::<Vec<_>>(),
            "unanswered": unanswered.collect::<Vec<_>>(),
            "answeredByOne": self.measured.answered_by_one,
            "machine": self.machine.to_string(),
        });
        for (side, measurement) in self.sides.iter().zip(&self.measured.sides) {
            report[side.name] = json!({
                "url": side.url.to_string(),
                "version": side.about.version,
                "flags": side.about.flags.iter().cloned().collect::<BTreeMap<_, _>>(),
                "requests": measurement.answered() + measurement.errors,
                "errors": measurement.errors,
                "firstError": measurement.first_error,
                "throughput": measurement.throughput(concurrency),
                "latencyMicroseconds": quantiles(|quantile| measurement.latency(quantile)),
            });
        }
        if self.sides.len() == 2 {
            report["ratio"] = json!({
                "throughput": self.ratio(|side| side.throughput(concurrency)),
                "latency": quantiles(|quantile| self.ratio(|side| side.latency(quantile))),
            });
        }
        report
    }
}

impl Verdict {
    /// In words, for one side or two.
    pub(super) fn headline(self, sides: usize) -> &'static str {
        match (self, sides) {
            (Self::Same, 1) => "Every request is answered",
            (Self::Same, _) => "Same pods",
            (Self::Different, 1) => "Some requests are not answered",
            (Self::Different, _) => "Different answers",
            (Self::Slower, _) => "Same pods, but slower",
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different => "different",
            Self::Slower => "slower",
        }
    }
}

pub(super) fn median(side: &Measurement) -> Option<f64> {
    side.latency(0.5)
}

fn quantiles(value: impl Fn(f64) -> Option<f64>) -> Value {
    QUANTILES.iter().map(|&(name, quantile)| (name.to_owned(), json!(value(quantile)))).collect()
}
