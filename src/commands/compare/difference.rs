//! Where two answers to a review differ.

use std::fmt;

use json_patch::jsonptr::PointerBuf;
use serde_json::{Value, json};

use super::answer::Answer;
use crate::injection::warning::cut;

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

    /// The path, or that the whole answer differs.
    pub(super) fn place(&self) -> &str {
        if self.path.is_empty() { "the answer" } else { &self.path }
    }

    /// Both values, cut to a length that people read.
    pub(super) fn texts(&self) -> [String; 2] {
        [&self.baseline, &self.candidate].map(text)
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
        let (place, [baseline, candidate]) = (self.place(), self.texts());
        write!(f, "{place}: baseline {baseline}, candidate {candidate}")
    }
}

fn text(value: &Option<Value>) -> String {
    let Some(value) = value else { return "absent".to_owned() };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(baseline: Value, candidate: Value) -> Vec<String> {
        let [baseline, candidate] = [baseline, candidate].map(|object| Answer::Allowed(Some(object)));
        Difference::between(&baseline, &candidate).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_path_that_differs_is_one_difference() {
        let baseline = json!({"same": [1, {"a": null}], "b": {"c/d": [1, 2]}, "old": null, "e": {"f": 1}});
        let candidate = json!({"b": {"c/d": [1, 3, "x"]}, "same": [1, {"a": null}], "e": [], "~new": true});
        assert_eq!(
            lines(baseline, candidate),
            [
                "/b/c~1d/1: baseline 2, candidate 3",
                "/b/c~1d/2: baseline absent, candidate \"x\"",
                "/old: baseline null, candidate absent",
                "/e: baseline {\"f\":1}, candidate []",
                "/~0new: baseline absent, candidate true",
            ]
        );
        let long = &lines(json!({"a": "é".repeat(200)}), json!({"a": 1}))[0];
        assert_eq!(*long, format!("/a: baseline \"{}…, candidate 1", "é".repeat(119)));
    }

    #[test]
    fn answers_of_different_kinds_differ_as_a_whole() {
        let allowed = Answer::Allowed(None);
        let denied = Answer::Denied(json!({"code": 403}));
        let failed = |error: &str| Answer::Failed(error.to_owned());
        let between = |a: &Answer, b: &Answer| {
            Difference::between(a, b).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(between(&allowed, &allowed).is_empty() && between(&denied, &denied).is_empty());
        assert!(between(&failed("one"), &failed("other")).is_empty());
        for (candidate, text) in [
            (&denied, r#"{"allowed":false,"status":{"code":403}}"#),
            (&failed("HTTP status 503"), r#"{"error":"HTTP status 503"}"#),
        ] {
            let expected = format!("the answer: baseline {{\"allowed\":true}}, candidate {text}");
            assert_eq!(between(&allowed, candidate), [expected]);
        }
        assert_eq!(between(&denied, &Answer::Denied(json!({"code": 500}))).len(), 1);
    }

    #[test]
    fn missing_values_are_left_out_of_the_json() {
        let difference = Difference { path: "/a".into(), baseline: None, candidate: Some(Value::Null) };
        assert_eq!(
            difference.to_json("r.json"),
            json!({"review": "r.json", "path": "/a", "candidate": null})
        );
    }
}
