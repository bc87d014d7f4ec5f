//! Finds pods that should have an identity and do not.
//!
//! The core answers for each pod as if it were created now: what it would add is what the pod lacks. So labels,
//! annotations, mounts and settings count as they do for the webhook.

use std::{collections::HashSet, sync::Arc};

use json_patch::Patch;
use serde_json::{Value, json};

use super::{
    missing::{self, Identity, MissingInjection},
    owner::Owner,
};
use crate::{
    admission::{BadReview, Outcome},
    commands::offline::{Answer, OfflineAdmission},
    injection::{
        account::{Account, Credentials, Grant},
        compat::Rules,
        settings::Settings,
        variable::Variable,
    },
    kube::fields::{self, text},
};

/// Examines pods, under the settings of the webhook.
pub(crate) struct Auditor {
    admission: OfflineAdmission,
    rules: &'static Rules,
}

/// The result for a pod.
#[derive(Debug)]
pub(crate) enum Examined {
    /// It is being deleted.
    Terminating,
    /// Its ServiceAccount was not listed.
    UnknownAccount,
    /// Its account gives nothing.
    NotApplicable,
    /// Its account gives an identity, but the webhook skips the pod: because of its own labels or annotations, or its kind.
    LeftAlone,
    /// It has everything that the webhook injects.
    Complete,
    /// It lacks something.
    Missing(Box<MissingInjection>),
}

/// A pod that was examined.
#[derive(Debug)]
pub(crate) struct Examination {
    /// The result.
    pub(crate) examined: Examined,
    /// What is wrong with the pod itself; mistakes of its account are not among them.
    pub(crate) mistakes: Option<PodMistakes>,
}

/// What is wrong with a pod: what the webhook warns of when it is created.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PodMistakes {
    pub(crate) namespace: String,
    /// The controller of the pod, or the pod itself.
    pub(crate) owner: Owner,
    pub(crate) texts: Vec<String>,
}

impl Auditor {
    /// An auditor that expects what a webhook with these settings injects.
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { rules: settings.compat.rules(), admission: OfflineAdmission::new(settings) }
    }

    /// Examines one pod.
    pub(crate) fn examine(
        &mut self,
        mut pod: Value,
        look_up: impl FnOnce(&str, &str) -> Option<Account>,
    ) -> Examination {
        let nothing_wrong = |examined| Examination { examined, mistakes: None };
        if !text(&pod, "/metadata/deletionTimestamp").is_empty() {
            return nothing_wrong(Examined::Terminating);
        }
        let service_account = text(&pod, "/spec/serviceAccountName").to_owned();
        // The API server fills it in, but for mirror pods.
        let account = if service_account.is_empty() { "default" } else { &service_account };
        let Some(account) = look_up(text(&pod, "/metadata/namespace"), account) else {
            return nothing_wrong(Examined::UnknownAccount);
        };
        // One pod that the webhook refuses must not hide the others.
        self.try_examine(&mut pod, service_account, &account).unwrap_or_else(|why| Examination {
            examined: Examined::LeftAlone,
            mistakes: PodMistakes::of(&pod, &account, vec![format!("the webhook can't change it: {why}")]),
        })
    }

    fn try_examine(
        &mut self,
        pod: &mut Value,
        service_account: String,
        account: &Account,
    ) -> Result<Examination, BadReview> {
        let answer = self.admit(pod, account)?;
        let mistakes = PodMistakes::of(pod, account, answer.map_or_else(Vec::new, |answer| answer.warnings));
        let examined = match account {
            Account::Nothing | Account::Mistaken(_) => Examined::NotApplicable,
            Account::Granted(grant) => self.compare(pod, service_account, grant)?,
        };
        Ok(Examination { examined, mistakes })
    }

    fn compare(
        &mut self,
        pod: &mut Value,
        service_account: String,
        grant: &Arc<Grant>,
    ) -> Result<Examined, BadReview> {
        let [namespace, name] =
            ["/metadata/namespace", "/metadata/name"].map(|field| text(pod, field).to_owned());
        let owner = Owner::of(pod);
        let role = grant.assigned_role().map_or("", |role| role.arn());
        let had_identity = has_identity(pod);
        let others = OtherRoles::take_from(pod, role, self.rules);

        let answer = self.admit(pod, &Account::Granted(Arc::clone(grant)))?;
        let (patch, outcome) = answer
            .map_or((Patch::default(), Outcome::UnknownAccount), |answer| (answer.patch, answer.outcome));
        let lacks = missing::read_patch(&patch, pod);
        // A volume that no container would use gives nothing; the AWS webhook adds it all the same.
        let gives_nothing = !had_identity && lacks.iter().all(|(container, _)| container.is_empty());
        if lacks.is_empty() || gives_nothing {
            return Ok(match outcome {
                Outcome::AlreadyInjected => Examined::Complete,
                _ => Examined::LeftAlone,
            });
        }
        let is_outdated = |(container, part): &(String, String)| {
            [Variable::RoleArn.name(), Variable::TokenFile.name()].contains(&&**part)
                && others.containers.contains(container)
        };
        let identity = match (had_identity, lacks.iter().all(is_outdated)) {
            (true, true) => Identity::Outdated,
            (true, false) => Identity::Partial,
            (false, _) => Identity::Missing,
        };
        let has = if lacks.iter().any(is_outdated) { others.role } else { None };
        let role = match grant.credentials {
            Credentials::Role(_) => role.to_owned(),
            Credentials::Container { .. } => String::new(),
        };
        let lack = MissingInjection::new(identity, (role, has), lacks);
        Ok(Examined::Missing(Box::new(MissingInjection {
            namespace,
            owner,
            pod: name,
            service_account,
            ..lack
        })))
    }

    /// What the webhook would answer if this pod were created now.
    fn admit(&mut self, pod: &Value, account: &Account) -> Result<Option<Answer>, BadReview> {
        let created = json!({"metadata": pod["metadata"], "spec": pod["spec"]});
        let look_up = |_: &str, _: &str| Some(account.clone());
        self.admission.create(text(pod, "/metadata/namespace"), &created, look_up)
    }
}

