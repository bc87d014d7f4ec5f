//! The findings of checks and their remedies: a table for people, a JSON object for pipelines.

use std::fmt;

use serde::Serialize;

/// The severity of a finding, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It was not checked.
    Skip,
    /// It is right.
    Pass,
    /// It works, but may fail later, or may not be intended.
    Warn,
    /// It does not work.
    Fail,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check.
    pub check: &'static str,
    /// Its severity.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(rename = "cure", skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// It is right.
    pub fn pass(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Pass, found: found.into(), remedy: None }
    }

    /// It was not checked; `remedy` says what is needed.
    pub fn skip(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Skip, found: found.into(), remedy: Some(remedy.into()) }
    }

    /// It may be wrong.
    pub fn warn(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Warn, found: found.into(), remedy: Some(remedy.into()) }
    }

    /// It is wrong.
    pub fn fail(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Fail, found: found.into(), remedy: Some(remedy.into()) }
    }
}

/// All findings, in the order of the checks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    /// Adds the findings of one check.
    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }

    /// The worst severity.
    pub fn verdict(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Pass)
    }

    /// One JSON object with the verdict and the findings.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({"verdict": self.verdict(), "findings": self.findings})
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Skip => "skip",
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        for Finding { check, level, found, remedy } in &self.findings {
            // It may quote text of others, which must not reach the terminal as it is.
            let found = printable(found);
            writeln!(f, "{level}  {check:width$}  {found}")?;
            if let Some(remedy) = remedy {
                let remedy = printable(remedy);
                writeln!(f, "{:1$}to do: {remedy}", "", width + 8)?;
            }
        }
        Ok(())
    }
}

/// Replaces control characters, which could change a terminal or forge lines of a log.
pub fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_a_table_and_an_object() {
        let mut findings = Findings::default();
        assert_eq!(findings.verdict(), Level::Pass);
        findings
            .extend([Finding::warn("keys", "one\u{1b}too many", "remove it"), Finding::pass("issuer", "x")]);
        assert_eq!(
            findings.to_string(),
            "warn  keys    one\u{fffd}too many\n              to do: remove it\npass  issuer  x\n"
        );
        assert_eq!(
            findings.to_json(),
            serde_json::json!({"verdict": "warn", "findings": [
                {"check": "keys", "level": "warn", "found": "one\u{1b}too many", "cure": "remove it"},
                {"check": "issuer", "level": "pass", "found": "x"},
            ]})
        );
    }
}
