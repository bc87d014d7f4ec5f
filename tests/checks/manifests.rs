//! Manifests: text in, accounts out.

use std::sync::LazyLock;

use eks_pod_identity_webhook::{accounts::sources::manifests::parse, injection::resolver::Resolver, yaml};

static BINDER: LazyLock<Resolver> = LazyLock::new(|| Resolver::new(Default::default()));

/// Any text is read or refused, and every document stands on the line that an error would name.
pub(crate) fn manifests(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut end = 0;
    for (index, document) in yaml::documents(text).iter().enumerate() {
        let start = document.text.as_ptr() as usize - text.as_ptr() as usize;
        assert!(start >= end, "documents overlap");
        end = start + document.text.len();
        assert_eq!(&text[start..end], document.text);
        assert_eq!(document.number, index + 1);
        assert_eq!(document.line, text[..start].matches('\n').count() + 1, "document {}", document.number);
        // To YAML a carriage return alone ends a line as well, though hardly an editor shows it so.
        let has_other_lines = document.text.replace("\r\n", "").contains('\r');
        if let Err(error) = document.parse() {
            let last = document.line + document.text.matches('\n').count();
            let is_within = (document.line..=last + 1).contains(&error.line);
            assert!(is_within || has_other_lines, "{error} of lines to {last}");
        } else if document.text.trim_start().starts_with('{')
            && let Ok(json) = serde_json::from_str::<serde_json::Value>(document.text)
        {
            assert_eq!(document.parse().unwrap().value, json, "JSON is read as JSON");
        }
    }
    for account in parse(text, &BINDER).into_iter().flat_map(|loaded| loaded.accounts) {
        assert!(text.contains(&account.name) || text.contains(['\\', '"', '\'']), "{account:?}");
    }
}