impl PodMistakes {
    fn of(pod: &Value, account: &Account, mut texts: Vec<String>) -> Option<Self> {
        texts.retain(|text| account.warnings().iter().all(|warning| warning.as_ref() != text));
        (!texts.is_empty()).then(|| Self {
            namespace: text(pod, "/metadata/namespace").to_owned(),
            owner: Owner::of(pod).or_pod(text(pod, "/metadata/name")),
            texts,
        })
    }
}

/// The lists of containers that the creation of a pod brings.
const LISTS: [&str; 2] = ["initContainers", "containers"];

/// Whether any container has a role, whichever, or container credentials.
fn has_identity(pod: &Value) -> bool {
    let mut containers = LISTS.iter().flat_map(|list| fields::list(pod, &format!("/spec/{list}")));
    let has = |entry: &Value| is_role(entry) || text(entry, "/name") == Variable::ContainerFullUri.name();
    containers.any(|container| fields::list(container, "/env").iter().any(has))
}

fn is_role(entry: &Value) -> bool {
    text(entry, "/name") == Variable::RoleArn.name()
}

/// Roles of a pod that are not its account's.
#[derive(Default)]
struct OtherRoles {
    /// One of them.
    role: Option<String>,
    /// The containers that had one.
    containers: HashSet<String>,
}

impl OtherRoles {
    /// Takes them out, so that the core says of which containers it would give them `role`. For the AWS webhook the token's
    /// file and the role are one unit.
    fn take_from(pod: &mut Value, role: &str, rules: &Rules) -> Self {
        let mut others = Self::default();
        for list in LISTS {
            let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                let name = text(container, "/name").to_owned();
                let Some(env) = container.pointer_mut("/env").and_then(Value::as_array_mut) else { continue };
                env.retain(|entry| {
                    let value = text(entry, "/value");
                    if !is_role(entry) || value.is_empty() || value == role {
                        return true;
                    }
                    others.role.get_or_insert_with(|| value.to_owned());
                    others.containers.insert(name.clone());
                    false
                });
                if rules.identity_is_one_unit && others.containers.contains(&name) {
                    env.retain(|entry| text(entry, "/name") != Variable::TokenFile.name());
                }
            }
        }
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::injection::{compat::Compat, resolver::Resolver};

    const ROLE: &str = "arn:aws:iam::111122223333:role/api";

