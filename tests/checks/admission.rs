//! The core: reviews in, answers out, against the reference.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock},
};

use base64_simd::STANDARD;
use eks_pod_identity_webhook::{
    admission::{Answer, Buffers, Outcome, Request, Webhook},
    injection::{account::Account, resolver::Resolver},
};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::reference::{Annotations, Verdict, verdict};

static WEBHOOK: LazyLock<Webhook> = LazyLock::new(|| Webhook::new(Arc::default()));

/// The accounts that reviews may name, in any namespace; others are unknown.
static ACCOUNTS: LazyLock<HashMap<&str, (Annotations, Account)>> = LazyLock::new(|| {
    const ROLE: (&str, &str) = ("role-arn", "arn:aws:iam::111122223333:role/payments-api");
    let full = [
        ROLE,
        ("audience", "vault"),
        ("token-expiration", "7200"),
        ("region", "eu-west-1"),
        ("sts-regional-endpoints", "true"),
        ("skip-containers", "skip, b"),
        ("include-containers", "a,b,app"),
    ];
    let odd = [
        ("role-arn", " no-arn\n"),
        ("audience", " "),
        ("token-expiration", "forever"),
        ("region", "Nowhere"),
        ("sts-regional-endpoints", "maybe"),
    ];
    let accounts: [(_, &[_]); 5] =
        [("api", &[ROLE]), ("plain", &[]), ("default", &[]), ("full", &full), ("odd", &odd)];
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let resolved = |annotations: &[_]| {
        let annotations: Annotations = annotations.iter().map(owned).collect();
        let account = bind(&annotations);
        (annotations, account)
    };
    accounts.into_iter().map(|(name, annotations)| (name, resolved(annotations))).collect()
});

fn bind(annotations: &Annotations) -> Account {
    let prefixed: Vec<_> =
        annotations.iter().map(|(key, value)| (format!("eks.amazonaws.com/{key}"), value)).collect();
    Resolver::new(Arc::default()).resolve(prefixed.iter().map(|(key, value)| (&**key, &***value)))
}

fn look_up(_: &str, name: &str) -> Option<Account> {
    ACCOUNTS.get(name).map(|(_, account)| account.clone())
}

/// A review is read as if it were the first, independently of earlier ones.
pub(crate) fn review(input: &[u8]) {
    thread_local! {
        static USED: RefCell<Buffers> = RefCell::default();
    }
    let first = read(input, &mut Buffers::default());
    USED.with_borrow_mut(|used| assert_eq!(read(input, used), first));
}

/// What is read of a review before its account is looked up.
fn read(input: &[u8], buffers: &mut Buffers) -> Result<Vec<String>, String> {
    let mut body = input.to_vec();
    let document = buffers.parse(&mut body).map_err(|error| error.to_string())?;
    let request = WEBHOOK.read(&document);
    let request = request.map(|request| {
        let account = match &request {
            Request::Exempt(_) => "",
            Request::Pod(pod) => pod.service_account(),
        };
        [request.operation().as_str(), request.uid(), request.namespace(), request.name(), account]
            .map(ToOwned::to_owned)
            .into()
    });
    let request = request.map_err(|error| error.to_string());
    buffers.recycle(document);
    request
}

/// A review is answered as by the reference, and both ways to an answer agree.
pub(crate) fn core(input: &[u8]) {
    assert_both_ways_agree(input);
    let Ok(review) = serde_json::from_slice::<Value>(input) else {
        // Not JSON to serde_json: refused, or answered by what could be made of it.
        admit(input, look_up).ok();
        return;
    };
    let accounts = |_: &str, name: &str| ACCOUNTS.get(name).map(|(annotations, _)| annotations.clone());
    let expected = verdict(&review, accounts);
    // Of a key that occurs twice the last counts where it matters, and the patch has to apply all the same.
    let expected_as_it_came = if has_duplicate_keys(input) { &Verdict::Malformed } else { &expected };
    assert_as_expected(input, &review, expected_as_it_came, look_up);
    assert_as_expected(&serde_json::to_vec(&review).unwrap(), &review, &expected, look_up);
}

