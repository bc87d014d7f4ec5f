//! Manifests as people keep them: files of several YAML documents, or of JSON.

use serde_json::Value;
use thiserror::Error;

/// One document of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// Its text, without separators.
    pub text: &'a str,
    /// Its number in the file, from 1.
    pub number: usize,
    /// The line of the file it begins on, from 1.
    pub line: usize,
}

/// Why a document can't be read.
#[derive(Debug, Error)]
#[error("document {number}, line {line}: {message}")]
pub struct BadDocument {
    /// The document's number in its file, from 1.
    pub number: usize,
    /// The line of the file, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// The documents of a file, empty ones left out.
///
/// YAML forbids `---` and `...` at the beginning of a line within a document (YAML 1.2.2, rule 206 `c-forbidden`), so
/// lines tell where documents end and the text of each stays as it was written.
pub fn documents(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let mut add = |start: usize, end: usize, line: usize| {
        let text = &text[start..end];
        let is_content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with(['#', '%']);
        if text.lines().any(is_content) {
            documents.push(Document { text, number: documents.len() + 1, line });
        }
    };
    let (mut start, mut start_line, mut offset) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let next = offset + line.len();
        if is_marker(line, "---") {
            add(start, offset, start_line);
            // The marker's own line may hold content: `--- {a: 1}`. A comment there belongs to nothing.
            start = if line[3..].trim_start().is_empty() { next } else { offset + 3 };
            start_line = if start == next { index + 2 } else { index + 1 };
        } else if is_marker(line, "...") {
            add(start, offset, start_line);
            (start, start_line) = (next, index + 2);
        }
        offset = next;
    }
    add(start, text.len(), start_line);
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

impl Document<'_> {
    /// Parses the document. What begins with `{` is tried as JSON first, since not all JSON is YAML.
    pub fn parse(&self) -> Result<Value, BadDocument> {
        let json = self.looks_like_json().then(|| serde_json::from_str(self.text));
        if let Some(Ok(value)) = json {
            return Ok(value);
        }
        let yaml = serde_saphyr::from_str_with_options(self.text, options());
        let (line, message) = match (json, yaml) {
            (_, Ok(value)) => return Ok(value),
            (Some(Err(error)), _) => (error.line(), error.to_string()),
            (_, Err(error)) => {
                let line = error.location().map_or(1, |location| location.line() as usize);
                (line, error.without_snippet().to_string())
            }
        };
        Err(BadDocument { number: self.number, line: self.line + line.max(1) - 1, message })
    }

    /// Whether the document is written in JSON, as far as its first character tells.
    pub fn looks_like_json(&self) -> bool {
        self.text.trim_start().starts_with('{')
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        // The defaults stop at 250,000 nodes; a dump of a large cluster's accounts is a document of millions.
        budget: serde_saphyr::budget! {
            max_events: 50_000_000,
            max_nodes: 50_000_000,
            max_total_scalar_bytes: 1 << 30,
        },
        with_snippet: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<(&str, usize)> {
        documents(text).iter().map(|document| (document.text.trim(), document.line)).collect()
    }

    #[test]
    fn documents_know_their_lines() {
        assert_eq!(split("a: 1\n---\nb: 2\n"), [("a: 1", 1), ("b: 2", 3)]);
        assert_eq!(split("%YAML 1.2\n---\n# only a comment\n---\n\n--- {c: 3}\n...\n"), [("{c: 3}", 6)]);
        assert_eq!(split("--- # a comment\na: 1"), [("# a comment\na: 1", 1)]);
        assert_eq!(split("text: |\n  ---\n---x: 1\n"), [("text: |\n  ---\n---x: 1", 1)]);
        assert_eq!(split("a: 1\r\n---\r\nb: 2\r\n"), [("a: 1", 1), ("b: 2", 3)]);
        assert!(documents("").is_empty());
    }

    #[test]
    fn errors_name_document_and_line() {
        for (text, place) in [
            ("a: 1\n---\nb: 1\nc: [1\n", "document 2, line "),
            ("a: 1\n---\n{\"b\":\n 1,,}", "document 2, line 4: "),
        ] {
            let error = documents(text)[1].parse().unwrap_err().to_string();
            assert!(error.starts_with(place) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn json_with_tabs_and_flow_mappings_are_read() {
        for text in ["{\t\"a\": 1}", "{a: 1}", "a: 1"] {
            assert_eq!(documents(text)[0].parse().unwrap(), serde_json::json!({"a": 1}), "{text:?}");
        }
    }
}