    fn examine(pod: Value) -> Examined {
        let mut auditor = Auditor::new(Arc::default());
        let resolve = |role| Resolver::new(Arc::default()).resolve([("eks.amazonaws.com/role-arn", role)]);
        auditor
            .examine(pod, |namespace, name| match (namespace, name) {
                ("payments", "api") => Some(resolve(ROLE)),
                ("payments", "plain") => Some(resolve("")),
                _ => None,
            })
            .examined
    }

    fn pod(account: &str) -> Value {
        json!({
            "metadata": {"name": "api-1", "namespace": "payments"},
            "spec": {
                "serviceAccountName": account,
                "initContainers": [{"name": "init"}],
                "containers": [{"name": "app", "env": [{"name": "A", "value": "b"}]}, {"name": "proxy"}],
            },
        })
    }

    /// The pod as it would be, had the webhook been asked.
    fn injected(pod: Value) -> Value {
        let resolver = Resolver::new(Arc::default());
        let account = resolver.resolve([("eks.amazonaws.com/role-arn", ROLE)]);
        injected_by(Arc::default(), pod, &account)
    }

    fn injected_by(settings: Arc<Settings>, mut pod: Value, account: &Account) -> Value {
        let answer = Auditor::new(settings).admit(&pod, account).unwrap().unwrap();
        json_patch::patch(&mut pod, &answer.patch).unwrap();
        pod
    }

