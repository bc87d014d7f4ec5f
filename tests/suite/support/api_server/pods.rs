//! Pods, listed in pages.

use serde_json::{Value, json};

use super::{ApiServer, Body, Response, State, StatusCode, whole};

impl ApiServer {
    pub(crate) fn create_pod(&self, pod: Value) {
        self.state().pods.push(pod);
    }

    /// How many pages of pods were asked for.
    pub(crate) fn pod_pages(&self) -> usize {
        self.state().pod_pages
    }
}

/// A page of the pods of a namespace, or all, that are not of these phases.
pub(super) fn list(
    state: &mut State,
    namespace: Option<&str>,
    (offset, limit): (usize, usize),
    selector: &str,
) -> Response<Body> {
    state.pod_pages += 1;
    let is_listed = |pod: &&Value| {
        let phase = pod["status"]["phase"].as_str().unwrap_or("Running");
        let refuses = |term: &str| term.strip_prefix("status.phase!%3D") == Some(phase);
        namespace.is_none_or(|namespace| pod["metadata"]["namespace"] == namespace)
            && !selector.split(',').any(refuses)
    };
    let pods: Vec<&Value> = state.pods.iter().filter(is_listed).collect();
    let page: Vec<_> = pods.iter().skip(offset).take(limit).collect();
    let next = offset + page.len();
    let next = if next < pods.len() { next.to_string() } else { String::new() };
    whole(
        StatusCode::OK,
        &json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"continue": next}, "items": page}),
    )
}
