//! What a check has found, and what to do about it: a table for people, an object for pipelines.

use std::fmt;

use serde::Serialize;

/// How bad a finding is, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It was not looked at.
    Skip,
    /// As it should be.
    Pass,
    /// It works, and may stop to, or is not what was meant.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word.
    pub check: &'static str,
    /// How it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

impl Finding {
    /// It is as it should be.
    pub fn pass(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Pass, found: found.into(), cure: None }
    }

    /// It was not looked at, and what it takes to be.
    pub fn skip(check: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { check, level: Level::Skip, found: found.into(), cure: Some(cure.into()) }
    }

    /// It may be wrong.
    pub fn warn(check: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { check, level: Level::Warn, found: found.into(), cure: Some(cure.into()) }
    }

    /// It is wrong.
    pub fn fail(check: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { check, level: Level::Fail, found: found.into(), cure: Some(cure.into()) }
    }
}

/// All that was found, in the order in which it was looked at.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    /// Adds what one check has found.
    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }

    /// The worst of all.
    pub fn verdict(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Pass)
    }

    /// One object: the verdict and the findings.
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
        for Finding { check, level, found, cure } in &self.findings {
            // What others published is told, and does nothing to the terminal.
            let found = printable(found);
            writeln!(f, "{level}  {check:width$}  {found}")?;
            if let Some(cure) = cure {
                let cure = printable(cure);
                writeln!(f, "{:1$}to do: {cure}", "", width + 8)?;
            }
        }
        Ok(())
    }
}

/// Somebody's text without what would do something to a terminal, or to the log of a pipeline.
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
