//! The answer: an AdmissionReview that allows the request, with the patch, warnings and audit annotations.

use base64_simd::STANDARD;

use super::{Outcome, review::Id};
use crate::injection::{
    account::Grant,
    render,
    warning::{Warned, Warning, WarningKind},
};

/// kube-apiserver passes on 4,096 characters of warnings in all (`truncateAtTotalRunes`,
/// `apiserver/pkg/endpoints/filters/warning.go`).
const MAX_WARNING_CHARS: usize = 4096;

/// What an answer contains beside `allowed: true`.
#[derive(Debug)]
pub(super) struct Response<'a> {
    pub(super) outcome: Outcome,
    /// A JSON Patch; empty for none.
    pub(super) patch: &'a [u8],
    /// What the account's pods are given.
    pub(super) grant: Option<&'a Grant>,
    /// Whether any container has that role.
    pub(super) has_role: bool,
    /// Those of the account, and those of the pod.
    pub(super) warnings: [&'a [Warning]; 2],
}

impl Response<'_> {
    /// Only that the request is allowed.
    pub(super) fn nothing(outcome: Outcome) -> Self {
        Self { outcome, patch: &[], grant: None, has_role: false, warnings: [&[], &[]] }
    }

    /// Renders the AdmissionReview that answers the request with this id, and returns the kinds of its warnings.
    /// The contents of `out` are replaced.
    pub(super) fn render(&self, id: Id<'_>, out: &mut Vec<u8>) -> Warned {
        out.clear();
        // Versions and outcomes are among a few words of ours, without anything to escape.
        out.extend_from_slice(br#"{"kind":"AdmissionReview","apiVersion":""#);
        out.extend_from_slice(id.api_version.as_bytes());
        out.extend_from_slice(br#"","response":{"uid":"#);
        render::string(out, id.uid);
        out.extend_from_slice(br#","allowed":true"#);
        if !self.patch.is_empty() {
            out.extend_from_slice(br#","patchType":"JSONPatch","patch":""#);
            STANDARD.encode_append(self.patch, out);
            out.push(b'"');
        }
        let warned = self.render_warnings(out);
        self.render_audit_annotations(out);
        out.extend_from_slice(b"}}");
        warned
    }

    /// The most important ones first, as far as there is room.
    fn render_warnings(&self, out: &mut Vec<u8>) -> Warned {
        let (mut chars, mut warned) = (0, Warned::default());
        if self.warnings.iter().all(|warnings| warnings.is_empty()) {
            return warned;
        }
        for kind in WarningKind::ALL {
            let of_kind = self.warnings.into_iter().flatten().filter(|warning| warning.kind() == kind);
            for warning in of_kind {
                chars += warning.as_ref().chars().count();
                if chars > MAX_WARNING_CHARS {
                    break;
                }
                out.extend_from_slice(if warned.is_empty() { br#","warnings":["# } else { b"," });
                render::string(out, warning.as_ref());
                warned.insert(kind);
            }
        }
        if !warned.is_empty() {
            out.push(b']');
        }
        warned
    }

    /// Keys become `<webhook name>/<key>` in the audit log.
    fn render_audit_annotations(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#","auditAnnotations":{"outcome":""#);
        out.extend_from_slice(self.outcome.as_str().as_bytes());
        out.push(b'"');
        if let Some(role) = self.grant.and_then(Grant::role).filter(|_| self.has_role) {
            out.extend_from_slice(br#","role-arn":"#);
            render::string(out, role.arn());
        }
        out.push(b'}');
    }
}
