//! The contents of the Secret. Each entry is parsed by itself, so that only damaged ones are replaced.

use std::time::SystemTime;

use base64_simd::STANDARD;
use serde_json::{Value, json};

use super::{
    authority::{CannotSign, Leaf, PrivateKey, make_authority, sign_leaf},
    certificate::Certificate,
    policy::Policy,
};

const AUTHORITIES: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const LEAF: &str = "tls.crt";
const LEAF_KEY: &str = "tls.key";
/// Leaves that were replaced before they expired. A replica that can't reach the API server may still serve one.
const RETIRED: &str = "retired.crt";

/// How many replaced leaves are kept at most, so that the Secret does not grow when something damages it repeatedly.
const MAX_RETIRED: usize = 32;

/// The authorities, the leaf that every replica serves, and the leaves before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretContents {
    /// The authority that signs new leaves.
    pub newest: Certificate,
    /// Its key. Without a matching key, a new authority is needed.
    pub key: Option<PrivateKey>,
    /// Earlier authorities, whose leaves may still be served.
    pub older: Vec<Certificate>,
    /// The leaf that is served.
    pub leaf: Option<Leaf>,
    /// Replaced leaves that have not expired, the newest last.
    pub retired: Vec<Certificate>,
}

/// The result of parsing a Secret.
#[derive(Debug, Default)]
pub struct Reading {
    /// The usable contents, if there are any.
    pub contents: Option<SecretContents>,
    /// The entries that can't be used, with the reason.
    pub defects: Vec<String>,
}

impl Reading {
    /// Parses a Secret.
    pub fn of(secret: &Value) -> Self {
        let mut defects = Vec::new();
        let mut certificates = |name: &'static str| {
            let read = entry(secret, name).and_then(|text| Certificate::parse_pem(&text));
            read.unwrap_or_else(|error| {
                defects.push(format!("{name}: {error}"));
                Vec::new()
            })
        };
        let (authorities, leaf) = (certificates(AUTHORITIES), certificates(LEAF).into_iter().next());
        let retired = certificates(RETIRED);
        let mut key_of = |certificate: &Certificate, name: &'static str| {
            let text = entry(secret, name).ok().and_then(|text| String::from_utf8(text).ok());
            let key = text.and_then(|text| PrivateKey::of(certificate, &text));
            if key.is_none() {
                defects.push(format!("{name}: not the key of the certificate beside it"));
            }
            key
        };
        let mut authorities = authorities.into_iter();
        let contents = authorities.next().map(|newest| SecretContents {
            key: key_of(&newest, AUTHORITY_KEY).filter(|_| newest.is_authority()),
            newest,
            older: authorities.collect(),
            leaf: leaf
                .and_then(|certificate| key_of(&certificate, LEAF_KEY).map(|key| Leaf { certificate, key })),
            retired,
        });
        Self { contents, defects }
    }
}

/// An entry's bytes; empty if the entry is missing.
fn entry(secret: &Value, name: &str) -> Result<Vec<u8>, String> {
    let text = secret["data"][name].as_str().unwrap_or_default();
    STANDARD.decode_to_vec(text).map_err(|_| "not base64".to_owned())
}

