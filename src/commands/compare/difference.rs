//! Where two answers to a review differ.

use std::fmt;

use json_patch::jsonptr::PointerBuf;
use serde_json::{Value, json};

use super::answer::Answer;
use crate::warning::cut;

/// The most characters printed of a value.
const MAX_CHARS: usize = 120;

/// One value that is not the same.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    /// A JSON Pointer into the patched object; empty where the answers differ as a whole.
    pub(super) path: String,
    /// The baseline's value; none where only the candidate has one.
    pub(super) baseline: Option<Value>,
    pub(super) candidate: Option<Value>,
}

impl Difference {
    /// The differences of two answers. Two failures are alike, whatever they say: neither gives a pod.
    pub(super) fn between(baseline: &Answer, candidate: &Answer) -> Vec<Self> {
        let mut found = Vec::new();
        match (baseline, candidate) {
            (Answer::Failed(_), Answer::Failed(_)) => {}
            (Answer::Allowed(baseline), Answer::Allowed(candidate)) => {
                walk(&mut PointerBuf::new(), baseline.as_ref(), candidate.as_ref(), &mut found);
            }
            _ if baseline == candidate => {}
            _ => {
                let [baseline, candidate] = [baseline, candidate].map(|answer| Some(answer.summary()));
                found.push(Self { path: String::new(), baseline, candidate });
            }
        }
        found
    }

    /// For pipelines. What a side does not have is left out, since null is a value, too.
    pub(super) fn to_json(&self, review: &str) -> Value {
        let mut json = json!({"review": review, "path": self.path});
        for (name, value) in [("baseline", &self.baseline), ("candidate", &self.candidate)] {
            if let Some(value) = value {
                json[name] = value.clone();
            }
        }
        json
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the answer" } else { &self.path };
        let [baseline, candidate] = [&self.baseline, &self.candidate].map(text);
        write!(f, "{path}: baseline {baseline}, candidate {candidate}")
    }
}

fn text(value: &Option<Value>) -> String {
    let Some(value) = value else { return "has none".to_owned() };
    let text = value.to_string();
    let shown = cut(&text, MAX_CHARS);
    format!("{shown}{}", if shown.len() < text.len() { "…" } else { "" })
}

/// Collects what differs at and beneath `path`.
fn walk(
    path: &mut PointerBuf,
    baseline: Option<&Value>,
    candidate: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    match (baseline, candidate) {
        _ if baseline == candidate => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                path.push_back(key);
                walk(path, old.get(key), new.get(key), found);
                path.pop_back();
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                path.push_back(index);
                walk(path, old.get(index), new.get(index), found);
                path.pop_back();
            }
        }
        _ => found.push(Difference {
            path: path.to_string(),
            baseline: baseline.cloned(),
            candidate: candidate.cloned(),
        }),
    }
}
