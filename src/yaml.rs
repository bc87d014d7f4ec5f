//! Files of several YAML or JSON documents.

use serde::de::IgnoredAny;
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, MessageFormatter, UserMessageFormatter};
use thiserror::Error;

/// One document of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// Its text, without separators.
    pub text: &'a str,
    /// Its number in the file, from 1.
    pub number: usize,
    /// The line of the file that it begins on, from 1.
    pub line: usize,
    /// Whether a marker separates it from the document before. JSON documents need none.
    pub is_separated: bool,
}

/// A document that can't be parsed.
#[derive(Debug, Error)]
#[error("document {number}, line {line}: {message}")]
pub struct BadDocument {
    /// The document's number in its file, from 1.
    pub number: usize,
    /// The line of the file, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

/// The documents of a file. Documents of comments or directives alone belong to the next one.
///
/// YAML forbids `---` and `...` at the beginning of a line within a document (YAML 1.2.2, rule 206 `c-forbidden`), so
/// documents are split by lines, and the text of each stays as it was written. JSON documents may follow each other
/// without separators.
pub fn documents(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    // Where the document begins, and where its content does, which may be behind a prefix of comments.
    let (mut start, mut content, mut line) = (0, 0, 1);
    let mut offset = 0;
    for (index, text_line) in text.split_inclusive('\n').enumerate() {
        let next = offset + text_line.len();
        let is_start = is_marker(text_line, "---");
        if is_start || is_marker(text_line, "...") {
            let is_document = has_content(&text[content..offset]);
            if is_document {
                add(&mut documents, &text[start..offset], line);
            }
            // Otherwise what was passed are comments: they stay, as the beginning of the next document.
            let begins_anew = is_document || text[start..offset].trim().is_empty();
            // The marker's own line may hold content: `--- {a: 1}`.
            content = if is_start { offset + 3 } else { next };
            if begins_anew {
                let is_alone = text[content..next].trim().is_empty();
                (start, line) = if is_alone { (next, index + 2) } else { (content, index + 1) };
            }
        }
        offset = next;
    }
    if has_content(&text[content..]) {
        add(&mut documents, &text[start..], line);
    }
    documents
}

/// Adds a document, or several of JSON.
fn add<'a>(documents: &mut Vec<Document<'a>>, text: &'a str, mut line: usize) {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let mut ends = Vec::new();
    while let Some(Ok(_)) = values.next() {
        ends.push(values.byte_offset());
    }
    // Text that is not JSON up to its end is one YAML document.
    if ends.last().is_none_or(|&end| !text[end..].trim().is_empty()) {
        ends = vec![text.len()];
    }
    let mut start = 0;
    for end in ends {
        let value = &text[start..end];
        let blank = value.len() - value.trim_start().len();
        let begin = start + value[..blank].rfind('\n').map_or(0, |newline| newline + 1);
        line += newlines(&text[start..begin]);
        let (number, is_separated) = (documents.len() + 1, start == 0);
        documents.push(Document { text: &text[begin..end], number, line, is_separated });
        line += newlines(&text[begin..end]);
        start = end;
    }
}

fn newlines(text: &str) -> usize {
    text.matches('\n').count()
}

fn has_content(text: &str) -> bool {
    text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with(['#', '%']))
}

/// Whether a line is a marker. A comment right behind `---` is not YAML, but kubectl takes it, and published charts have it.
fn is_marker(line: &str, marker: &str) -> bool {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(char::is_whitespace);
    line.strip_prefix(marker).is_some_and(|rest| ends(rest) || (marker == "---" && rest.starts_with('#')))
}

/// A parsed document.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// Its content.
    pub value: Value,
    /// Whether it was written in JSON.
    pub is_json: bool,
}

impl Document<'_> {
    /// The documents without content that come before the content, each with its marker: comments that stay when the
    /// document is replaced.
    pub fn empty_documents(&self) -> &str {
        let (mut end, mut offset) = (0, 0);
        for line in self.text.split_inclusive('\n') {
            let rest = if is_marker(line, "---") { &line[3..] } else { line };
            if has_content(rest) && !is_marker(line, "...") {
                break;
            }
            offset += line.len();
            if is_marker(line, "---") || is_marker(line, "...") {
                end = offset;
            }
        }
        &self.text[..end]
    }

    /// Parses the document. What begins with `{` is tried as JSON first, since not all JSON is YAML.
    pub fn parse(&self) -> Result<Parsed, BadDocument> {
        self.parse_with(DuplicateKeyPolicy::Error)
    }

    /// Parses the document as kubectl does: the last of repeated keys counts.
    pub fn parse_repeated_keys(&self) -> Result<Parsed, BadDocument> {
        self.parse_with(DuplicateKeyPolicy::LastWins)
    }

    fn parse_with(&self, duplicate_keys: DuplicateKeyPolicy) -> Result<Parsed, BadDocument> {
        let json = self.text.trim_start().starts_with('{').then(|| serde_json::from_str(self.text));
        if let Some(Ok(value)) = json {
            return Ok(Parsed { value, is_json: true });
        }
        let start = content_start(self.text);
        let yaml = serde_saphyr::from_str_with_options(&self.text[start..], options(duplicate_keys));
        let (line, message) = match (json, yaml) {
            (_, Ok(value)) => return Ok(Parsed { value, is_json: false }),
            (Some(Err(error)), _) => {
                // The message has the line of the file, so this one is removed.
                let message = error.to_string();
                let message = message.rsplit_once(" at line ").map_or(&*message, |(message, _)| message);
                (error.line(), message.to_owned())
            }
            (_, Err(error)) => {
                let line = error.location().map_or(1, |location| location.line() as usize);
                let line = line + newlines(&self.text[..start]);
                (line, UserMessageFormatter.format_message(error.without_snippet()).into_owned())
            }
        };
        Err(BadDocument { number: self.number, line: self.line + line.max(1) - 1, message })
    }
}

