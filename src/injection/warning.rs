//! Warnings for users, which kube-apiserver passes on and kubectl prints.

/// One warning, within what kube-apiserver passes on: 256 characters (`truncateItemRunes` in
/// `apiserver/pkg/endpoints/filters/warning.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    kind: WarningKind,
    text: Box<str>,
}

/// The subject of a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// The ServiceAccount's role is not an ARN.
    RoleArn,
    /// The region is of another partition than the role.
    Region,
    /// Something else is mounted where the token would be.
    MountPath,
    /// A container has static credentials, which SDKs prefer.
    StaticCredentials,
    /// Another annotation of the ServiceAccount is a mistake.
    AccountAnnotation,
    /// An annotation of the pod is a mistake.
    PodAnnotation,
}

impl WarningKind {
    /// Every kind, in the order of their numbers: the most important first.
    pub const ALL: [Self; 6] = [
        Self::RoleArn,
        Self::Region,
        Self::MountPath,
        Self::StaticCredentials,
        Self::AccountAnnotation,
        Self::PodAnnotation,
    ];

    /// The kind as a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoleArn => "role_arn",
            Self::Region => "region",
            Self::StaticCredentials => "static_credentials",
            Self::AccountAnnotation => "account_annotation",
            Self::PodAnnotation => "pod_annotation",
            Self::MountPath => "mount_path",
        }
    }
}

/// The kinds of the warnings in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warned(u8);

impl Warned {
    /// Adds a kind.
    pub fn insert(&mut self, kind: WarningKind) {
        self.0 |= 1 << kind as u8;
    }

    /// Whether there was no warning.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds there were.
    pub fn kinds(self) -> impl Iterator<Item = WarningKind> {
        WarningKind::ALL.into_iter().filter(move |&kind| self.0 & 1 << kind as u8 != 0)
    }
}

/// The most characters that kube-apiserver passes on of one warning.
const MAX_CHARS: usize = 256;

/// The most characters that are quoted of a text.
const MAX_QUOTED_CHARS: usize = 80;

/// The most characters that are quoted of one of several names.
const MAX_NAME_CHARS: usize = 30;

impl Warning {
    /// Its subject.
    pub fn kind(&self) -> WarningKind {
        self.kind
    }

    /// A warning; text beyond the limit is cut.
    pub fn new(kind: WarningKind, text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.truncate(cut(&text, MAX_CHARS).len());
        Self { kind, text: text.into() }
    }
}

impl AsRef<str> for Warning {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// `text` in quotes, with control characters escaped, and cut where it is long.
pub fn quote(text: &str) -> String {
    quote_chars(text, MAX_QUOTED_CHARS)
}

/// A name in quotes, cut so that a few fit into a warning.
pub fn quote_name(name: &str) -> String {
    quote_chars(name, MAX_NAME_CHARS)
}

fn quote_chars(text: &str, max_chars: usize) -> String {
    let quoted = cut(text, max_chars);
    let ellipsis = if quoted.len() < text.len() { "…" } else { "" };
    format!("{quoted:?}{ellipsis}")
}

/// The first `max_chars` characters of `text`.
pub fn cut(text: &str, max_chars: usize) -> &str {
    // No text has more characters than bytes.
    if text.len() <= max_chars {
        return text;
    }
    text.char_indices().nth(max_chars).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_and_quotes_are_cut_between_characters() {
        assert_eq!(Warning::new(WarningKind::RoleArn, "é".repeat(300)).as_ref(), "é".repeat(256));
        assert_eq!(quote(&"é".repeat(81)), format!("\"{}\"…", "é".repeat(80)));
        assert_eq!(quote("a\"\n"), r#""a\"\n""#);
    }

    #[test]
    fn the_kinds_of_an_answer_are_a_set() {
        let mut warned = Warned::default();
        assert!(warned.is_empty());
        for kind in [WarningKind::MountPath, WarningKind::RoleArn, WarningKind::MountPath] {
            warned.insert(kind);
        }
        assert_eq!(warned.kinds().collect::<Vec<_>>(), [WarningKind::RoleArn, WarningKind::MountPath]);
        assert!(WarningKind::ALL.iter().enumerate().all(|(index, &kind)| kind as usize == index));
    }
}
