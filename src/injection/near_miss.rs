//! Misspelled annotation keys, and the annotations that they were meant to be.
//!
//! EKS has other keys under the same prefix, and other controllers have keys of the same names, so only near misses are
//! reported. The chart's `annotationPolicy` applies the same rules in CEL.

use std::sync::LazyLock;

use super::annotation::Annotation;

/// Names that are not near one of ours, but can mean nothing else: (meant, written).
const ALIASES: [(Annotation, &[&str]); 7] = [
    (
        Annotation::RoleArn,
        &["role", "rolename", "iamrole", "iamrolearn", "awsrole", "awsrolearn", "irsarolearn", "arn"],
    ),
    (Annotation::Audience, &["tokenaudience", "aud"]),
    (
        Annotation::TokenExpiration,
        &["expiration", "expirationseconds", "tokenexpirationseconds", "tokenexpiry", "tokenlifetime"],
    ),
    (
        Annotation::StsRegionalEndpoints,
        &["stsregional", "regionalsts", "useregionalsts", "regionalendpoints", "stsendpoints"],
    ),
    (Annotation::Region, &["awsregion", "defaultregion", "awsdefaultregion"]),
    (Annotation::SkipContainers, &["excludecontainers"]),
    (Annotation::SessionName, &["rolesessionname"]),
];

/// Prefixes that are not near the default one, but can mean nothing else.
const DEFAULT_PREFIX_ALIASES: [&str; 3] = ["eks.aws.com", "aws.amazon.com", "eks.aws.amazon.com"];

/// The annotation of kube2iam and kiam.
pub const KUBE2IAM: &str = "iam.amazonaws.com/role";

/// The label of pods that are left alone, without the prefix.
pub const SKIP_LABEL: &str = "skip-pod-identity-webhook";

/// How many characters in a row a name may differ in.
const NAME_WINDOW: usize = 2;

/// The same for the prefix: `eks.amazon.com` lacks three, `amazonaws.com` four.
const PREFIX_WINDOW: usize = 4;

/// Longer keys are not compared: none is a near miss.
const MAX_LEN: usize = 128;

/// The annotation that `key` is a near miss of, under `prefix` (without a slash, such as `eks.amazonaws.com`); `None` if
/// the key is one of ours, or belongs to something else.
pub fn meant(key: &str, prefix: &str) -> Option<Annotation> {
    if key == KUBE2IAM {
        return Some(Annotation::RoleArn);
    }
    if key.len() > MAX_LEN {
        return None;
    }
    let (written_prefix, name) = key.split_once('/')?;
    match written_prefix == prefix {
        true if Annotation::named(name).is_some() => None,
        true => nearest(name),
        false if is_prefix_meant(&written_prefix.to_ascii_lowercase(), prefix) => nearest(name),
        false => None,
    }
}

/// Each annotation with its plain name, made once: a tenant may write thousands of keys that are compared with them.
static PLAIN_NAMES: LazyLock<Vec<(Annotation, String)>> =
    LazyLock::new(|| Annotation::ALL.iter().map(|&known| (known, plain(known.name()))).collect());

/// The same for the label.
static PLAIN_SKIP_LABEL: LazyLock<String> = LazyLock::new(|| plain(SKIP_LABEL));

/// Whether the name of a label, without the prefix, is a near miss of the skip label.
pub fn is_skip_label_meant(name: &str) -> bool {
    name != SKIP_LABEL && name.len() <= MAX_LEN && is_near(&plain(name), &PLAIN_SKIP_LABEL, NAME_WINDOW)
}

fn is_prefix_meant(written: &str, prefix: &str) -> bool {
    is_near(written, prefix, PREFIX_WINDOW)
        || prefix == "eks.amazonaws.com" && DEFAULT_PREFIX_ALIASES.contains(&written)
}

fn nearest(name: &str) -> Option<Annotation> {
    let name = plain(name);
    let alias = ALIASES.iter().find(|(_, written)| written.contains(&&*name)).map(|(meant, _)| *meant);
    let is_meant = |(_, known): &&(Annotation, String)| is_near(&name, known, NAME_WINDOW);
    alias.or_else(|| PLAIN_NAMES.iter().find(is_meant).map(|(meant, _)| *meant))
}

/// `Role-ARN`, `roleArn` and `role_arn` are spellings of one name.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|character| !matches!(character, '-' | '_' | '.'));
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Whether two texts are equal but for one place, of at most `window` characters in either.
fn is_near(one: &str, other: &str, window: usize) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len().abs_diff(other.len()) > window {
        return false;
    }
    let before = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (one, other) = (&one[before..], &other[before..]);
    let after = one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
    one.len().max(other.len()) - after <= window
}

#[cfg(test)]
mod tests {
    use std::{hint::black_box, time::Instant};

    use super::*;

    const PREFIX: &str = "eks.amazonaws.com";

    /// Keys that the chart's policy is tested with as well, on a real API server.
    fn fixture() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/fixtures/annotation-keys.json")).unwrap()
    }

    #[test]
    fn near_misses_are_found_by_name_and_by_prefix() {
        for (key, name) in fixture()["near"].as_object().unwrap() {
            assert_eq!(meant(key, PREFIX).map(Annotation::name), name.as_str(), "{key}");
        }
    }

    #[test]
    fn keys_of_ours_and_of_others_are_not_near_misses() {
        let ours: Vec<_> = Annotation::ALL.iter().map(|known| format!("{PREFIX}/{}", known.name())).collect();
        let fixture = fixture();
        let others = fixture["not"].as_array().unwrap().iter().map(|key| key.as_str().unwrap());
        let odd = ["eks.amazonaws.com/", "eks.amazonaws.com", ""];
        let long = format!("{PREFIX}/role-arn{}", "n".repeat(300));
        for key in ours.iter().map(String::as_str).chain(others).chain(odd).chain([&*long]) {
            assert_eq!(meant(key, PREFIX), None, "{key}");
        }
    }

    #[test]
    fn the_skip_label_has_near_misses() {
        for name in ["skip-pod-identity-webhok", "Skip-Pod-Identity-Webhook", "skip-pod-identity-webhooks"] {
            assert!(is_skip_label_meant(name), "{name}");
        }
        for name in [SKIP_LABEL, "pod-identity", "nodegroup", ""] {
            assert!(!is_skip_label_meant(name), "{name}");
        }
    }

    #[test]
    fn another_prefix_has_near_misses_of_its_own() {
        assert_eq!(meant("iam.example.com/role-arm", "iam.example.com"), Some(Annotation::RoleArn));
        assert_eq!(meant("iam.exmple.com/role-arn", "iam.example.com"), Some(Annotation::RoleArn));
        assert_eq!(meant("eks.amazonaws.com/role-arm", "iam.example.com"), None);
    }

    /// An account has room for thousands of keys, and each change of it is one event.
    #[test]
    fn a_key_is_compared_without_a_copy_of_every_known_name() {
        let names: Vec<_> = (0..2_000).map(|number| format!("k{number}")).collect();
        let keys: Vec<_> = names.iter().map(|name| format!("{PREFIX}/{name}")).collect();
        let shortest = |work: &dyn Fn()| {
            let run = |_| {
                let begun = Instant::now();
                work();
                begun.elapsed()
            };
            (0..10).map(run).min().unwrap()
        };
        let copied = shortest(&|| names.iter().for_each(|name| drop(black_box(plain(name)))));
        let compared = shortest(&|| assert!(keys.iter().all(|key| meant(key, PREFIX).is_none())));
        assert!(compared <= copied * 8, "{compared:?} to compare, {copied:?} to copy");
    }
}
