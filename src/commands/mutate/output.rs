//! The form in which `mutate` prints documents. Those that are not changed stay byte for byte as they were written.

use super::injector::{Kind, Mutated};
use crate::{
    cli::Output,
    yaml::{Document, Parsed},
};

/// The byte order mark, which some editors write.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A document to be printed.
pub(super) struct Printed<'a> {
    document: Document<'a>,
    text: String,
    /// Whether the text is the document's own.
    is_verbatim: bool,
    /// Whether a marker separates it from its neighbours.
    is_separated: bool,
    is_review: bool,
}

impl<'a> Printed<'a> {
    pub(super) fn new(
        document: Document<'a>,
        parsed: &Parsed,
        mutated: &Mutated,
        output: Option<Output>,
    ) -> anyhow::Result<Self> {
        let is_json = parsed.is_json;
        let is_unchanged = matches!(mutated.kind, Kind::Manifest) && mutated.patch.0.is_empty();
        let is_verbatim = match output {
            None => is_unchanged,
            Some(Output::Yaml) => is_unchanged && !is_json,
            Some(Output::Patch | Output::Json) => false,
        };
        let text = match (output, &mutated.kind) {
            _ if is_verbatim => document.text.to_owned(),
            (Some(Output::Patch), _) => serde_json::to_string(&mutated.patch)?,
            (None, Kind::Review { answer }) => answer.clone(),
            (None, Kind::Manifest) if is_json => serde_json::to_string_pretty(&mutated.value)?,
            (Some(Output::Json), _) => serde_json::to_string_pretty(&mutated.value)?,
            (Some(Output::Yaml) | None, _) => serde_saphyr::to_string(&mutated.value)?,
        };
        let is_review = matches!(mutated.kind, Kind::Review { .. });
        let is_separated = match output {
            Some(Output::Yaml) => true,
            Some(Output::Patch | Output::Json) => false,
            None => !is_review && (!is_json || document.is_separated),
        };
        Ok(Self { document, text, is_verbatim, is_separated, is_review })
    }
}

/// The output for all documents of `text`.
pub(super) fn render(text: &str, documents: &[Printed<'_>], output: Option<Output>) -> String {
    if output.is_none() && documents.iter().all(|document| !document.is_review) {
        in_place(text, documents)
    } else {
        joined(documents)
    }
}

/// The input with changed documents replaced.
fn in_place(text: &str, documents: &[Printed<'_>]) -> String {
    let (mut out, mut end) = (String::with_capacity(text.len()), 0);
    for printed in documents {
        let start = printed.document.text.as_ptr().addr() - text.as_ptr().addr();
        out.push_str(&text[end..start]);
        end = start + printed.document.text.len();
        if !printed.is_verbatim {
            out.push_str(printed.document.empty_documents());
        }
        if !printed.is_verbatim && !out.is_empty() && !out.ends_with(['\n', BYTE_ORDER_MARK]) {
            out.push('\n');
        }
        out.push_str(&printed.text);
        if !printed.is_verbatim && !out.ends_with('\n') && !text[end..].starts_with(['\n', '\r']) {
            out.push('\n');
        }
    }
    out.push_str(&text[end..]);
    out
}

fn joined(documents: &[Printed<'_>]) -> String {
    let mut out = String::new();
    for (index, printed) in documents.iter().enumerate() {
        if index > 0 && (printed.is_separated || documents[index - 1].is_separated) {
            // Directives may only follow the end of a document.
            out.push_str(if printed.text.starts_with('%') { "...\n" } else { "---\n" });
        }
        // The blank lines at the end of a document may belong to a block scalar (`|+`).
        out.push_str(&printed.text);
        // And a final newline that was not there would.
        let is_last = index + 1 == documents.len();
        if !(out.ends_with('\n') || printed.is_verbatim && is_last) {
            out.push('\n');
        }
    }
    out
}
