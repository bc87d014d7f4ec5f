//! What was found: a table for people, an object for pipelines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::{Value, json};

use super::{
    examination::{Examination, Examined, PodMistakes},
    missing::{Identity, MissingInjection},
    owner::Owner,
};
use crate::{accounts::assignments::role_policy::Refusal, report::printable};

/// All that was found, by namespace and owner. Of the pods that lack nothing, only their number is kept.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lacking: BTreeMap<(String, Owner), Vec<MissingInjection>>,
    looked_at: usize,
    complete: usize,
    left_alone: usize,
    unknown: usize,
    /// The mistakes in the annotations of accounts, by namespace and name.
    mistakes: BTreeMap<(String, String), Vec<String>>,
    /// The mistakes of pods, by namespace and owner.
    pod_mistakes: BTreeMap<(String, Owner), BTreeSet<String>>,
    /// The accounts with a role that their namespace may not use, by namespace and name.
    refused: BTreeMap<(String, String), Refusal>,
    /// The accounts with an identity in namespaces that are excluded.
    excluded: BTreeMap<String, Vec<String>>,
}

impl Report {
    /// Adds what is wrong with an account, and whether it gives an identity although its namespace is excluded.
    pub(crate) fn add_account(
        &mut self,
        namespace: &str,
        name: &str,
        mistakes: Vec<String>,
        is_excluded: bool,
    ) {
        if !mistakes.is_empty() {
            self.mistakes.insert((namespace.to_owned(), name.to_owned()), mistakes);
        }
        if is_excluded {
            self.excluded.entry(namespace.to_owned()).or_default().push(name.to_owned());
        }
    }

    /// Adds an account with a role that its namespace may not use.
    pub(crate) fn add_refusal(&mut self, namespace: &str, name: &str, refusal: Refusal) {
        self.refused.insert((namespace.to_owned(), name.to_owned()), refusal);
    }

    /// Adds a pod that was examined, with its mistakes.
    pub(crate) fn add_pod(&mut self, Examination { examined, mistakes }: Examination) {
        self.add(examined);
        if let Some(PodMistakes { namespace, owner, texts }) = mistakes {
            self.pod_mistakes.entry((namespace, owner)).or_default().extend(texts);
        }
    }

    fn add(&mut self, examined: Examined) {
        self.looked_at += usize::from(!matches!(examined, Examined::Terminating));
        match examined {
            Examined::Missing(lack) => {
                self.lacking.entry((lack.namespace.clone(), lack.owner.clone())).or_default().push(*lack);
            }
            Examined::Complete => self.complete += 1,
            Examined::LeftAlone => self.left_alone += 1,
            Examined::UnknownAccount => self.unknown += 1,
            Examined::NotApplicable | Examined::Terminating => {}
        }
    }

    /// Whether there was no pod to look at.
    pub(crate) fn is_empty(&self) -> bool {
        self.looked_at == 0
    }

    /// Whether no pod lacks anything.
    pub(crate) fn is_clean(&self) -> bool {
        self.lacking.is_empty()
    }

    /// One object: the numbers, and what was found.
    pub(crate) fn to_json(&self) -> Value {
        let owners = self.lacking.iter().map(|((namespace, owner), lacks)| {
            json!({
                "namespace": namespace,
                "kind": owner.kind,
                "name": owner.name,
                "identity": worst(lacks).identity,
                "cure": remedy(namespace, owner, lacks),
                "pods": lacks,
            })
        });
        let mistakes = self.mistakes.iter().map(|((namespace, name), mistakes)| {
            json!({"namespace": namespace, "name": name, "mistakes": mistakes})
        });
        let of_pods = self.pod_mistakes.iter().map(|((namespace, owner), mistakes)| {
            json!({"namespace": namespace, "kind": owner.kind, "name": owner.name, "mistakes": mistakes})
        });
        let refused = self.refused.iter().map(|((namespace, name), Refusal { role, permitted, .. })| {
            json!({"namespace": namespace, "name": name, "role": role, "permitted": permitted.to_string()})
        });
        json!({
            "verdict": if self.is_clean() { "complete" } else { "lacking" },
            "pods": self.looked_at,
            "complete": self.complete,
            "lacking": self.count(),
            "leftAlone": self.left_alone,
            "unknownAccounts": self.unknown,
            "owners": owners.collect::<Vec<_>>(),
            "accounts": mistakes.collect::<Vec<_>>(),
            "podMistakes": of_pods.collect::<Vec<_>>(),
            "refused": refused.collect::<Vec<_>>(),
            "excluded": self.excluded,
        })
    }

    fn count(&self) -> usize {
        self.lacking.values().map(Vec::len).sum()
    }
}

