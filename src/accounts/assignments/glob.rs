//! Globs, as in keys of the role mapping and in lists of permitted roles.

/// A text in which each `*` stands for any characters, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    text: Box<str>,
    /// Where its first `*` is. Most texts differ from most globs before it.
    star: Option<usize>,
}

impl Glob {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.into(), star: text.find('*') }
    }

    /// Whether it matches one text alone.
    pub(super) fn is_exact(&self) -> bool {
        self.star.is_none()
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(star) = self.star else { return *self.text == *text };
        let Some(mut text) = text.strip_prefix(&self.text[..star]) else { return false };
        let mut rest = &self.text[star + 1..];
        // What is between two stars may as well stand where it is found first.
        while let Some((part, next)) = rest.split_once('*') {
            let Some(found) = text.find(part) else { return false };
            text = &text[found + part.len()..];
            rest = next;
        }
        text.ends_with(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (glob, text, expected) in [
            ("api", "api", true),
            ("api", "api2", false),
            ("*", "", true),
            ("*", "anything", true),
            ("test-*", "test-1", true),
            ("test-*", "test", false),
            ("*-api", "a-api", true),
            ("*-api", "a-api-b", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a**c", "ac", true),
            ("ab*ba", "aba", false),
            ("*a*a*", "a", false),
        ] {
            assert_eq!(Glob::new(glob).matches(text), expected, "{glob} {text}");
        }
    }

    /// The definition, as slow as it is plain.
    fn matches_by_definition(glob: &[u8], text: &[u8]) -> bool {
        match glob.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => {
                (0..=text.len()).any(|skipped| matches_by_definition(rest, &text[skipped..]))
            }
            Some((c, rest)) => text.first() == Some(c) && matches_by_definition(rest, &text[1..]),
        }
    }

    proptest::proptest! {
        #[test]
        fn globs_match_what_they_are_defined_to(glob in "[ab*]{0,8}", text in "[ab]{0,10}") {
            proptest::prop_assert_eq!(
                Glob::new(&glob).matches(&text),
                matches_by_definition(glob.as_bytes(), text.as_bytes())
            );
        }
    }
}
