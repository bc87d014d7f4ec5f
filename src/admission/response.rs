//! The answer: an AdmissionReview that allows the request, with the patch and what there is to say.

use base64_simd::STANDARD;

use super::{Outcome, review::Id};
use crate::injection::{
    binding::Binding,
    render,
    warning::{Warned, Warning},
};

/// kube-apiserver passes on 4,096 characters of warnings in all (`truncateAtTotalRunes`,
/// `apiserver/pkg/endpoints/filters/warning.go`).
const MAX_WARNING_CHARS: usize = 4096;

/// What is said beside `allowed: true`.
#[derive(Debug)]
pub(super) struct Response<'a> {
    pub(super) outcome: Outcome,
    /// A JSON Patch; empty for none.
    pub(super) patch: &'a [u8],
    /// The account's binding, if it names a role.
    pub(super) binding: Option<&'a Binding>,
    /// Whether any container has that role.
    pub(super) has_role: bool,
    pub(super) warnings: &'a [Warning],
}

impl Response<'_> {
    /// Nothing but that the request is allowed.
    pub(super) fn nothing(outcome: Outcome) -> Self {
        Self { outcome, patch: &[], binding: None, has_role: false, warnings: &[] }
    }

    /// Renders the AdmissionReview that answers the request with this id, and tells what it warns of. What `out`
    /// holds is replaced.
    pub(super) fn render(&self, id: Id<'_>, out: &mut Vec<u8>) -> Warned {
        out.clear();
        out.extend_from_slice(br#"{"kind":"AdmissionReview","apiVersion":"#);
        render::string(out, id.api_version);
        out.extend_from_slice(br#","response":{"uid":"#);
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

    fn render_warnings(&self, out: &mut Vec<u8>) -> Warned {
        let of_account = match (self.outcome, self.binding) {
            (Outcome::Injected | Outcome::ContainerCredentials | Outcome::AlreadyInjected, Some(binding)) => {
                &binding.terms.warnings[..]
            }
            _ => &[],
        };
        let (mut chars, mut warned) = (0, Warned::default());
        for (index, warning) in of_account.iter().chain(self.warnings).enumerate() {
            chars += warning.as_ref().chars().count();
            if chars > MAX_WARNING_CHARS {
                break;
            }
            out.extend_from_slice(if index == 0 { br#","warnings":["# } else { b"," });
            render::string(out, warning.as_ref());
            warned.insert(warning.kind());
        }
        if !warned.is_empty() {
            out.push(b']');
        }
        warned
    }

    /// Keys become `<webhook name>/<key>` in the audit log.
    fn render_audit_annotations(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#","auditAnnotations":{"outcome":"#);
        render::string(out, self.outcome.as_str());
        if let Some(binding) = self.binding.filter(|binding| self.has_role && binding.has_role()) {
            out.extend_from_slice(br#","role-arn":"#);
            out.extend_from_slice(binding.role_arn_json());
        }
        out.push(b'}');
    }
}
