//! A webhook that is installed in a cluster, reached by a port-forward to one of its pods: nobody has to expose a port.

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;

use super::{about::About, stream::Stream};
use crate::{
    cli::webhook_url::WebhookUrl,
    commands::cluster,
    kube::fields::{list, text},
};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// The names that a container port for probes and metrics has.
const ADMIN_PORTS: [&str; 3] = ["admin", "metrics", "http-metrics"];

/// A ready pod behind a Service, and how kube-apiserver calls it.
pub(super) struct Installed {
    pods: Api<Pod>,
    pod: String,
    port: u16,
    admin: Option<u16>,
    /// As kube-apiserver calls it: by the Service's name.
    pub(super) url: WebhookUrl,
    /// The authorities of the `caBundle`.
    pub(super) authorities: Vec<CertificateDer<'static>>,
}

impl Installed {
    /// Finds the webhook of a Service: the entry that calls it, and a pod that is ready.
    pub(super) async fn find(client: &Client, namespace: &str, name: &str) -> anyhow::Result<Self> {
        let read = async |path: &str| -> anyhow::Result<Value> {
            Ok(serde_json::from_str(&cluster::get(client, path).await?)?)
        };
        let configurations = read(CONFIGURATIONS).await?;
        let called = entry_for(&configurations, namespace, name).with_context(|| {
            format!("no MutatingWebhookConfiguration calls the Service {namespace}/{name}")
        })?;
        let service = read(&format!("/api/v1/namespaces/{namespace}/services/{name}")).await?;
        let selector =
            selector(&service).with_context(|| format!("the Service {namespace}/{name} selects no pods"))?;
        let pods = read(&format!("/api/v1/namespaces/{namespace}/pods?labelSelector={selector}")).await?;
        let pod = list(&pods, "/items").iter().find(|pod| is_ready(pod));
        let pod = pod.with_context(|| format!("no pod of the Service {namespace}/{name} is ready"))?;

        let number = called["service"]["port"].as_u64().unwrap_or(443);
        let port = target_port(&service, pod, number).with_context(|| {
            format!("the Service {namespace}/{name} has no port {number} that leads to its pods")
        })?;
        let path = match text(called, "/service/path") {
            "" => "/",
            path => path,
        };
        let bundle = base64_simd::STANDARD.decode_to_vec(text(called, "/caBundle")).unwrap_or_default();
        Ok(Self {
            pods: Api::namespaced(client.clone(), namespace),
            pod: text(pod, "/metadata/name").to_owned(),
            port,
            admin: ADMIN_PORTS.iter().find_map(|name| container_port(pod, name)),
            url: format!("https://{name}.{namespace}.svc{path}").parse()?,
            authorities: CertificateDer::pem_slice_iter(&bundle).filter_map(Result::ok).collect(),
        })
    }

    /// A connection to the webhook's port.
    pub(super) async fn connect(&self) -> anyhow::Result<Stream> {
        self.forward(self.port).await
    }

    /// What the admin port tells, if the pod declares one.
    pub(super) async fn about(&self) -> anyhow::Result<About> {
        match self.admin {
            Some(port) => About::fetch(async || self.forward(port).await).await,
            None => Ok(About::default()),
        }
    }

    async fn forward(&self, port: u16) -> anyhow::Result<Stream> {
        let forwarded = self.pods.portforward(&self.pod, &[port]).await;
        let mut forwarded = forwarded.with_context(|| {
            format!(
                "can't forward port {port} of the pod {}: whoever runs this needs create on pods/portforward",
                self.pod
            )
        })?;
        match forwarded.take_stream(port) {
            Some(stream) => Ok(Box::new(stream)),
            None => bail!("the pod {} forwards no port {port}", self.pod),
        }
    }
}

/// The `clientConfig` that names a Service.
fn entry_for<'v>(configurations: &'v Value, namespace: &str, name: &str) -> Option<&'v Value> {
    let entries = list(configurations, "/items").iter().flat_map(|item| list(item, "/webhooks"));
    entries.map(|entry| &entry["clientConfig"]).find(|client| {
        text(client, "/service/namespace") == namespace && text(client, "/service/name") == name
    })
}

/// As a query has it: labels have no character that needs an escape but `/` and `=`, which may stand there.
fn selector(service: &Value) -> Option<String> {
    let labels = service["spec"]["selector"].as_object().filter(|labels| !labels.is_empty())?;
    let pairs = labels.iter().map(|(key, value)| format!("{key}%3D{}", value.as_str().unwrap_or_default()));
    Some(pairs.collect::<Vec<_>>().join(","))
}

fn is_ready(pod: &Value) -> bool {
    let is_true = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    pod["metadata"]["deletionTimestamp"].is_null() && list(pod, "/status/conditions").iter().any(is_true)
}

/// The pod's port behind a port of the Service.
fn target_port(service: &Value, pod: &Value, port: u64) -> Option<u16> {
    let entry = list(service, "/spec/ports").iter().find(|entry| entry["port"] == port)?;
    match &entry["targetPort"] {
        Value::String(name) => container_port(pod, name),
        Value::Null => u16::try_from(port).ok(),
        number => number.as_u64()?.try_into().ok(),
    }
}

fn container_port(pod: &Value, name: &str) -> Option<u16> {
    let ports = list(pod, "/spec/containers").iter().flat_map(|container| list(container, "/ports"));
    let port = ports.into_iter().find(|port| port["name"] == name)?;
    port["containerPort"].as_u64()?.try_into().ok()
}
