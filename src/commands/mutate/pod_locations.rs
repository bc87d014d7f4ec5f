//! Finds the pods and pod templates in manifests: by kind for those of Kubernetes, by their shape for all others.

use serde_json::Value;

/// Where a pod is within a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodLocation {
    /// The kind of the object that the pod belongs to.
    pub(super) kind: String,
    /// The pointer to that object.
    pub(super) object: String,
    /// The pointer to the pod or pod template in it.
    pub(super) pod: String,
}

/// Policies quote parts of pods that they match or change; those are not pods.
const POLICY_GROUPS: [&str; 3] = ["kyverno.io", "gatekeeper.sh", "admissionregistration.k8s.io"];

/// All pods and pod templates of a document, which may be a list.
pub(super) fn find(document: &Value) -> Vec<PodLocation> {
    let mut finder = Finder { found: Vec::new() };
    finder.object(document, Type::of(document, None), "");
    finder.found
}

/// The type of an object.
#[derive(Clone, Copy, Default)]
struct Type<'a> {
    api_version: &'a str,
    kind: &'a str,
}

impl<'a> Type<'a> {
    /// The type that an object names itself, or else that of the list that holds it.
    fn of(object: &'a Value, inherited: Option<Self>) -> Self {
        let inherited = inherited.unwrap_or_default();
        let text = |key: &str, inherited| object[key].as_str().unwrap_or(inherited);
        Self { api_version: text("apiVersion", inherited.api_version), kind: text("kind", inherited.kind) }
    }

    fn group(self) -> &'a str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Where the pods of this kind are, if it is one of Kubernetes' own.
    fn pod(self) -> Option<&'static str> {
        match (self.group(), self.kind) {
            ("", "Pod") => Some(""),
            ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => {
                Some("/spec/template")
            }
            ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template"),
            _ => None,
        }
    }

    fn has_no_pods(self) -> bool {
        let group = self.group();
        let is_policy = |suffix: &str| {
            group.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        POLICY_GROUPS.iter().any(|suffix| is_policy(suffix))
            || (group, self.kind) == ("apps", "ControllerRevision")
    }
}

struct Finder {
    found: Vec<PodLocation>,
}

impl Finder {
    /// Searches an object of this type.
    fn object(&mut self, value: &Value, of: Type<'_>, pointer: &str) {
        if of.has_no_pods() {
            return;
        }
        if let Some(pod) = of.pod() {
            return self.add(of, pointer, format!("{pointer}{pod}"));
        }
        if let (Some(kind), Some(items)) = (of.kind.strip_suffix("List"), value["items"].as_array()) {
            // The items of a plain List name their type; for those of a typed list, the list does.
            for (index, item) in items.iter().enumerate() {
                let of = Type::of(item, Some(Type { kind, ..of }));
                self.object(item, of, &format!("{pointer}/items/{index}"));
            }
            return;
        }
        self.search(value, (of, pointer), pointer);
    }

    /// Searches a value within an object for objects and pod templates.
    fn search(&mut self, value: &Value, object: (Type<'_>, &str), pointer: &str) {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.found_in(item, object, &format!("{pointer}/{index}"));
                }
            }
            Value::Object(fields) => {
                for (key, field) in fields {
                    let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                    if key.to_ascii_lowercase().ends_with("template") && is_pod_template(field) {
                        self.add(object.0, object.1, pointer);
                    } else {
                        self.found_in(field, object, &pointer);
                    }
                }
            }
            _ => {}
        }
    }

    fn found_in(&mut self, value: &Value, object: (Type<'_>, &str), pointer: &str) {
        // A reference (`ownerReferences`, `scaleTargetRef`) names a type, too, but holds nothing.
        let has_type = value["apiVersion"].is_string() && value["kind"].is_string();
        let is_object = has_type && (value["spec"].is_object() || value["metadata"].is_object());
        match is_object {
            true => self.object(value, Type::of(value, None), pointer),
            false => self.search(value, object, pointer),
        }
    }

    fn add(&mut self, of: Type<'_>, object: &str, pod: String) {
        self.found.push(PodLocation { kind: of.kind.to_owned(), object: object.to_owned(), pod });
    }
}

