//! ServiceAccounts: mistakes in their annotations, and roles in namespaces that the webhook leaves out.

use std::collections::HashSet;

use serde_json::Value;

use super::{Read, entries, selector::matches};
use crate::{
    kube::fields::{self, text},
    report::Finding,
};

const CHECK: &str = "accounts";

/// How many accounts a finding names.
const NAMED: usize = 5;

/// What is known of the accounts that have annotations.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// Those that give their pods something, by namespace and name.
    pub(crate) granted: Vec<(String, String)>,
    /// Those with mistakes: `namespace/name: what is wrong`.
    pub(crate) mistakes: Vec<String>,
}

/// Whether the annotations of accounts are right, and the webhook is called for their pods.
pub(crate) fn accounts(
    configuration: Option<&Value>,
    namespaces: &Read<Value>,
    accounts: &Read<Accounts>,
) -> Vec<Finding> {
    const RULE: &str = "{apiGroups: [\"\"], resources: [serviceaccounts], verbs: [list]}";
    let accounts = match accounts {
        Ok(accounts) => accounts,
        Err(unread) => return vec![unread.finding(CHECK, "serviceaccounts", RULE, "")],
    };
    let mut findings = Vec::new();
    for mistake in accounts.mistakes.iter().take(NAMED) {
        findings.push(Finding::warn(CHECK, mistake, "correct the annotation of the ServiceAccount"));
    }
    if let Some(more) = accounts.mistakes.len().checked_sub(NAMED).filter(|more| *more > 0) {
        findings.push(Finding::warn(CHECK, format!("{more} further mistakes"), "run audit, which lists all"));
    }
    if let (Some(configuration), Ok(namespaces)) = (configuration, namespaces) {
        findings.extend(left_out(configuration, namespaces, accounts));
    }
    if findings.is_empty() {
        let count = accounts.granted.len();
        findings
            .push(Finding::pass(CHECK, format!("{count} accounts give their pods an identity; no mistakes")));
    }
    findings
}

fn left_out(configuration: &Value, namespaces: &Value, accounts: &Accounts) -> Option<Finding> {
    let is_asked = |namespace: &Value| {
        entries(configuration)
            .any(|entry| matches(&entry["namespaceSelector"], &namespace["metadata"]["labels"]))
    };
    let namespaces = fields::list(namespaces, "/items").iter();
    let not_asked: HashSet<_> = namespaces
        .filter(|namespace| !is_asked(namespace))
        .map(|namespace| text(namespace, "/metadata/name"))
        .collect();
    let left_out = accounts.granted.iter().filter(|(namespace, _)| not_asked.contains(&**namespace));
    let left_out: Vec<_> = left_out.map(|(namespace, name)| format!("{namespace}/{name}")).collect();
    if left_out.is_empty() {
        return None;
    }
    let more =
        if left_out.len() > NAMED { format!(" and {} more", left_out.len() - NAMED) } else { String::new() };
    let named = left_out.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let found = format!("{named}{more}: annotated, in a namespace that namespaceSelector excludes");
    let remedy = "include the namespace (webhook.excludedNamespaces of the chart), or remove the annotations";
    Some(Finding::warn(CHECK, found, remedy))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::{
        commands::doctor::checks::{Unread, configuration::tests::entry},
        report::Level,
    };

    #[test]
    fn mistakes_and_accounts_that_are_left_out_are_reported() {
        let configuration = json!({"webhooks": [entry()]});
        let items = ["kube-system", "payments"]
            .map(|name| json!({"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}}));
        let namespaces = Ok(json!({"items": items}));
        let found = |found: Accounts| accounts(Some(&configuration), &namespaces, &Ok(found));
        let granted =
            |all: &[&str]| all.iter().map(|namespace| (namespace.to_string(), "a".to_owned())).collect();
        let fine = found(Accounts { granted: granted(&["payments"]), mistakes: Vec::new() });
        assert_eq!((fine.len(), fine[0].level), (1, Level::Pass));
        let odd = found(Accounts {
            granted: granted(&["payments", "kube-system"]),
            mistakes: (0..7).map(|index| format!("payments/{index}: x")).collect(),
        });
        assert_eq!(odd.len(), 7);
        assert!(odd.iter().all(|finding| finding.level == Level::Warn));
        assert_eq!(odd[5].found, "2 further mistakes");
        assert!(odd[6].found.starts_with("kube-system/a: annotated"), "{}", odd[6].found);
        let unread = accounts(None, &namespaces, &Err(Unread::Forbidden("no".into())));
        assert_eq!(unread[0].level, Level::Skip);
    }

    #[test]
    fn many_namespaces_cost_each_account_nothing() {
        const MANY: usize = 2_000;
        let configuration = json!({"webhooks": [entry()]});
        let items: Vec<_> =
            (0..MANY).map(|number| json!({"metadata": {"name": format!("tenant-{number}")}})).collect();
        let namespaces = Ok(json!({"items": items}));
        let time = |count: usize| {
            let account = |number: usize| (format!("tenant-{}", MANY - 1 - number), "a".to_owned());
            let found = Ok(Accounts { granted: (0..count).map(account).collect(), mistakes: Vec::new() });
            let run = |_| {
                let begun = Instant::now();
                assert_eq!(accounts(Some(&configuration), &namespaces, &found)[0].level, Level::Pass);
                begun.elapsed()
            };
            (0..3).map(run).min().unwrap()
        };
        let (one, many) = (time(1), time(MANY));
        assert!(many <= one * 10, "{many:?} for {MANY} accounts, {one:?} for one");
    }
}