/// Where the content of a document begins, behind documents of comments alone. Its own directives belong to it.
fn content_start(text: &str) -> usize {
    let (mut start, mut segment, mut offset) = (0, 0, 0);
    for line in text.split_inclusive('\n') {
        if has_content(line) && !is_marker(line, "---") {
            break;
        }
        if is_marker(line, "---") {
            let has_directives = text[segment..offset].lines().any(|line| line.starts_with('%'));
            start = if has_directives { segment } else { offset + 3 };
            segment = offset + line.len();
        }
        offset += line.len();
    }
    start
}

fn options(duplicate_keys: DuplicateKeyPolicy) -> serde_saphyr::Options {
    serde_saphyr::options! {
        // The defaults stop at 250,000 nodes; a dump of a large cluster's accounts is a document of millions.
        budget: serde_saphyr::budget! {
            max_events: 50_000_000,
            max_nodes: 50_000_000,
            max_total_scalar_bytes: 1 << 30,
        },
        with_snippet: false,
        duplicate_keys: duplicate_keys,
        // `defaultMode: 0400` means what it means to kubectl, which reads YAML 1.1.
        legacy_octal_numbers: true,
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
        assert_eq!(split("---\n\n--- {c: 3}\n...\n---\n"), [("{c: 3}", 3)]);
        assert_eq!(split("a: 1\n--- # a comment\nb: 2"), [("a: 1", 1), ("# a comment\nb: 2", 2)]);
        assert_eq!(split("text: |\n  ---\n---x: 1\n"), [("text: |\n  ---\n---x: 1", 1)]);
        assert_eq!(split("a: 1\n---# b\nb: 2\n"), [("a: 1", 1), ("# b\nb: 2", 2)]);
        assert_eq!(split("a: 1\r\n---\r\nb: 2\r\n"), [("a: 1", 1), ("b: 2", 3)]);
        assert_eq!(
            split("{\"a\": 1}\n{\"b\":\n2} {\"c\": 3}"),
            [(r#"{"a": 1}"#, 1), ("{\"b\":\n2}", 2), (r#"{"c": 3}"#, 3)]
        );
        assert!(documents("").is_empty() && documents("# nothing\n---\n").is_empty());
    }

    #[test]
    fn many_documents_are_split_in_one_pass() {
        for text in ["{}\n".repeat(100_000), "{}\n---\n".repeat(100_000)] {
            let documents = documents(&text);
            assert_eq!(documents.len(), 100_000);
            assert_eq!(documents[99_999].number, 100_000);
            assert!(documents[99_999].line >= 100_000);
        }
    }

    #[test]
    fn comments_and_directives_belong_to_the_document_behind_them() {
        for text in ["# licence\n---\na: 1\n", "%YAML 1.2\n---\na: 1\n", "# x\n---\n# y\n---\na: 1\n"] {
            assert_eq!(split(text), [(text.trim(), 1)]);
        }
        let licensed = documents("# licence\n---\na: 1\n")[0].parse().unwrap();
        assert_eq!(licensed.value, serde_json::json!({"a": 1}));
        assert_eq!(split("a: 1\n---\n# b\n---\nb: 2\n"), [("a: 1", 1), ("# b\n---\nb: 2", 3)]);
        for text in [
            "# x\n---\n# y\n---\na: 1\n",
            "# x\n---\n# y\n---\n# z\n---\n# a\na: 1\n",
            "# x\n---\n%YAML 1.2\n---\na: 1\n",
            "# x\n---\n# y\n--- {a: 1}\n",
            "# x\n---# y\na: 1\n",
        ] {
            let all = documents(text);
            assert_eq!(all.len(), 1, "{text:?}");
            assert_eq!(all[0].parse().unwrap().value, serde_json::json!({"a": 1}), "{text:?}");
        }
        let repeated = documents("# x\n---\n# y\n---\na: 1\na: 2\n")[0];
        assert_eq!(repeated.parse().unwrap_err().line, 6);
        assert_eq!(repeated.parse_repeated_keys().unwrap().value, serde_json::json!({"a": 2}));
    }

    #[test]
    fn errors_name_document_and_line_once() {
        for (text, error) in [
            ("a: 1\n---\nb: 1\nc: [1\n---\n", "document 2, line 4: "),
            ("a: 1\n---\n{\"b\":\n 1,,}", "document 2, line 4: key must be a string"),
            ("a: 1\n---\nb: 1\nb: 2\n", "document 2, line 4: duplicate mapping key"),
        ] {
            let message = documents(text)[1].parse().unwrap_err().to_string();
            assert!(message.starts_with(error), "{message}");
            assert_eq!(message.matches("line").count(), 1, "{message}");
        }
    }

    #[test]
    fn json_with_tabs_and_flow_mappings_are_read() {
        for (text, is_json) in [("{\t\"a\": 1}", true), ("{a: 1}", false), ("a: 1", false)] {
            let parsed = documents(text)[0].parse().unwrap();
            assert_eq!(parsed, Parsed { value: serde_json::json!({"a": 1}), is_json }, "{text:?}");
        }
    }

    #[test]
    fn octal_modes_are_what_they_are_to_kubectl() {
        let parsed = documents("[0644, 0400, \"0644\", 0o644, 0, 0.5, 10]")[0].parse().unwrap();
        assert_eq!(parsed.value, serde_json::json!([420, 256, "0644", 420, 0, 0.5, 10]));
    }
}
