//! Which roles of the mapping a namespace may use: those that its Namespace permits by an annotation.
//!
//! Roles in annotations of ServiceAccounts are not checked here: a ValidatingAdmissionPolicy refuses them when they are
//! written. The ConfigMap is not part of any tenant's namespace, so that nothing else can.

mod namespaces;
mod permitted_roles;
mod watch;

use std::{collections::HashSet, fmt, sync::Arc};

pub use self::{
    namespaces::Namespaces,
    permitted_roles::{InvalidDefault, PermittedByDefault, PermittedRoles},
    watch::{NamespaceWatch, read_all},
};
use super::followed::{Followed, News};
use crate::injection::{
    account::{Account, Credentials, Mistakes},
    settings::AnnotationPrefix,
    warning::{Warning, WarningKind, cut, quote},
};

/// How much of a list a warning shows.
const MAX_LIST_CHARS: usize = 80;

/// The annotation of a Namespace with the roles that it may use.
pub fn annotation(prefix: &AnnotationPrefix) -> String {
    prefix.key("permitted-roles")
}

/// The policy, and what is known of Namespaces.
#[derive(Debug)]
pub struct RolePolicy {
    default: PermittedByDefault,
    annotation: String,
    namespaces: Followed<Namespaces>,
}

/// Why an account is not given its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    namespace: String,
    annotation: String,
    /// What its namespace may use.
    pub permitted: PermittedRoles,
    /// The role.
    pub role: String,
}

impl RolePolicy {
    /// A policy that knows no namespace yet.
    pub fn new(default: PermittedByDefault, prefix: &AnnotationPrefix) -> Self {
        Self { default, annotation: annotation(prefix), namespaces: Followed::default() }
    }

    /// Follows the Namespaces as they come.
    pub fn following(mut self, news: News<Namespaces>) -> Self {
        self.namespaces.follow(Some(news));
        self
    }

    /// Takes the Namespaces as they are.
    pub fn with(mut self, namespaces: Namespaces) -> Self {
        self.namespaces.current = Some(Arc::new(namespaces));
        self
    }

    /// Waits until the Namespaces are known.
    pub(super) async fn ready(&mut self) {
        if self.namespaces.is_awaited() {
            self.changed().await;
        }
    }

    /// Waits until some namespaces may use other roles than before, or are new.
    pub(super) async fn changed(&mut self) -> HashSet<Arc<str>> {
        let namespaces = self.namespaces.next().await;
        let changed =
            namespaces.difference(self.namespaces.current.as_deref().unwrap_or(&Namespaces::default()));
        self.namespaces.current = Some(namespaces);
        changed
    }

    /// Whether a namespace may use a role; `None` as long as the namespace is not known.
    pub fn check(&self, namespace: &str, role: &str) -> Option<Result<(), Refusal>> {
        let by_default;
        let permitted = match self.namespaces.current.as_ref()?.get(namespace)? {
            Some(permitted) => permitted,
            None => {
                by_default = self.default.of(namespace);
                &by_default
            }
        };
        Some(match permitted.permits(role) {
            true => Ok(()),
            false => Err(Refusal {
                namespace: namespace.to_owned(),
                annotation: self.annotation.clone(),
                permitted: permitted.clone(),
                role: role.to_owned(),
            }),
        })
    }

    /// What an account is given under this policy: nothing in place of a mapped role that its namespace may not use; `None`
    /// as long as the namespace is not known.
    pub fn apply(&self, namespace: &str, account: Account) -> Option<Account> {
        let Account::Granted(grant) = &account else { return Some(account) };
        let (Credentials::Role(role), Some(key)) = (&grant.credentials, &grant.settings.mapped_by) else {
            return Some(account);
        };
        let Err(refusal) = self.check(namespace, role.arn())? else { return Some(account) };
        let of_annotations =
            account.warnings().iter().filter(|warning| warning.kind() == WarningKind::AccountAnnotation);
        let warnings = std::iter::once(refusal.warning(key)).chain(of_annotations.cloned());
        Some(Account::Mistaken(Arc::new(Mistakes { warnings: warnings.collect() })))
    }
}

