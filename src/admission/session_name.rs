//! The role session name: the pod's name in a form that STS accepts.

use std::{borrow::Cow, hash::Hasher};

/// STS takes 2 to 64 characters of `[\w+=,.@-]` (`AssumeRoleWithWebIdentity`, `RoleSessionName`).
const MIN_CHARS: usize = 2;
const MAX_CHARS: usize = 64;

/// The suffix of a long name after its cut prefix: `-` and 8 hex digits.
const HASH_CHARS: usize = 9;

/// The session name of the pod called `pod_name`, which is not empty.
///
/// A name that STS takes stays as it is. One character is prefixed with `pod-`. Any other name becomes a cut prefix
/// and a stable hash of the whole, so that two long names with the same beginning stay apart in CloudTrail.
pub(super) fn session_name(pod_name: &str) -> Cow<'_, str> {
    if !pod_name.chars().all(is_allowed) || pod_name.len() > MAX_CHARS {
        let prefix = pod_name.chars().take(MAX_CHARS - HASH_CHARS);
        let prefix: String = prefix.map(|c| if is_allowed(c) { c } else { '-' }).collect();
        Cow::Owned(format!("{prefix}-{:08x}", stable_hash(pod_name)))
    } else if pod_name.len() < MIN_CHARS {
        Cow::Owned(format!("pod-{pod_name}"))
    } else {
        Cow::Borrowed(pod_name)
    }
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_+=,.@-".contains(c)
}

/// FNV-1a folded to 32 bits: the same in every version and on every machine.
fn stable_hash(text: &str) -> u32 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(text.as_bytes());
    let hash = hasher.finish();
    (hash >> 32) as u32 ^ hash as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_sts_takes_stay() {
        for name in ["ab", "web-7d4b9c", "a.b_c+d=e,f@g", &"x".repeat(64)] {
            assert_eq!(session_name(name), name);
        }
    }

    #[test]
    fn other_names_are_made_to_fit() {
        assert_eq!(session_name("a"), "pod-a");
        let long = session_name(&"x".repeat(65)).into_owned();
        assert_eq!(long, format!("{}-{:08x}", "x".repeat(55), stable_hash(&"x".repeat(65))));
        assert_ne!(long, session_name(&"x".repeat(66)));
        assert!(session_name("ü").starts_with("--"));
    }

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(stable_hash("a"), 0xaf63_dc4c ^ 0x8601_ec8c);
    }
}