    fn lack(examined: Examined) -> MissingInjection {
        match examined {
            Examined::Missing(lack) => *lack,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pods_that_are_not_meant_or_have_everything_lack_nothing() {
        assert!(matches!(examine(pod("plain")), Examined::NotApplicable));
        assert!(matches!(examine(pod("new")), Examined::UnknownAccount));
        assert!(matches!(examine(injected(pod("api"))), Examined::Complete));
        let mut terminating = pod("api");
        terminating["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(matches!(examine(terminating), Examined::Terminating));
        for (field, key, value) in [
            ("labels", "eks.amazonaws.com/skip-pod-identity-webhook", ""),
            ("annotations", "kubernetes.io/config.mirror", "x"),
            ("annotations", "eks.amazonaws.com/include-containers", ""),
        ] {
            let mut pod = pod("api");
            pod["metadata"][field] = json!({key: value});
            assert!(matches!(examine(pod), Examined::LeftAlone), "{key}");
        }
    }

    #[test]
    fn a_pod_that_the_webhook_never_saw_lacks_everything() {
        let lack = lack(examine(pod("api")));
        assert_eq!((lack.identity, &*lack.role, &lack.has), (Identity::Missing, ROLE, &None));
        assert_eq!(lack.containers, ["init", "app", "proxy"]);
        assert_eq!(lack.lacks[..4], ["mount", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_REGION"]);
        assert_eq!(lack.lacks.last().unwrap(), "volume");
    }

    #[test]
    fn the_aws_webhooks_volume_is_one_and_alone_it_is_nothing() {
        let settings = Arc::new(Settings { compat: Compat::Aws, ..Settings::default() });
        let mut auditor = Auditor::new(Arc::clone(&settings));
        let account = Resolver::new(settings).resolve([("eks.amazonaws.com/role-arn", ROLE)]);
        let mut left = pod("api");
        left["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
        let found = lack(auditor.examine(left.clone(), |_, _| Some(account.clone())).examined);
        assert!(found.lacks.contains(&"volume".to_owned()), "{:?}", found.lacks);
        left["metadata"]["annotations"] = json!({"eks.amazonaws.com/skip-containers": "init,app,proxy"});
        assert!(matches!(auditor.examine(left, |_, _| Some(account)).examined, Examined::LeftAlone));
    }

    #[test]
    fn a_token_that_is_mounted_by_hand_is_complete_under_either_set_of_rules() {
        let token = json!({"audience": "sts.amazonaws.com", "expirationSeconds": 3600, "path": "token"});
        let mut by_hand = pod("api");
        by_hand["spec"]["volumes"] =
            json!([{"name": "mine", "projected": {"sources": [{"serviceAccountToken": token}]}}]);
        let mount = json!({"name": "mine", "mountPath": "/var/run/secrets/eks.amazonaws.com/serviceaccount"});
        by_hand["spec"]["containers"][0]["volumeMounts"] = json!([mount]);
        for compat in [Compat::None, Compat::Aws] {
            let settings = Arc::new(Settings { compat, ..Settings::default() });
            let account =
                Resolver::new(Arc::clone(&settings)).resolve([("eks.amazonaws.com/role-arn", ROLE)]);
            let created = injected_by(Arc::clone(&settings), by_hand.clone(), &account);
            let mut auditor = Auditor::new(settings);
            let examination = auditor.examine(created, |_, _| Some(account.clone()));
            assert!(matches!(examination.examined, Examined::Complete), "{compat}: {examination:?}");
            assert_eq!(examination.mistakes, None, "{compat}");
        }
    }

    #[test]
    fn mistakes_of_the_pod_are_found_whatever_its_account_gives() {
        let mut odd = pod("api");
        odd["metadata"]["annotations"] = json!({"eks.amazonaws.com/include-containers": "ap,app"});
        odd["spec"]["containers"][0]["env"] = json!([{"name": "AWS_PROFILE", "value": "x"}]);
        let mut auditor = Auditor::new(Arc::default());
        let mut mistakes = |pod: &Value, annotation: (&str, &str)| {
            let account =
                Resolver::new(Arc::default()).resolve([annotation, ("eks.amazonaws.com/region", "eu west")]);
            auditor.examine(pod.clone(), |_, _| Some(account)).mistakes
        };
        let role = ("eks.amazonaws.com/role-arn", ROLE);
        let found = mistakes(&odd, role).unwrap();
        assert!(found.texts[0].starts_with("AWS_PROFILE is set in container"), "{found:?}");
        assert_eq!((found.texts.len(), found.owner.to_string()), (1, "pod/api-1".to_owned()));
        let mut misplaced = pod("plain");
        misplaced["metadata"]["annotations"] = json!({role.0: role.1});
        for annotation in [role, ("eks.amazonaws.com/role-am", "x"), ("other", "x")] {
            let found = mistakes(&misplaced, annotation).unwrap();
            assert!(found.texts[0].contains("read on ServiceAccounts only"), "{found:?}");
        }
        assert_eq!(mistakes(&pod("plain"), role), None);
    }

    #[test]
    fn a_container_that_was_left_out_and_a_volume_that_is_gone_are_found() {
        let mut late = injected(pod("api"));
        late["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late"}));
        let lack_of_late = lack(examine(late.clone()));
        assert_eq!(
            (lack_of_late.identity, &*lack_of_late.containers),
            (Identity::Partial, &["late".into()][..])
        );
        late["metadata"]["annotations"] = json!({"eks.amazonaws.com/skip-containers": "late"});
        assert!(matches!(examine(late), Examined::Complete));

        let mut without = injected(pod("api"));
        without["spec"]["volumes"] = json!([]);
        let lack = lack(examine(without));
        assert_eq!(
            (lack.identity, lack.lacks, lack.containers.len()),
            (Identity::Partial, vec!["volume".into()], 0)
        );
    }

    #[test]
    fn another_role_than_the_accounts_is_outdated_where_this_one_would_be_given() {
        let old = "arn:aws:iam::111122223333:role/old";
        let mut pod: Value =
            serde_json::from_str(&injected(pod("api")).to_string().replace(ROLE, old)).unwrap();
        let found = lack(examine(pod.clone()));
        assert_eq!((found.identity, found.has.as_deref()), (Identity::Outdated, Some(old)));
        assert_eq!((found.lacks, found.containers.len()), (vec!["AWS_ROLE_ARN".to_owned()], 3));
        pod["metadata"]["annotations"] = json!({"eks.amazonaws.com/include-containers": "proxy"});
        assert_eq!(lack(examine(pod)).containers, ["proxy"]);
    }

    #[test]
    fn a_pod_that_the_webhook_refuses_is_reported() {
        let mut large = pod("api");
        let containers: Vec<_> = (0..5_000).map(|number| json!({"name": number.to_string()})).collect();
        large["spec"]["containers"] = containers.into();
        let account = Resolver::new(Arc::default()).resolve([("eks.amazonaws.com/role-arn", ROLE)]);
        let found = Auditor::new(Arc::default()).examine(large, |_, _| Some(account));
        assert!(matches!(found.examined, Examined::LeftAlone), "{found:?}");
        let mistakes = found.mistakes.unwrap();
        assert!(mistakes.texts[0].contains("too many containers"), "{mistakes:?}");
        assert_eq!(mistakes.owner.to_string(), "pod/api-1");
    }
}
