//! Replaces what a recording must not contain by as many `x`, so that sizes stay the same. What the core reads is kept, so
//! that the answer stays the same.

use serde_json::Value;

use crate::injection::variable::Variable;

/// Where `kubectl apply` keeps the whole manifest, environment included.
const LAST_APPLIED: &str = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";

/// Rewrites an AdmissionReview, as compact as kube-apiserver writes it.
///
/// Nothing is kept of other objects than pods: the core does not read them, and no rule says where their secrets are.
pub fn redact(body: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut review: Value = serde_json::from_slice(body)?;
    let is_pod = is_for_pods(&review);
    for object in ["/request/object", "/request/oldObject"] {
        match review.pointer_mut(object) {
            Some(pod) if is_pod => redact_pod(pod),
            Some(other) => *other = Value::Null,
            None => {}
        }
    }
    let mut text = serde_json::to_vec(&review)?;
    text.push(b'\n');
    Ok(text)
}

fn is_for_pods(review: &Value) -> bool {
    let field = |name| review["request"]["resource"][name].as_str().unwrap_or_default();
    (field("group"), field("resource")) == ("", "pods")
}

fn redact_pod(pod: &mut Value) {
    if let Some(manifest) = pod.pointer_mut(LAST_APPLIED) {
        mask(manifest);
    }
    for list in ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"] {
        let containers = pod.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        let env = containers.filter_map(|container| container.get_mut("env")?.as_array_mut()).flatten();
        for entry in env {
            let name = entry.get("name").and_then(Value::as_str).unwrap_or_default();
            if !Variable::named(name).is_some_and(Variable::is_injected)
                && let Some(value) = entry.get_mut("value")
            {
                mask(value);
            }
        }
    }
}

fn mask(value: &mut Value) {
    let len = match &*value {
        Value::Null => return,
        Value::String(text) => text.len(),
        // No API server lets this through.
        other => other.to_string().len(),
    };
    *value = "x".repeat(len).into();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn redacted(review: &Value) -> Value {
        serde_json::from_slice(&redact(review.to_string().as_bytes()).unwrap()).unwrap()
    }

    fn pods(object: &Value) -> Value {
        json!({"request": {"resource": {"resource": "pods"}, "object": object, "oldObject": object}})
    }

    #[test]
    fn values_of_variables_are_replaced_in_every_container_of_both_objects() {
        let pod = |secret: &str| {
            let env = json!([
                {"name": "A", "value": secret},
                {"name": "EMPTY", "value": ""},
                {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "key"}}},
            ]);
            let container = json!({"name": "c", "env": env, "args": ["--kept"]});
            json!({"spec": {
                "containers": [container, container],
                "initContainers": [container],
                "ephemeralContainers": [container],
            }})
        };
        assert_eq!(redacted(&pods(&pod("geheim"))), pods(&pod("xxxxxx")));
        assert_eq!(redacted(&pods(&pod("tür"))), pods(&pod("xxxx")), "as many as bytes");
    }

    #[test]
    fn variables_that_the_core_reads_or_injects_are_kept() {
        let env: Vec<_> = Variable::ALL
            .iter()
            .filter(|variable| variable.is_injected())
            .map(|variable| json!({"name": variable.name(), "value": "kept"}))
            .collect();
        let review = pods(&json!({"spec": {"containers": [{"env": env}]}}));
        assert_eq!(redacted(&review), review);
        let like = pods(&json!({"spec": {"containers": [{"env": [{"name": "AWS_ROLE", "value": "a"}]}]}}));
        assert_eq!(redacted(&like)["request"]["object"]["spec"]["containers"][0]["env"][0]["value"], "x");
    }

    #[test]
    fn of_annotations_only_the_applied_manifest_is_replaced() {
        let pod = |manifest: &str| {
            let annotations =
                json!({"kubectl.kubernetes.io/last-applied-configuration": manifest, "a": "kept"});
            json!({"metadata": {"name": "p", "annotations": annotations}})
        };
        assert_eq!(redacted(&pods(&pod("{\"a\":1}\n"))), pods(&pod("xxxxxxxx")));
    }

    #[test]
    fn of_objects_that_are_no_pods_nothing_is_kept() {
        for resource in
            [json!({"resource": "secrets"}), json!({"group": "x.io", "resource": "pods"}), json!(1)]
        {
            let review =
                json!({"request": {"resource": resource, "object": {"data": "a"}, "oldObject": null}});
            let expected = json!({"request": {"resource": resource, "object": null, "oldObject": null}});
            assert_eq!(redacted(&review), expected);
        }
        let without = json!({"request": {"resource": {"resource": "secrets"}}});
        assert_eq!(redacted(&without), without);
    }

    #[test]
    fn odd_shapes_are_redacted() {
        for odd in [json!(null), json!(1), json!("text"), json!([]), json!([1, null, []]), json!({})] {
            for review in [
                odd.clone(),
                json!({"request": odd}),
                pods(&odd),
                pods(&json!({"metadata": odd, "spec": odd})),
                pods(&json!({"metadata": {"annotations": odd}, "spec": {"containers": odd}})),
                pods(&json!({"spec": {"containers": [{"env": odd}], "initContainers": [odd]}})),
                pods(&json!({"spec": {"containers": [{"env": [odd, {"name": odd}]}]}})),
            ] {
                assert_eq!(redacted(&review), review);
            }
        }
        let number = pods(&json!({"spec": {"containers": [{"env": [{"name": 1, "value": {"a": 1}}]}]}}));
        let expected = pods(&json!({"spec": {"containers": [{"env": [{"name": 1, "value": "xxxxxxx"}]}]}}));
        assert_eq!(redacted(&number), expected);
        assert!(redact(b"{").is_err());
        assert!(redact("[".repeat(100_000).as_bytes()).is_err());
    }
}