/// Why replicas can't get a certificate from a Secret that has lost these entries.
pub(super) fn lost_reason(lost: &[&'static str]) -> Option<&'static str> {
    match lost {
        [] => None,
        [AUTHORITY_KEY] => Some("something removes ca.key from the certificate's Secret"),
        [LEAF_KEY] => Some("something removes tls.key from the certificate's Secret"),
        [..] => Some("something removes what is written to the certificate's Secret"),
    }
}

impl SecretContents {
    /// The authorities that the `caBundle` must hold, the newest first.
    pub fn authorities(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.newest).chain(&self.older)
    }

    /// Adds the leaves that the Secret held before it was damaged, since they may still be served.
    pub fn remember(&mut self, before: &Self) {
        let leaves = before.retired.iter().chain(before.leaf.as_ref().map(|leaf| &leaf.certificate));
        let current = self.leaf.as_ref().map(|leaf| &leaf.certificate);
        let lost = leaves.filter(|&leaf| current != Some(leaf) && !self.retired.contains(leaf));
        let lost: Vec<_> = lost.cloned().collect();
        self.retired.extend(lost);
    }

    /// The Secret with these contents. Its metadata and its other entries stay.
    pub fn write_to(&self, secret: &Value) -> Value {
        let mut secret = secret.clone();
        if !secret["data"].is_object() {
            secret["data"] = json!({});
        }
        for (name, text) in self.entries() {
            secret["data"][name] = STANDARD.encode_to_string(text).into();
        }
        secret
    }

    /// The names of the entries that the Secret lacks, or holds with other data than these contents.
    pub(super) fn differing_entries(&self, secret: &Value) -> Vec<&'static str> {
        let differs = |(name, text): &(&'static str, String)| {
            !text.is_empty() && entry(secret, name).as_deref() != Ok(text.as_bytes())
        };
        self.entries().into_iter().filter(differs).map(|(name, _)| name).collect()
    }

    fn entries(&self) -> [(&'static str, String); 5] {
        let leaf = self.leaf.as_ref();
        [
            (AUTHORITIES, self.authorities().map(Certificate::pem).collect()),
            (AUTHORITY_KEY, self.key.as_ref().map_or("", PrivateKey::pem).to_owned()),
            // A Secret of type kubernetes.io/tls must have these two entries, even if they are empty.
            (LEAF, leaf.map_or_else(String::new, |leaf| leaf.certificate.pem())),
            (LEAF_KEY, leaf.map_or("", |leaf| leaf.key.pem()).to_owned()),
            (RETIRED, self.retired.iter().map(Certificate::pem).collect()),
        ]
    }

    /// Adds a new authority, which signs from now on. The leaf stays until the new authority has been published for long
    /// enough.
    pub fn with_new_authority(
        old: Option<&Self>,
        policy: &Policy,
        now: SystemTime,
    ) -> Result<Self, CannotSign> {
        let (newest, key) = make_authority(policy, now)?;
        let key = Some(key);
        Ok(match old {
            None => Self { newest, key, older: Vec::new(), leaf: None, retired: Vec::new() },
            Some(old) => Self { newest, key, older: old.authorities().cloned().collect(), ..old.clone() },
        })
    }

    /// Replaces the leaf by a new one of the newest authority. `None` without that authority's key.
    pub fn with_new_leaf(&self, policy: &Policy, now: SystemTime) -> Result<Option<Self>, CannotSign> {
        let Some(key) = &self.key else { return Ok(None) };
        let leaf = sign_leaf(&self.newest, key, policy, now)?;
        let mut next = self.clone();
        next.retired.extend(next.leaf.replace(leaf).map(|replaced| replaced.certificate));
        next.retired.drain(..next.retired.len().saturating_sub(MAX_RETIRED));
        Ok(Some(next.without_expired(policy, now)))
    }

    /// Drops expired leaves, and the older authorities that signed none of the others.
    ///
    /// A leaf is kept for an overlap after it expires, because clocks differ.
    pub fn without_expired(&self, policy: &Policy, now: SystemTime) -> Self {
        let mut kept = self.clone();
        kept.retired.retain(|leaf| now < leaf.expires() + policy.overlap);
        let leaves = || kept.leaf.iter().map(|leaf| &leaf.certificate).chain(&kept.retired);
        let older = self.older.iter().filter(|authority| leaves().any(|leaf| leaf.is_signed_by(authority)));
        kept.older = older.cloned().collect();
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn policy() -> Policy {
        Policy {
            names: Policy::names("webhook", "ns", "cluster.local"),
            authority_validity: Duration::from_secs(1000),
            leaf_validity: Duration::from_secs(100),
            overlap: Duration::from_secs(10),
            jitter: 0.0,
        }
    }

    fn made(now: SystemTime) -> SecretContents {
        let first = SecretContents::with_new_authority(None, &policy(), now).unwrap();
        let first = first.with_new_leaf(&policy(), now).unwrap().unwrap();
        let second = SecretContents::with_new_authority(Some(&first), &policy(), now).unwrap();
        second.with_new_leaf(&policy(), now).unwrap().unwrap()
    }

    #[test]
    fn contents_survive_a_round_trip() {
        let stored = made(SystemTime::now());
        assert_eq!((stored.older.len(), stored.retired.len()), (1, 1));
        let secret = json!({"metadata": {"labels": {"a": "b"}}, "data": {"other": "eA=="}, "type": "Opaque"});
        let written = stored.write_to(&secret);
        assert_eq!((&written["metadata"], &written["data"]["other"]), (&secret["metadata"], &json!("eA==")));
        let reading = Reading::of(&written);
        assert_eq!((reading.contents.as_ref(), reading.defects.len()), (Some(&stored), 0));
        assert!(!format!("{stored:?}").contains("PRIVATE"), "keys are not printed");
    }

    #[test]
    fn damaged_entries_leave_the_others_usable() {
        let stored = made(SystemTime::now());
        let other = made(SystemTime::now()).write_to(&json!({}));
        let whole = stored.write_to(&json!({}));
        for garbage in [json!("%"), json!("bm8="), json!(""), json!(7), other["data"][AUTHORITY_KEY].clone()]
        {
            let with = |name: &str| {
                let mut secret = whole.clone();
                secret["data"][name] = garbage.clone();
                Reading::of(&secret)
            };
            let without_key = SecretContents { key: None, ..stored.clone() };
            assert_eq!(with(AUTHORITY_KEY).contents.unwrap(), without_key);
            assert_eq!(with(AUTHORITY_KEY).defects, ["ca.key: not the key of the certificate beside it"]);
            let without_leaf = SecretContents { leaf: None, ..stored.clone() };
            assert_eq!(with(LEAF).contents.unwrap(), without_leaf);
            assert_eq!(with(LEAF_KEY).contents.unwrap(), without_leaf);
            assert!(with(AUTHORITIES).contents.is_none());
        }
        let cut = stored.newest.pem()[..200].to_owned();
        let mut secret = whole.clone();
        secret["data"][AUTHORITIES] = STANDARD.encode_to_string(cut).into();
        let reading = Reading::of(&secret);
        assert!(reading.contents.is_none() && reading.defects[0].starts_with("ca.crt: "), "{reading:?}");
        for empty in [json!({}), json!({"data": null}), json!({"data": {"tls.crt": "", "tls.key": ""}})] {
            let reading = Reading::of(&empty);
            assert!(reading.contents.is_none() && reading.defects.is_empty(), "{empty}");
        }
    }

    #[test]
    fn leaves_that_a_damaged_secret_lost_are_remembered() {
        let before = made(SystemTime::now());
        let mut damaged = SecretContents { leaf: None, retired: Vec::new(), ..before.clone() };
        damaged.remember(&before);
        assert_eq!(damaged.retired.len(), 2);
        assert_eq!(damaged.without_expired(&policy(), SystemTime::now()).older, before.older);
        let mut whole = before.clone();
        whole.remember(&before);
        assert_eq!(whole, before);
    }

    #[test]
    fn entries_that_something_else_changed_are_named() {
        let contents = made(SystemTime::now());
        let whole = contents.write_to(&json!({}));
        assert_eq!(contents.differing_entries(&whole), Vec::<&str>::new());
        let mut pruned = whole.clone();
        pruned["data"].as_object_mut().unwrap().remove(AUTHORITY_KEY);
        assert_eq!(contents.differing_entries(&pruned), [AUTHORITY_KEY]);
        let all = [AUTHORITIES, AUTHORITY_KEY, LEAF, LEAF_KEY, RETIRED];
        assert_eq!(contents.differing_entries(&json!({})), all);
    }

    #[test]
    fn the_number_of_replaced_leaves_is_limited() {
        let now = SystemTime::now();
        let mut contents = made(now);
        for _ in 0..2 * MAX_RETIRED {
            contents = contents.with_new_leaf(&policy(), now).unwrap().unwrap();
        }
        assert_eq!(contents.retired.len(), MAX_RETIRED);
        assert!(contents.retired.last().unwrap().is_signed_by(&contents.newest));
    }

    #[test]
    fn an_authority_outlasts_the_leaves_that_it_signed() {
        let start = SystemTime::now();
        let stored = made(start);
        for (seconds, older) in [(0, 1), (99, 1), (109, 1), (112, 0)] {
            let later = stored.without_expired(&policy(), start + Duration::from_secs(seconds));
            assert_eq!((later.older.len(), later.retired.len()), (older, older), "after {seconds} s");
        }
    }
}
