//! Answers requests of pods without a role, without parsing them.
//!
//! Most pods of most clusters have no role, and nothing else matters for their answer. So every
//! `"serviceAccountName":"…"` in the body is looked up. One of them is the pod's. The others, if any, are keys of a map,
//! such as labels. If all accounts are known and none has a role, the pod has none either. A JSON string can't contain
//! the pattern, since quotes are escaped in strings. The pod's own field is recognised by the deprecated
//! `serviceAccount` after it: in a map, whose keys are sorted, that key would come first.
//!
//! A request that is not written as kube-apiserver writes it is left to the parser.

use memchr::{memchr, memmem::Finder};

use super::review::Id;
use crate::injection::settings::AnnotationPrefix;

/// The account of most pods is within this many bytes of the end of the body.
const TAIL: usize = 4096;

/// The patterns to search for.
#[derive(Debug)]
pub(super) struct Patterns {
    account: Finder<'static>,
    /// Keys with which the account does not decide: the annotation of mirror pods, and every key under our prefix, which may
    /// be the skip label or a mistake.
    exempting: [Finder<'static>; 2],
}

/// A request that was answered without parsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastRequest<'a> {
    pub(super) id: Id<'a>,
    namespace: &'a str,
    name: &'a str,
}

impl Patterns {
    pub(super) fn new(prefix: &AnnotationPrefix) -> Self {
        let finder = |needle: &str| Finder::new(needle).into_owned();
        Self {
            account: finder(r#""serviceAccountName""#),
            exempting: [finder(r#""kubernetes.io/config.mirror""#), finder(&format!("\"{prefix}"))],
        }
    }

    /// Reads the request, if every account that it may mean is one that `is_given_nothing`.
    pub(super) fn fast_path<'a>(
        &self,
        body: &'a [u8],
        mut is_given_nothing: impl FnMut(&str, &str) -> bool,
    ) -> Option<FastRequest<'a>> {
        let request = FastRequest::read_head(body)?;
        let mut all_given_nothing = |text: &'a [u8]| {
            let mut found = false;
            for position in self.account.find_iter(text) {
                let mut rest = &text[position + self.account.needle().len()..];
                if !is_given_nothing(request.namespace, name_after(&mut rest, b":\"")?) {
                    return None;
                }
                found |= rest.starts_with(br#","serviceAccount":"#);
            }
            Some(found)
        };
        // The pod's own name stands near the end, so a pod with a role is soon given up.
        all_given_nothing(&body[body.len().saturating_sub(TAIL)..])?;
        let found = all_given_nothing(body)?;
        (found && self.exempting.iter().all(|needle| needle.find(body).is_none())).then_some(request)
    }
}

impl<'a> FastRequest<'a> {
    /// The request's id, as kube-apiserver's audit log has it.
    pub fn uid(&self) -> &'a str {
        self.id.uid
    }

    /// The namespace of the pod.
    pub fn namespace(&self) -> &'a str {
        self.namespace
    }

    /// The pod's name; empty where it is still to be generated.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Reads the beginning of a body: the creation of a pod, as Go's encoder writes an AdmissionReview
    /// (`k8s.io/api/admission/v1`, whose fields it writes in their order).
    fn read_head(body: &'a [u8]) -> Option<Self> {
        let mut rest = body;
        let api_version = name_after(&mut rest, br#"{"kind":"AdmissionReview","apiVersion":""#)?;
        if !Id::is_api_version(api_version) {
            return None;
        }
        let uid = name_after(&mut rest, br#","request":{"uid":""#)?;
        rest = rest.strip_prefix(
            br#","kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"requestKind":{"group":"","version":"v1","kind":"Pod"},"requestResource":{"group":"","version":"v1","resource":"pods"}"#,
        )?;
        let name =
            if rest.starts_with(br#","name":""#) { name_after(&mut rest, br#","name":""#)? } else { "" };
        let namespace = name_after(&mut rest, br#","namespace":""#)?;
        rest.starts_with(br#","operation":"CREATE","#).then_some(Self {
            id: Id { api_version, uid },
            namespace,
            name,
        })
    }
}

/// Takes `before` and a string's content and its closing quote from the head of `rest`. Only what a name can hold
/// that Kubernetes gives: nothing in it is escaped.
fn name_after<'a>(rest: &mut &'a [u8], before: &[u8]) -> Option<&'a str> {
    let text = rest.strip_prefix(before)?;
    let end = memchr(b'"', &text[..text.len().min(300)])?;
    let name = &text[..end];
    let is_plain = |c: &u8| matches!(c, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'/');
    if name.is_empty() || !name.iter().all(is_plain) {
        return None;
    }
    *rest = &text[end + 1..];
    std::str::from_utf8(name).ok()
}
