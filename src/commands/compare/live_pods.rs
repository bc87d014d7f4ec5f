//! AdmissionReviews of the pods that run in a cluster, as if they were created now: real pods to compare with, where nothing
//! was recorded.

use std::collections::HashSet;

use anyhow::{Context, anyhow, bail};
use kube::Client;
use serde_json::{Value, json};

use super::review::Review;
use crate::{
    commands::objects,
    injection::variable::Variable,
    kube::{
        collection::{Collection, Form},
        fields::text,
    },
    recording,
};

/// What the API server adds to a pod after admission, or once it is bound.
const ADDED_LATER: [&str; 4] = ["uid", "resourceVersion", "creationTimestamp", "ownerReferences"];

/// The lists that a new pod can have.
const CONTAINERS: [&str; 2] = ["initContainers", "containers"];

/// Reads at most `max` pods of all namespaces. Values of variables are masked before anything is kept.
pub(super) async fn load(client: Client, max: usize) -> anyhow::Result<Vec<Review>> {
    let pods =
        Collection { client, path: "/api/v1/pods".to_owned(), selector: String::new(), form: Form::Whole };
    let refused = |error| anyhow!("can't list pods: {error}");
    let (mut listed, mut reviews) = (pods.list().await.map_err(refused)?, Vec::new());
    while reviews.len() < max {
        let Some(pod) = listed.next().await.map_err(refused)? else { break };
        let pod = as_created(objects::pod(&pod).context("the API server, pods: not a pod")?);
        reviews.push(review(pod, reviews.len())?);
    }
    if reviews.is_empty() {
        bail!("the cluster has no pods");
    }
    Ok(reviews)
}

fn review(pod: Value, number: usize) -> anyhow::Result<Review> {
    let [namespace, name] =
        ["/metadata/namespace", "/metadata/name"].map(|field| text(&pod, field).to_owned());
    let body = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": format!("compare-{number}"),
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": name,
            "namespace": namespace,
            "operation": "CREATE",
            "userInfo": {"username": "compare"},
            "object": pod,
            "oldObject": null,
            "dryRun": true,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    });
    let body = recording::redact(body.to_string().as_bytes())?;
    Review::parse(format!("{namespace}/{name}"), body)
}

/// The pod as it was before a webhook injected credentials, a node was found and containers ran.
fn as_created(mut pod: Value) -> Value {
    pod["kind"] = "Pod".into();
    pod["apiVersion"] = "v1".into();
    let remove = |object: &mut Value, keys: &[&str]| {
        if let Some(object) = object.as_object_mut() {
            object.retain(|key, _| !keys.contains(&&**key));
        }
    };
    remove(&mut pod["metadata"], &ADDED_LATER);
    remove(&mut pod["spec"], &["nodeName", "ephemeralContainers"]);
    remove_credentials(&mut pod["spec"]);
    pod
}

/// Removes the variables that a webhook injects, and the volume whose token they name.
fn remove_credentials(spec: &mut Value) {
    let mut volumes = HashSet::new();
    for list in CONTAINERS {
        for container in list_mut(spec, list).into_iter().flatten() {
            volumes.extend(remove_from(container));
        }
    }
    retain(spec, "volumes", |volume| !volumes.contains(text(volume, "/name")));
}

/// Removes them from a container, and returns the names of the volumes that it no longer mounts.
fn remove_from(container: &mut Value) -> Vec<String> {
    let (mut folders, mut volumes) = (Vec::new(), Vec::new());
    retain(container, "env", |entry| {
        let variable = entry["name"].as_str().and_then(Variable::named);
        if let Some(Variable::TokenFile | Variable::ContainerTokenFile) = variable {
            let file = text(entry, "/value").replace('\\', "/");
            folders.extend(file.rsplit_once('/').map(|(folder, _)| folder.to_owned()));
        }
        variable.is_none()
    });
    retain(container, "volumeMounts", |mount| {
        // On Windows, the file's path begins with a drive.
        let path = text(mount, "/mountPath").trim_end_matches('/');
        let is_of_token = folders.iter().any(|folder| folder.ends_with(path));
        if is_of_token {
            volumes.push(text(mount, "/name").to_owned());
        }
        !is_of_token
    });
    volumes
}

fn list_mut<'v>(object: &'v mut Value, key: &str) -> Option<&'v mut Vec<Value>> {
    object.get_mut(key)?.as_array_mut()
}

/// Keeps elements of a list; a list that becomes empty is removed, since the API server stores none.
fn retain(object: &mut Value, key: &str, keep: impl FnMut(&Value) -> bool) {
    let Some(list) = list_mut(object, key) else { return };
    list.retain(keep);
    if list.is_empty()
        && let Some(object) = object.as_object_mut()
    {
        object.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_pod_becomes_the_pod_that_was_created() {
        let pod = json!({
            "metadata": {"name": "a", "namespace": "b", "uid": "u", "labels": {"c": "d"}, "managedFields": []},
            "spec": {
                "nodeName": "n",
                "serviceAccountName": "api",
                "volumes": [
                    {"name": "kube-api-access", "projected": {}},
                    {"name": "aws-token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
                ],
                "containers": [
                    {"name": "injected", "env": [
                        {"name": "AWS_ROLE_ARN", "value": "arn"},
                        {"name": "PASSWORD", "value": "secret"},
                        {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "C:\\var\\run\\aws\\token"},
                    ], "volumeMounts": [
                        {"name": "kube-api-access", "mountPath": "/var/run/secrets"},
                        {"name": "aws-token", "mountPath": "/var/run/aws/"},
                    ]},
                    {"name": "left-alone"},
                ],
            },
            "status": {"phase": "Running"},
        });
        let review = review(as_created(objects::pod(pod.to_string().as_bytes()).unwrap()), 3).unwrap();
        assert_eq!((&*review.name, &*review.uid), ("b/a", "compare-3"));
        assert_eq!(
            review.object.unwrap(),
            json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "a", "namespace": "b", "labels": {"c": "d"}},
                "spec": {
                    "serviceAccountName": "api",
                    "volumes": [{"name": "kube-api-access", "projected": {}}],
                    "containers": [
                        {"name": "injected", "env": [{"name": "PASSWORD", "value": "xxxxxx"}], "volumeMounts": [
                            {"name": "kube-api-access", "mountPath": "/var/run/secrets"},
                        ]},
                        {"name": "left-alone"},
                    ],
                },
            })
        );
    }
}
