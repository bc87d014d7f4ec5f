//! What a review comes to by the README's rules, written as plainly as possible: whole values, no thought of speed, and
//! nothing shared with the core but the names of its outcomes.

use std::collections::{BTreeMap, HashSet};

use eks_pod_identity_webhook::admission::Outcome;
use serde_json::{Value, json};

use super::shape::{self, POD, REQUEST};

const MOUNT_PATH: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount";

/// A ServiceAccount's annotations, or a pod's, without the prefix.
pub(crate) type Annotations = BTreeMap<String, String>;

/// What a review comes to under the default settings.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It lacks what every review has.
    Refused,
    /// A field has a type that Kubernetes does not give it: it may be refused, or be allowed as far as it is understood.
    Malformed,
    /// Its account is unknown.
    Unknown,
    /// It is allowed.
    Allowed { outcome: Outcome, pod: Value, role: Option<String> },
}

/// What becomes of a pod.
struct Injection<'a> {
    pod: Value,
    annotations: Annotations,
    account: &'a Annotations,
    name: String,
}

pub(crate) fn verdict(review: &Value, account_of: impl FnOnce(&str, &str) -> Option<Annotations>) -> Verdict {
    let request = &review["request"];
    let is_version =
        ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"].contains(&text(&review["apiVersion"]));
    if !is_version || review["kind"] != "AdmissionReview" {
        return Verdict::Refused;
    }
    if !shape::fits(request, &REQUEST) {
        return Verdict::Malformed;
    }
    let resource = text(&request["resource"]["resource"]);
    let operation = text(&request["operation"]);
    if text(&request["uid"]).is_empty()
        || resource.is_empty()
        || !["CREATE", "UPDATE", "DELETE", "CONNECT"].contains(&operation)
    {
        return Verdict::Refused;
    }
    let pod = &request["object"];
    let allowed = |outcome| Verdict::Allowed { outcome, pod: pod.clone(), role: None };
    let is_ephemeral =
        match (operation, text(&request["resource"]["group"]), resource, text(&request["subResource"])) {
            ("CREATE", "", "pods", "") => false,
            ("UPDATE", "", "pods", "ephemeralcontainers") => true,
            _ => return allowed(Outcome::NotPatchable),
        };
    if pod.is_null() || pod.is_object() && pod["spec"].is_null() {
        return Verdict::Refused;
    }
    let old = &request["oldObject"];
    if !shape::fits(pod, &POD) || is_ephemeral && !shape::fits(old, &POD) {
        return Verdict::Malformed;
    }
    let metadata = &pod["metadata"];
    if metadata["annotations"].get("kubernetes.io/config.mirror").is_some() {
        return allowed(Outcome::MirrorPod);
    }
    if metadata["labels"].get("eks.amazonaws.com/skip-pod-identity-webhook").is_some() {
        return allowed(Outcome::SkipLabel);
    }
    let namespace = first_given(&[text(&request["namespace"]), text(&metadata["namespace"])]);
    if namespace.is_empty() {
        return Verdict::Refused;
    }
    let spec = &pod["spec"];
    let account = first_given(&[text(&spec["serviceAccountName"]), text(&spec["serviceAccount"]), "default"]);
    let Some(account) = account_of(namespace, account) else { return Verdict::Unknown };
    if role_of(&account).is_empty() {
        return allowed(Outcome::NoRole);
    }
    let injection = Injection {
        pod: pod.clone(),
        annotations: annotations_of(pod),
        account: &account,
        name: first_given(&[text(&metadata["name"]), text(&request["name"])]).to_owned(),
    };
    injection.run(is_ephemeral.then_some(old))
}