impl Report {
    fn write_warnings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((namespace, name), mistakes) in &self.mistakes {
            for mistake in mistakes {
                writeln!(f, "warning: ServiceAccount {namespace}/{name}: {}", printable(mistake))?;
            }
        }
        for ((namespace, owner), mistakes) in &self.pod_mistakes {
            for mistake in mistakes {
                writeln!(f, "warning: {owner} of namespace {namespace}: {}", printable(mistake))?;
            }
        }
        for ((namespace, name), refusal) in &self.refused {
            let refusal = refusal.to_string();
            writeln!(f, "warning: ServiceAccount {namespace}/{name}: {}", printable(&refusal))?;
        }
        for (namespace, names) in &self.excluded {
            writeln!(
                f,
                "warning: namespace {namespace} is excluded, and has accounts with an identity: {}",
                names.join(", ")
            )?;
        }
        Ok(())
    }
}

fn worst(lacks: &[MissingInjection]) -> &MissingInjection {
    lacks.iter().max_by_key(|lack| lack.identity).expect("an owner is listed for its first pod")
}

fn remedy(namespace: &str, owner: &Owner, lacks: &[MissingInjection]) -> String {
    owner.remedy(namespace, &lacks.iter().map(|lack| &*lack.pod).collect::<Vec<_>>())
}

impl MissingInjection {
    /// In half a sentence.
    fn describe(&self) -> String {
        let given = if self.role.is_empty() { "container credentials" } else { &self.role };
        match (self.identity, &self.has) {
            (Identity::Missing, _) => format!("{given}, of account {}", self.service_account),
            (Identity::Outdated, Some(has)) => format!("{has} where the account has {}", self.role),
            _ if self.containers.is_empty() => format!("lacks {}", self.lacks.join(", ")),
            _ => format!("{}: lacks {}", self.containers.join(", "), self.lacks.join(", ")),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.lacking.iter().map(|((namespace, owner), lacks)| {
            let worst = worst(lacks);
            let [name, count] = [owner.to_string(), lacks.len().to_string()];
            ([namespace.clone(), name, count, worst.identity.as_str().to_owned()], worst.describe())
        });
        let heads = ["NAMESPACE", "OWNER", "PODS", "IDENTITY"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once((heads, "ROLE".to_owned())).chain(rows).collect();
        let width = |column: usize| rows.iter().map(|(row, _)| row[column].len()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        for (row, role) in rows.iter().filter(|_| !self.is_clean()) {
            // An annotation may hold anything.
            let role = printable(role);
            for (cell, width) in row.iter().zip(widths) {
                write!(f, "{cell:width$}  ")?;
            }
            writeln!(f, "{role}")?;
        }
        if !self.is_clean() {
            writeln!(f, "\nto do:")?;
        }
        for ((namespace, owner), lacks) in &self.lacking {
            writeln!(f, "  {}", remedy(namespace, owner, lacks))?;
        }
        let (count, complete) = (self.count(), self.complete);
        let end = if self.is_clean() { "" } else { "\n" };
        write!(f, "{end}{} pods: {complete} have their identity, {count} lack it", self.looked_at)?;
        if self.left_alone > 0 {
            write!(f, "; {} are skipped, although their account has one", self.left_alone)?;
        }
        if self.unknown > 0 {
            write!(f, "; {} have a ServiceAccount that is newer than this audit or deleted", self.unknown)?;
        }
        writeln!(f)?;
        self.write_warnings(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_grouped_by_owner_with_the_worst_of_them() {
        let lack = |pod: &str, identity, has: Option<&str>| {
            let owner = Owner { kind: "Deployment".into(), name: "api".into() };
            let lack = MissingInjection::new(
                identity,
                ("new\u{1b}".into(), has.map(Into::into)),
                vec![("app".into(), "mount".into())],
            );
            Examined::Missing(Box::new(MissingInjection {
                namespace: "ns".into(),
                owner,
                pod: pod.into(),
                ..lack
            }))
        };
        let mut report = Report::default();
        assert_eq!(report.to_string(), "0 pods: 0 have their identity, 0 lack it\n");
        report.add(lack("api-1", Identity::Outdated, Some("old")));
        assert!(report.to_string().contains("outdated  old where the account has new\u{fffd}\n"), "{report}");
        report.add(lack("api-2", Identity::Partial, None));
        report.add(Examined::UnknownAccount);
        report.add(Examined::LeftAlone);
        report.add(Examined::NotApplicable);
        report.add(Examined::Terminating);
        let expected = "NAMESPACE  OWNER           PODS  IDENTITY  ROLE\n\
                        ns         deployment/api  2     partial   app: lacks mount\n\n\
                        to do:\n  kubectl rollout restart -n ns deployment/api\n\n\
                        5 pods: 0 have their identity, 2 lack it; 1 are skipped, although their account has one; 1 have a ServiceAccount that is newer than this audit or deleted\n";
        assert_eq!(report.to_string(), expected);
        let json = report.to_json();
        assert_eq!(
            (&json["verdict"], &json["owners"][0]["identity"]),
            (&json!("lacking"), &json!("partial"))
        );
        assert_eq!(json["owners"][0]["pods"][0]["has"], "old");
    }
}