impl Refusal {
    /// For those who create pods of the account. A warning has room for a part of the list.
    fn warning(&self, mapping_key: &str) -> Warning {
        let Self { namespace, annotation, permitted, role } = self;
        let list = permitted.to_string();
        let shown = cut(&list, MAX_LIST_CHARS);
        let ellipsis = if shown.len() < list.len() { "…" } else { "" };
        let text = format!(
            "role mapping {}: {} is not given: namespace {namespace} permits {shown}{ellipsis} ({annotation})",
            quote(mapping_key),
            quote(role)
        );
        Warning::new(WarningKind::RoleArn, text)
    }
}

/// As the ValidatingAdmissionPolicy says it.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, annotation, permitted, role } = self;
        write!(
            f,
            "the namespace {namespace} permits {permitted} (annotation {annotation} of the Namespace), not {role}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        accounts::assignments::mapping::Mapping,
        injection::resolver::{OwnAnnotations, Resolver},
    };

    fn policy(default: &str, annotation: Option<&str>) -> RolePolicy {
        let mut namespaces = Namespaces::default();
        namespaces.insert("payments", annotation);
        RolePolicy::new(default.parse().unwrap(), &"eks.amazonaws.com".parse().unwrap()).with(namespaces)
    }

    fn mapped(role: &str) -> Account {
        let resolver = Resolver::new(Arc::default());
        let text = format!(r#"{{"*/api": {{"RoleARN": "{role}"}}}}"#);
        let near_miss = resolver.own([("eks.amazonaws.com/role-am", "x")]);
        Mapping::parse(&text, &resolver).unwrap().resolve(&resolver, ("payments", "api"), &near_miss)
    }

    const ROLE: &str = "arn:aws:iam::111122223333:role/api";

    #[test]
    fn a_mapped_role_is_given_where_the_namespace_permits_it() {
        for (default, annotation, is_given) in [
            ("allow", None, true),
            ("deny", None, false),
            ("deny", Some("arn:aws:iam::*:role/a*"), true),
            ("allow", Some(""), false),
        ] {
            let account = policy(default, annotation).apply("payments", mapped(ROLE)).unwrap();
            assert_eq!(account.grant().is_some(), is_given, "{default} {annotation:?}");
            let [first, last] =
                [0, account.warnings().len() - 1].map(|index| account.warnings()[index].as_ref());
            assert!(last.contains("role-am"), "{last}");
            if !is_given {
                let expected = format!(
                    r#"role mapping "*/api": "{ROLE}" is not given: namespace payments permits no role (eks.amazonaws.com/permitted-roles)"#
                );
                assert_eq!(first, expected);
            }
        }
    }

    #[test]
    fn nothing_is_decided_for_a_namespace_that_is_not_known() {
        let policy = policy("allow", None);
        assert!(policy.apply("other", mapped(ROLE)).is_none());
        assert!(policy.apply("other", Account::Nothing).is_some());
        let resolver = Resolver::new(Arc::default());
        let annotated = resolver.resolve([("eks.amazonaws.com/role-arn", ROLE)]);
        assert!(
            policy.apply("other", annotated).unwrap().grant().is_some(),
            "annotations are the policy's in the cluster"
        );
        let nothing = Mapping::default().resolve(&resolver, ("other", "api"), &OwnAnnotations::NONE);
        assert!(policy.apply("other", nothing).is_some());
    }

    #[test]
    fn a_warning_shows_the_beginning_of_a_long_list() {
        let list = "arn:aws:iam::444455556666:role/b*,".repeat(10);
        let account = policy("deny", Some(&list)).apply("payments", mapped(ROLE)).unwrap();
        let warning = account.warnings()[0].as_ref();
        assert!(
            warning.ends_with("… (eks.amazonaws.com/permitted-roles)") && warning.chars().count() <= 256,
            "{warning}"
        );
    }
}
