//! What the user is told through kube-apiserver: short lines that kubectl prints.

/// One warning, within what kube-apiserver passes on: 256 characters (`truncateItemRunes` in
/// `apiserver/pkg/endpoints/filters/warning.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(Box<str>);

/// The most characters that kube-apiserver passes on of one warning.
const MAX_CHARS: usize = 256;

/// The most characters quoted of somebody's text.
const MAX_QUOTED_CHARS: usize = 80;

impl Warning {
    /// A warning; text beyond the limit is cut.
    pub fn new(text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.truncate(cut(&text, MAX_CHARS).len());
        Self(text.into())
    }
}

impl AsRef<str> for Warning {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// `text` in quotes, control characters escaped, and cut where it is long: fit to stand in a message.
pub fn quote(text: &str) -> String {
    let quoted = cut(text, MAX_QUOTED_CHARS);
    let ellipsis = if quoted.len() < text.len() { "…" } else { "" };
    format!("{quoted:?}{ellipsis}")
}

/// The first `max_chars` characters of `text`.
pub fn cut(text: &str, max_chars: usize) -> &str {
    text.char_indices().nth(max_chars).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_and_quotes_are_cut_between_characters() {
        assert_eq!(Warning::new("é".repeat(300)).as_ref(), "é".repeat(256));
        assert_eq!(quote(&"é".repeat(81)), format!("\"{}\"…", "é".repeat(80)));
        assert_eq!(quote("a\"\n"), r#""a\"\n""#);
    }
}
