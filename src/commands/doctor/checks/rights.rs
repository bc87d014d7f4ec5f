//! Whether the webhook has the rights that it needs.

use serde_json::Value;

use super::{Read, Unread};
use crate::{kube::fields::flag, report::Finding};

/// A right that the webhook needs.
#[derive(Clone, Debug)]
pub(crate) struct Right {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    /// The namespace and the name, for a right to one object.
    object: Option<(String, String)>,
    /// Whether only self-managed certificates need it.
    only_self_managed: bool,
}

/// The rights that the webhook needs, as the chart's roles give them.
pub(crate) fn needs(namespace: &str, secret: &str, configuration: &str) -> Vec<Right> {
    let account =
        |verb| Right { verb, group: "", resource: "serviceaccounts", object: None, only_self_managed: false };
    let of = |(group, resource), namespace: &str, name: &str, verbs: [&'static str; 3]| {
        let object = Some((namespace.to_owned(), name.to_owned()));
        verbs.map(|verb| Right { verb, group, resource, object: object.clone(), only_self_managed: true })
    };
    let configurations = ("admissionregistration.k8s.io", "mutatingwebhookconfigurations");
    ["list", "watch"]
        .map(account)
        .into_iter()
        .chain(of(configurations, "", configuration, ["get", "watch", "patch"]))
        .chain(of(("", "secrets"), namespace, secret, ["get", "watch", "update"]))
        .collect()
}

impl Right {
    /// The review that asks for it: for an account (namespace and name), or for the caller.
    pub(crate) fn review(&self, account: Option<(&str, &str)>) -> String {
        let (namespace, name) = self.object.clone().unwrap_or_default();
        let (verb, group, resource) = (self.verb, self.group, self.resource);
        let kind = if account.is_some() { "SubjectAccessReview" } else { "SelfSubjectAccessReview" };
        let of = account.map(|(of, name)| {
            format!(
                r#","user":"system:serviceaccount:{of}:{name}","groups":["system:serviceaccounts",
                "system:serviceaccounts:{of}","system:authenticated"]"#
            )
        });
        // Names are DNS names: there is nothing in them to escape.
        format!(
            r#"{{"apiVersion":"authorization.k8s.io/v1","kind":"{kind}","spec":{{"resourceAttributes":{{"verb":"{verb}",
            "group":"{group}","resource":"{resource}","namespace":"{namespace}","name":"{name}"}}{}}}}}"#,
            of.unwrap_or_default()
        )
    }

    fn describe(&self) -> String {
        let name = self.object.as_ref().map(|(_, name)| format!(" {name}")).unwrap_or_default();
        format!("{} {}{name}", self.verb, self.resource)
    }
}

/// The findings of the reviews' answers for `who`.
pub(crate) fn rights(who: &str, answers: &[(Right, Read<Value>)]) -> Vec<Finding> {
    const CHECK: &str = "rights";
    let mut findings = Vec::new();
    for (right, answer) in answers {
        let what = right.describe();
        match answer {
            Ok(review) if flag(review, "/status/allowed") == Some(true) => {}
            Ok(_) if right.only_self_managed => {
                let remedy = "bind the chart's roles, unless its certificates come from elsewhere (tls.mode)";
                findings.push(Finding::warn(CHECK, format!("{who} may not {what}"), remedy));
            }
            Ok(_) => {
                let remedy = "bind the chart's ClusterRole: without this right, the webhook is never ready";
                findings.push(Finding::fail(CHECK, format!("{who} may not {what}"), remedy));
            }
            // Asked once is asked for all.
            Err(unread) => {
                let rule = "{apiGroups: [authorization.k8s.io], resources: [subjectaccessreviews], verbs: [create]}, or \
                            run it as the webhook's account with an empty --as-service-account";
                let unread =
                    if *unread == Unread::Missing { &Unread::Failed("no such API".into()) } else { unread };
                return vec![unread.finding(CHECK, &format!("what {who} may"), rule, "")];
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::pass(CHECK, format!("{who} may do what it needs: {} rights", answers.len())));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::Level;

    #[test]
    fn each_right_that_is_missing_is_told() {
        let answers = |allowed: &dyn Fn(&Right) -> bool| -> Vec<_> {
            let needs = needs("ns", "tls", "webhook");
            needs
                .into_iter()
                .map(|need| (need.clone(), Ok(json!({"status": {"allowed": allowed(&need)}}))))
                .collect()
        };
        let all = rights("it", &answers(&|_| true));
        assert_eq!((all.len(), &*all[0].found), (1, "it may do what it needs: 8 rights"));
        let none = rights("it", &answers(&|_| false));
        assert_eq!((none.len(), none[0].level, none[7].level), (8, Level::Fail, Level::Warn));
        assert_eq!(
            (&*none[0].found, &*none[7].found),
            ("it may not list serviceaccounts", "it may not update secrets tls")
        );
        let mut refused = answers(&|_| true);
        refused[0].1 = Err(Unread::Forbidden("no".into()));
        assert_eq!(rights("it", &refused)[0].level, Level::Skip);
    }

    #[test]
    fn an_account_is_asked_for_with_its_groups_and_oneself_without() {
        let need = needs("ns", "tls", "webhook").pop().unwrap();
        let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        let review = read(need.review(Some(("ns", "hook"))));
        assert_eq!(
            (&review["kind"], &review["spec"]["user"]),
            (&json!("SubjectAccessReview"), &json!("system:serviceaccount:ns:hook"))
        );
        assert_eq!(review["spec"]["resourceAttributes"]["name"], "tls");
        assert_eq!(read(need.review(None))["kind"], "SelfSubjectAccessReview");
    }
}
