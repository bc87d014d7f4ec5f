//! What the Secret holds: read leniently, part by part, so that what is broken is replaced and the rest kept.

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
/// Leaves that were replaced before they expired. A replica that is cut off from the API server may still serve one.
const RETIRED: &str = "retired.crt";

/// The authorities, the leaf that every replica serves, and what else a rotation has to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The authority that signs.
    pub newest: Certificate,
    /// Its key; none if the Secret's is none of it, and then a new authority is needed.
    pub key: Option<PrivateKey>,
    /// Earlier authorities, whose leaves may still be served.
    pub older: Vec<Certificate>,
    /// What is served.
    pub leaf: Option<Leaf>,
    /// Leaves that were replaced and have not expired.
    pub retired: Vec<Certificate>,
}

/// What was found in a Secret.
#[derive(Debug, Default)]
pub struct Reading {
    /// What can be used, if anything can.
    pub stored: Option<Stored>,
    /// The entries that can't be, with the reason.
    pub defects: Vec<String>,
}

impl Reading {
    /// Reads a Secret.
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
                defects.push(format!("{name}: no key of the certificate beside it"));
            }
            key
        };
        let mut authorities = authorities.into_iter();
        let stored = authorities.next().map(|newest| Stored {
            key: key_of(&newest, AUTHORITY_KEY).filter(|_| newest.is_authority()),
            newest,
            older: authorities.collect(),
            leaf: leaf
                .and_then(|certificate| key_of(&certificate, LEAF_KEY).map(|key| Leaf { certificate, key })),
            retired,
        });
        Self { stored, defects }
    }
}

/// An entry's bytes; one that is not there is empty.
fn entry(secret: &Value, name: &str) -> Result<Vec<u8>, String> {
    let text = secret["data"][name].as_str().unwrap_or_default();
    STANDARD.decode_to_vec(text).map_err(|_| "no base64".to_owned())
}