/// An account's annotations, and a pod's after a line of three dashes, each `name=value` on a line, give what they give by
/// the reference.
pub(crate) fn annotations(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (of_account, of_pod) = text.split_once("---\n").unwrap_or((text, ""));
    let of_account: Annotations = lines(of_account).collect();
    let of_pod: serde_json::Map<_, _> =
        lines(of_pod).map(|(key, value)| (format!("eks.amazonaws.com/{key}"), value.into())).collect();
    let review = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u",
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "payments",
            "object": {
                "metadata": {"name": "p", "annotations": of_pod},
                "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "c"}]},
            },
        },
    });
    let account = bind(&of_account);
    let expected = verdict(&review, |_, _| Some(of_account));
    let body = serde_json::to_vec(&review).unwrap();
    assert_as_expected(&body, &review, &expected, |_, _| Some(account.clone()));
}

fn lines(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split('\n').filter_map(|line| line.split_once('=')).map(|(key, value)| (key.into(), value.into()))
}

type Answered = Result<Option<(Outcome, Value)>, String>;

fn admit(body: &[u8], look_up: impl FnMut(&str, &str) -> Option<Account>) -> Answered {
    let mut body = body.to_vec();
    let outcome = WEBHOOK.admit(&mut body, &mut Buffers::default(), look_up);
    let outcome = outcome.map_err(|error| error.to_string())?;
    Ok(outcome.map(|outcome| (outcome, serde_json::from_slice(&body).expect("the answer is JSON"))))
}

fn assert_as_expected(
    body: &[u8],
    review: &Value,
    expected: &Verdict,
    look_up: impl Fn(&str, &str) -> Option<Account>,
) {
    let answered = admit(body, &look_up);
    match (&answered, expected) {
        (Err(_), Verdict::Refused) | (Ok(None), Verdict::Unknown) => {}
        (Err(_) | Ok(None), Verdict::Malformed) => {}
        // The short way allows a pod whose account has no role without a look at the rest.
        (Ok(Some((Outcome::NoRole, answer))), Verdict::Refused | Verdict::Malformed) => {
            assert!(answer["response"]["patch"].is_null());
        }
        (Ok(Some((_, answer))), Verdict::Malformed) => {
            applied(answer, review);
        }
        (Ok(Some((outcome, answer))), Verdict::Allowed { outcome: expected, pod, role }) => {
            assert_eq!(outcome, expected);
            assert_eq!(&applied(answer, review), pod, "the pod");
            let audit = &answer["response"]["auditAnnotations"];
            assert_eq!(
                (audit["outcome"].as_str(), audit["role-arn"].as_str()),
                (Some(outcome.as_str()), role.as_deref())
            );
            if *outcome == Outcome::Injected {
                assert_nothing_is_added_twice(review, pod, &look_up);
            }
        }
        _ => panic!("{answered:?} instead of {expected:?}"),
    }
}

/// The pod with the answer's patch; panics if it does not apply as kube-apiserver applies it.
fn applied(answer: &Value, review: &Value) -> Value {
    let response = &answer["response"];
    assert_eq!(response["allowed"], true);
    assert_eq!(response["uid"], review["request"]["uid"]);
    assert_eq!((&answer["kind"], &answer["apiVersion"]), (&review["kind"], &review["apiVersion"]));
    let warnings = response["warnings"].as_array().into_iter().flatten();
    let lengths: Vec<_> = warnings.map(|warning| warning.as_str().unwrap().chars().count()).collect();
    assert!(lengths.iter().all(|&length| length <= 256) && lengths.iter().sum::<usize>() <= 4096);
    let mut pod = review["request"]["object"].clone();
    if let Some(patch) = response["patch"].as_str() {
        let patch = STANDARD.decode_to_vec(patch).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        json_patch::patch(&mut pod, &patch.0).expect("every patch applies");
    }
    pod
}