fn is_pod_template(value: &Value) -> bool {
    let containers = value.pointer("/spec/containers").and_then(Value::as_array);
    containers.is_some_and(|containers| !containers.is_empty() && containers.iter().all(Value::is_object))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pods(document: &Value) -> Vec<String> {
        find(document).into_iter().map(|location| location.pod).collect()
    }

    fn object(api_version: &str, kind: &str, spec: Value) -> Value {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": spec})
    }

    #[test]
    fn pod_templates_of_any_kind_are_found() {
        let template = json!({"spec": {"containers": [{"name": "a"}]}});
        let job = json!({"spec": {"template": template}});
        for (api_version, kind, spec, expected) in [
            ("v1", "Pod", template["spec"].clone(), &[""][..]),
            ("apps/v1", "Deployment", json!({}), &["/spec/template"]),
            ("extensions/v1beta1", "Deployment", json!({"template": template}), &["/spec/template"]),
            ("v1", "ReplicationController", json!({"template": template}), &["/spec/template"]),
            ("argoproj.io/v1alpha1", "Rollout", json!({"template": template}), &["/spec/template"]),
            ("argoproj.io/v1alpha1", "Rollout", json!({"workloadRef": {"name": "x"}}), &[]),
            ("serving.knative.dev/v1", "Service", json!({"template": template}), &["/spec/template"]),
            ("apps.openshift.io/v1", "DeploymentConfig", json!({"template": template}), &["/spec/template"]),
            (
                "jobset.x-k8s.io/v1alpha2",
                "JobSet",
                json!({"replicatedJobs": [{"template": job}, {"template": job}]}),
                &[
                    "/spec/replicatedJobs/0/template/spec/template",
                    "/spec/replicatedJobs/1/template/spec/template",
                ],
            ),
            (
                "keda.sh/v1alpha1",
                "ScaledJob",
                json!({"jobTargetRef": {"template": template}}),
                &["/spec/jobTargetRef/template"],
            ),
            (
                "flink.apache.org/v1beta1",
                "FlinkDeployment",
                json!({"podTemplate": template}),
                &["/spec/podTemplate"],
            ),
            ("example.com/v1", "Odd", json!({"a/b~": {"template": template}}), &["/spec/a~1b~0/template"]),
            ("kyverno.io/v1", "ClusterPolicy", json!({"template": template}), &[]),
            ("policies.kyverno.io/v1", "ValidatingPolicy", json!({"template": template}), &[]),
            ("apps/v1", "ControllerRevision", json!({"template": template}), &[]),
            ("monitoring.coreos.com/v1", "Prometheus", template["spec"].clone(), &[]),
            ("v1", "ConfigMap", json!({"template": "text"}), &[]),
            (
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}}),
                &[],
            ),
        ] {
            assert_eq!(pods(&object(api_version, kind, spec)), expected, "{kind}");
        }
        let pod_template =
            json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {}, "template": template});
        assert_eq!(pods(&pod_template), ["/template"]);
    }

    #[test]
    fn objects_within_lists_and_templates_are_found() {
        let template = json!({"spec": {"containers": [{"name": "a"}]}});
        let deployment = object("apps/v1", "Deployment", json!({"template": template}));
        let list =
            json!({"apiVersion": "v1", "kind": "List", "items": [deployment, {"kind": "Other"}, deployment]});
        assert_eq!(pods(&list), ["/items/0/spec/template", "/items/2/spec/template"]);
        let list = json!({"apiVersion": "v1", "kind": "PodList", "items": [template, template]});
        assert_eq!(pods(&list), ["/items/0", "/items/1"]);
        let openshift =
            json!({"apiVersion": "template.openshift.io/v1", "kind": "Template", "objects": [deployment]});
        let found = find(&openshift);
        assert_eq!(
            (&*found[0].kind, &*found[0].object, &*found[0].pod),
            ("Deployment", "/objects/0", "/objects/0/spec/template")
        );
    }
}
