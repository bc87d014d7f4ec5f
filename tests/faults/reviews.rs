//! What is asked, and what is to be answered.

use std::fs;

use eks_pod_identity_webhook::injection::account::Account;
use serde_json::{Value, json};

use crate::support::{
    ROLE_ANNOTATION, account, admit, all_recorded, minimal_of, patch_of, path, recorded, recorded_account,
};

/// A request, and the answers to it that are right.
pub(crate) struct Review {
    pub(crate) name: String,
    pub(crate) body: Vec<u8>,
    pub(crate) answers: Vec<Vec<u8>>,
}

impl Review {
    /// Of a pod of this account in `payments`, which has one of these roles.
    pub(crate) fn of(name: &str, roles: &[&str]) -> Self {
        let body = minimal_of(name);
        let answer = |role: &&str| answer(&body, account(&[(ROLE_ANNOTATION, role)]));
        Self { name: name.to_owned(), answers: roles.iter().map(answer).collect(), body }
    }
}

fn answer(body: &[u8], account: Account) -> Vec<u8> {
    admit(body, |_, _| Some(account.clone())).unwrap().unwrap().body
}

/// Every recorded request. The core's answer, which is what is compared with byte for byte, says what the golden says.
pub(crate) fn golden() -> Vec<Review> {
    let reviews = all_recorded().into_iter().map(|name| {
        let body = recorded(&name);
        let answer = admit(&*body, recorded_account).unwrap().unwrap().body;
        let text = fs::read_to_string(path("goldens").join(format!("{name}.json"))).unwrap();
        let golden: Value = serde_json::from_str(&text).unwrap();
        let mut answered: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(json!(patch_of(&answered)), golden["patch"], "{name}");
        answered["response"].as_object_mut().unwrap().remove("patch");
        assert_eq!(answered, golden["answer"], "{name}");
        Review { name, body, answers: vec![answer] }
    });
    reviews.collect()
}