fn assert_nothing_is_added_twice(
    review: &Value,
    pod: &Value,
    look_up: impl FnMut(&str, &str) -> Option<Account>,
) {
    let mut again = review.clone();
    again["request"]["object"] = pod.clone();
    let (outcome, answer) = admit(&serde_json::to_vec(&again).unwrap(), look_up).unwrap().unwrap();
    assert_eq!(outcome, Outcome::AlreadyInjected);
    assert!(answer["response"]["patch"].is_null(), "added again");
}

/// Where the short way answers what Go's encoder could have written, and the long way understands it, they say the same.
fn assert_both_ways_agree(body: &[u8]) {
    if is_as_encoded(body)
        && let (Some(short), Some(long)) = (short_way(body), long_way(body))
    {
        assert_eq!(short, long);
    }
}

/// The answer without parsing, where there is one.
fn short_way(body: &[u8]) -> Option<(Outcome, String)> {
    let (mut buffers, mut response) = (Buffers::default(), Vec::new());
    let (_, outcome) = WEBHOOK.fast_path(body, look_up, &mut buffers)?;
    buffers.take_response(&mut response);
    Some((outcome, String::from_utf8(response).unwrap()))
}

/// The answer by way of the parser; `None` if the request is refused or its account unknown.
fn long_way(body: &[u8]) -> Option<(Outcome, String)> {
    let (mut buffers, mut body) = (Buffers::default(), body.to_vec());
    let document = buffers.parse(&mut body).ok()?;
    let request = WEBHOOK.read(&document).ok()?;
    let Answer::Rendered(outcome) = WEBHOOK.answer(&request, look_up, &mut buffers).ok()? else {
        return None;
    };
    let mut response = Vec::new();
    buffers.take_response(&mut response);
    Some((outcome, String::from_utf8(response).unwrap()))
}

/// Whether this is JSON as Go's encoder writes it: compact, without a key that occurs twice, and with the request's
/// fields in the order of their Go struct.
pub(crate) fn is_as_encoded(body: &[u8]) -> bool {
    const ORDER: [&str; 13] = [
        "uid",
        "kind",
        "resource",
        "subResource",
        "requestKind",
        "requestResource",
        "requestSubResource",
        "name",
        "namespace",
        "operation",
        "userInfo",
        "object",
        "oldObject",
    ];
    let Ok(review) = serde_json::from_slice::<Value>(body) else { return false };
    let places = review["request"].as_object().into_iter().flatten();
    let places: Vec<_> = places.filter_map(|(key, _)| ORDER.iter().position(|known| known == key)).collect();
    places.is_sorted() && serde_json::to_vec(&review).unwrap() == body
}

fn has_duplicate_keys(body: &[u8]) -> bool {
    serde_json::from_slice::<Duplicates>(body).is_ok_and(|Duplicates(found)| found)
}

/// Whether any object has a key twice.
struct Duplicates(bool);

impl<'de> Deserialize<'de> for Duplicates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FindDuplicates)
    }
}

struct FindDuplicates;

impl<'de> Visitor<'de> for FindDuplicates {
    type Value = Duplicates;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Duplicates, A::Error> {
        let (mut keys, mut found) = (std::collections::HashSet::new(), false);
        while let Some((key, Duplicates(within))) = map.next_entry::<String, _>()? {
            found |= !keys.insert(key) || within;
        }
        Ok(Duplicates(found))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Duplicates, A::Error> {
        let mut found = false;
        while let Some(Duplicates(within)) = items.next_element()? {
            found |= within;
        }
        Ok(Duplicates(found))
    }

    fn visit_unit<E>(self) -> Result<Duplicates, E> {
        Ok(Duplicates(false))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Duplicates, E> {
        Ok(Duplicates(false))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Duplicates, E> {
        Ok(Duplicates(false))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Duplicates, E> {
        Ok(Duplicates(false))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Duplicates, E> {
        Ok(Duplicates(false))
    }

    fn visit_str<E>(self, _: &str) -> Result<Duplicates, E> {
        Ok(Duplicates(false))
    }
}