impl Stored {
    /// The authorities, the newest first: what the `caBundle` has to hold.
    pub fn authorities(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.newest).chain(&self.older)
    }

    /// Also remembers the leaves that a Secret told of before it was damaged, since they may still be served.
    pub fn remember(&mut self, before: &Self) {
        let leaves = before.retired.iter().chain(before.leaf.as_ref().map(|leaf| &leaf.certificate));
        let current = self.leaf.as_ref().map(|leaf| &leaf.certificate);
        let lost = leaves.filter(|&leaf| current != Some(leaf) && !self.retired.contains(leaf));
        let lost: Vec<_> = lost.cloned().collect();
        self.retired.extend(lost);
    }

    /// The Secret that holds this, and is otherwise as it was: the names, labels and entries that are not ours stay.
    pub fn write_to(&self, secret: &Value) -> Value {
        let mut secret = secret.clone();
        let pem = |certificates: &mut dyn Iterator<Item = &Certificate>| {
            certificates.map(Certificate::pem).collect()
        };
        let leaf = self.leaf.as_ref();
        let entries: [(&str, String); 5] = [
            (AUTHORITIES, pem(&mut self.authorities())),
            (AUTHORITY_KEY, self.key.as_ref().map_or("", PrivateKey::pem).to_owned()),
            // A Secret of type kubernetes.io/tls needs these two, if only to be empty.
            (LEAF, leaf.map_or_else(String::new, |leaf| leaf.certificate.pem())),
            (LEAF_KEY, leaf.map_or("", |leaf| leaf.key.pem()).to_owned()),
            (RETIRED, pem(&mut self.retired.iter())),
        ];
        if !secret["data"].is_object() {
            secret["data"] = json!({});
        }
        for (name, text) in entries {
            secret["data"][name] = STANDARD.encode_to_string(text).into();
        }
        secret
    }

    /// With a new authority, which signs from now on. The leaf stays: it is replaced once the new authority has been
    /// published for long enough.
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

    /// With a new leaf, signed by the newest authority. `None` without that authority's key.
    pub fn with_new_leaf(&self, policy: &Policy, now: SystemTime) -> Result<Option<Self>, CannotSign> {
        let Some(key) = &self.key else { return Ok(None) };
        let leaf = sign_leaf(&self.newest, key, policy, now)?;
        let retired = self.retired.iter().chain(self.leaf.as_ref().map(|leaf| &leaf.certificate));
        let retired = retired.cloned().collect();
        Ok(Some(Self { leaf: Some(leaf), retired, ..self.clone() }.without_the_gone(policy, now)))
    }

    /// Without leaves that have expired, and without the authorities of which no other leaf is left.
    ///
    /// A leaf counts for an overlap longer than it is valid: clocks differ.
    pub fn without_the_gone(&self, policy: &Policy, now: SystemTime) -> Self {
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

    fn made(now: SystemTime) -> Stored {
        let first = Stored::with_new_authority(None, &policy(), now).unwrap();
        let first = first.with_new_leaf(&policy(), now).unwrap().unwrap();
        let second = Stored::with_new_authority(Some(&first), &policy(), now).unwrap();
        second.with_new_leaf(&policy(), now).unwrap().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let stored = made(SystemTime::now());
        assert_eq!((stored.older.len(), stored.retired.len()), (1, 1));
        let secret = json!({"metadata": {"labels": {"a": "b"}}, "data": {"other": "eA=="}, "type": "Opaque"});
        let written = stored.write_to(&secret);
        assert_eq!((&written["metadata"], &written["data"]["other"]), (&secret["metadata"], &json!("eA==")));
        let reading = Reading::of(&written);
        assert_eq!((reading.stored.as_ref(), reading.defects.len()), (Some(&stored), 0));
        assert!(!format!("{stored:?}").contains("PRIVATE"), "keys are not printed");
    }

    #[test]
    fn a_broken_part_leaves_the_others() {
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
            let without_key = Stored { key: None, ..stored.clone() };
            assert_eq!(with(AUTHORITY_KEY).stored.unwrap(), without_key);
            assert_eq!(with(AUTHORITY_KEY).defects, ["ca.key: no key of the certificate beside it"]);
            let without_leaf = Stored { leaf: None, ..stored.clone() };
            assert_eq!(with(LEAF).stored.unwrap(), without_leaf);
            assert_eq!(with(LEAF_KEY).stored.unwrap(), without_leaf);
            assert!(with(AUTHORITIES).stored.is_none());
        }
        let cut = stored.newest.pem()[..200].to_owned();
        let mut secret = whole.clone();
        secret["data"][AUTHORITIES] = STANDARD.encode_to_string(cut).into();
        let reading = Reading::of(&secret);
        assert!(reading.stored.is_none() && reading.defects[0].starts_with("ca.crt: "), "{reading:?}");
        for empty in [json!({}), json!({"data": null}), json!({"data": {"tls.crt": "", "tls.key": ""}})] {
            let reading = Reading::of(&empty);
            assert!(reading.stored.is_none() && reading.defects.is_empty(), "{empty}");
        }
    }

    #[test]
    fn leaves_that_a_damaged_secret_no_longer_tells_of_are_remembered() {
        let before = made(SystemTime::now());
        let mut damaged = Stored { leaf: None, retired: Vec::new(), ..before.clone() };
        damaged.remember(&before);
        assert_eq!(damaged.retired.len(), 2);
        assert_eq!(damaged.without_the_gone(&policy(), SystemTime::now()).older, before.older);
        let mut whole = before.clone();
        whole.remember(&before);
        assert_eq!(whole, before);
    }

    #[test]
    fn an_authority_outlasts_the_leaves_that_it_signed() {
        let start = SystemTime::now();
        let stored = made(start);
        for (seconds, older) in [(0, 1), (99, 1), (109, 1), (112, 0)] {
            let later = stored.without_the_gone(&policy(), start + Duration::from_secs(seconds));
            assert_eq!((later.older.len(), later.retired.len()), (older, older), "after {seconds} s");
        }
    }
}