impl Injection<'_> {
    /// Injects into all containers, or into the ephemeral ones that `old` does not have.
    fn run(mut self, old: Option<&Value>) -> Verdict {
        let role = role_of(self.account);
        let (volume, exists) = self.volume_name();
        let lists: &[&str] = match old {
            None => &["initContainers", "containers"],
            Some(_) if !exists => return self.ends(Outcome::NoVolume, None),
            Some(_) => &["ephemeralContainers"],
        };
        let before = self.pod.clone();
        let (mut any_container, mut has_role) = (false, false);
        for list in lists {
            for index in 0..items(&self.pod["spec"][list]).len() {
                let container = self.pod["spec"][list][index].clone();
                let name = text(&container["name"]);
                let is_old = old.is_some_and(|old| {
                    items(&old["spec"]["ephemeralContainers"]).iter().any(|old| text(&old["name"]) == name)
                });
                let mounted = things_at_mount_path(&container);
                let is_ours =
                    |name: &str| name == volume || name != "aws-token" && self.is_token_called(name);
                let is_foreign =
                    mounted.iter().any(|mounted| mounted.as_deref().is_none_or(|name| !is_ours(name)));
                if is_old || self.leaves_alone(name) || is_foreign {
                    continue;
                }
                any_container = true;
                if mounted.is_empty() {
                    let mount = json!({"name": volume, "mountPath": MOUNT_PATH, "readOnly": true});
                    push(&mut self.pod["spec"][list][index], "volumeMounts", mount);
                }
                let present: HashSet<_> =
                    items(&container["env"]).iter().map(|entry| text(&entry["name"])).collect();
                let has_env_from = !items(&container["envFrom"]).is_empty();
                for entry in self.env(&present, has_env_from).into_iter().rev() {
                    insert(&mut self.pod["spec"][list][index], "env", entry);
                }
                let of_role = |entry: &&Value| text(&entry["name"]) == "AWS_ROLE_ARN";
                let own = items(&container["env"]).iter().rfind(of_role);
                has_role |= own.is_none_or(|entry| text(&entry["value"]) == role);
            }
        }
        if any_container && !exists {
            let token = json!({
                "audience": self.audience(),
                "expirationSeconds": self.expiration(),
                "path": "token",
            });
            let volume = json!({"name": volume, "projected": {"sources": [{"serviceAccountToken": token}]}});
            push(&mut self.pod["spec"], "volumes", volume);
        }
        let outcome = match any_container {
            false => Outcome::NoContainer,
            true if self.pod == before => Outcome::AlreadyInjected,
            true => Outcome::Injected,
        };
        self.ends(outcome, has_role.then_some(role))
    }

    fn ends(self, outcome: Outcome, role: Option<String>) -> Verdict {
        Verdict::Allowed { outcome, pod: self.pod, role }
    }

    /// The first name that is free or is a token like ours, and whether it is there.
    fn volume_name(&self) -> (String, bool) {
        let volumes = items(&self.pod["spec"]["volumes"]);
        for number in 1.. {
            let name = if number == 1 { "aws-token".to_owned() } else { format!("aws-token-{number}") };
            match volumes.iter().rfind(|volume| text(&volume["name"]) == name) {
                None => return self.volume_mounted_by_hand().map_or((name, false), |name| (name, true)),
                Some(volume) if self.is_token(volume) => return (name, true),
                Some(_) => {}
            }
        }
        unreachable!("a pod has not that many volumes")
    }

    /// A token like ours of another name that a container mounts where the token would be.
    fn volume_mounted_by_hand(&self) -> Option<String> {
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        let containers = lists.iter().flat_map(|list| items(&self.pod["spec"][list]));
        let mut mounted = containers.flat_map(things_at_mount_path).flatten();
        mounted.find(|name| name != "aws-token" && self.is_token_called(name))
    }

    fn is_token_called(&self, name: &str) -> bool {
        let volumes = items(&self.pod["spec"]["volumes"]);
        volumes.iter().any(|volume| text(&volume["name"]) == name && self.is_token(volume))
    }

    fn is_token(&self, volume: &Value) -> bool {
        items(&volume["projected"]["sources"]).iter().any(|source| {
            let token = &source["serviceAccountToken"];
            text(&token["audience"]) == self.audience() && text(&token["path"]) == "token"
        })
    }

    fn leaves_alone(&self, container: &str) -> bool {
        let names = |annotation| -> Option<Vec<&str>> {
            let list = self.annotations.get(annotation).or(self.account.get(annotation))?;
            Some(listed(list))
        };
        names("skip-containers").is_some_and(|names| names.contains(&container))
            || names("include-containers").is_some_and(|names| !names.contains(&container))
    }

    fn env(&self, present: &HashSet<&str>, has_env_from: bool) -> Vec<Value> {
        let token_file = format!("{MOUNT_PATH}/token");
        let token_file =
            if is_windows(&self.pod) { format!("C:{token_file}").replace('/', r"\") } else { token_file };
        let mut entries = vec![
            json!({"name": "AWS_ROLE_ARN", "value": role_of(self.account)}),
            json!({"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": token_file}),
        ];
        let annotated = self.annotated_region();
        let region = match &annotated {
            Some(region) => region,
            None if has_env_from || self.is_of_other_partition() => "",
            None => "us-east-1",
        };
        if !region.is_empty() && !present.contains("AWS_REGION") && !present.contains("AWS_DEFAULT_REGION") {
            entries.push(json!({"name": "AWS_REGION", "value": region}));
            entries.push(json!({"name": "AWS_DEFAULT_REGION", "value": region}));
        }
        let is_named = |text: &String| match text.trim() {
            "pod" => Some(true),
            "none" => Some(false),
            _ => None,
        };
        let sources = [self.annotations.get("session-name"), self.account.get("session-name")];
        if sources.into_iter().flatten().find_map(is_named).unwrap_or(true) {
            entries.push(match &*self.name {
                "" => json!({"name": "AWS_ROLE_SESSION_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
                name => json!({"name": "AWS_ROLE_SESSION_NAME", "value": session_name(name)}),
            });
        }
        let is_true = |text: &str| ["1", "t", "T", "true", "TRUE", "True"].contains(&text.trim());
        if self.account.get("sts-regional-endpoints").is_some_and(|text| is_true(text)) {
            entries.push(json!({"name": "AWS_STS_REGIONAL_ENDPOINTS", "value": "regional"}));
        }
        entries.retain(|entry| !present.contains(text(&entry["name"])));
        entries
    }

    fn audience(&self) -> &str {
        let audience = self.account.get("audience").map_or("", |audience| audience.trim());
        let audience = if audience.len() > 512 { "" } else { audience };
        first_given(&[audience, "sts.amazonaws.com"])
    }

    fn expiration(&self) -> u64 {
        let sources = [&self.annotations, self.account];
        sources.iter().find_map(|source| seconds(source.get("token-expiration")?)).unwrap_or(3600)
    }

    fn annotated_region(&self) -> Option<&str> {
        let is_region = |text: &&str| {
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            text.len() <= 63 && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
        };
        let sources = [&self.annotations, self.account];
        sources.iter().find_map(|source| Some(source.get("region")?.trim()).filter(is_region))
    }

    /// Whether the role is of a known partition that us-east-1 is not in.
    fn is_of_other_partition(&self) -> bool {
        let others = ["aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"];
        let role = role_of(self.account);
        others.iter().any(|partition| {
            let Some(rest) = role.strip_prefix(&format!("arn:{partition}:iam::")) else { return false };
            let Some((account, name)) = rest.split_once(":role/") else { return false };
            let parts: Vec<_> = name.split('/').collect();
            role.len() < 2048
                && account.len() == 12
                && account.chars().all(|c| c.is_ascii_digit())
                && parts.iter().all(|part| !part.is_empty())
                && parts.last().is_some_and(|name| name.len() <= 64)
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_-/".contains(c))
        })
    }
}

/// The names in a list: the first 128 of those that are whole within 4,096 bytes.
fn listed(list: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut end = 0;
    for name in list.split(',') {
        end += name.len();
        if list.len() > 4096 && end >= 4096 || names.len() == 128 {
            break;
        }
        names.push(name.trim());
        end += 1;
    }
    if names.is_empty() { vec![""] } else { names }
}

fn role_of(account: &Annotations) -> String {
    account.get("role-arn").map_or("", |role| role.trim()).chars().take(2048).collect()
}

fn annotations_of(pod: &Value) -> Annotations {
    let annotations = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    let own = annotations.filter_map(|(key, value)| Some((key.strip_prefix("eks.amazonaws.com/")?, value)));
    own.map(|(key, value)| (key.to_owned(), text(value).to_owned())).collect()
}

/// A whole number, brought into what kube-apiserver takes.
fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let number = if text.starts_with('-') { 0 } else { digits.parse().unwrap_or(u64::MAX) };
    Some(number.clamp(600, 1 << 32))
}

fn is_windows(pod: &Value) -> bool {
    let spec = &pod["spec"];
    if !spec["os"]["name"].is_null() {
        return spec["os"]["name"] == "windows";
    }
    let labels = ["kubernetes.io/os", "beta.kubernetes.io/os"];
    let demands = |expression: &Value| {
        let values = items(&expression["values"]);
        labels.contains(&text(&expression["key"]))
            && expression["operator"] == "In"
            && !values.is_empty()
            && values.iter().all(|value| value == "windows")
    };
    let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let terms = items(&required["nodeSelectorTerms"]);
    labels.iter().any(|label| spec["nodeSelector"][label] == "windows")
        || !terms.is_empty() && terms.iter().all(|term| items(&term["matchExpressions"]).iter().any(demands))
}

fn session_name(pod: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if pod.len() <= 64 && pod.chars().all(is_allowed) {
        return if pod.len() == 1 { format!("pod-{pod}") } else { pod.to_owned() };
    }
    let hash = pod.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let prefix: String = pod.chars().take(55).map(|c| if is_allowed(c) { c } else { '-' }).collect();
    format!("{prefix}-{:08x}", (hash >> 32) as u32 ^ hash as u32)
}

/// The volumes mounted where the token would be; `None` for a part of a volume, or a device.
fn things_at_mount_path(container: &Value) -> Vec<Option<String>> {
    let is_there = |path: &Value| text(path).trim_end_matches('/') == MOUNT_PATH;
    let is_whole =
        |mount: &Value| text(&mount["subPath"]).is_empty() && text(&mount["subPathExpr"]).is_empty();
    let mounts = items(&container["volumeMounts"]).iter().filter(|mount| is_there(&mount["mountPath"]));
    let devices = items(&container["volumeDevices"]).iter().filter(|device| is_there(&device["devicePath"]));
    mounts
        .map(|mount| is_whole(mount).then(|| text(&mount["name"]).to_owned()))
        .chain(devices.map(|_| None))
        .collect()
}

fn push(object: &mut Value, list: &str, item: Value) {
    match object.get_mut(list).and_then(Value::as_array_mut) {
        Some(list) => list.push(item),
        None => object[list] = json!([item]),
    }
}

fn insert(object: &mut Value, list: &str, item: Value) {
    match object.get_mut(list).and_then(Value::as_array_mut) {
        Some(list) => list.insert(0, item),
        None => object[list] = json!([item]),
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], |items| items)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn first_given<'a>(texts: &[&'a str]) -> &'a str {
    texts.iter().find(|text| !text.is_empty()).copied().unwrap_or_default()
}
