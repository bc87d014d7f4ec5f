//! The pod as far as the rules look at it: a borrowed view that skips everything else.

use super::{
    BadReview,
    json::{self, Array, Value},
    os,
    patch::Labels,
};
use crate::injection::{
    annotation::{Annotation, Place, Values},
    compat::Rules,
    near_miss::{KUBE2IAM, SKIP_LABEL, is_skip_label_meant},
    settings::{AnnotationPrefix, Os, Settings},
};

/// A pod that is to be created, or given ephemeral containers.
#[derive(Debug)]
pub(super) struct Pod<'a> {
    /// Empty where the API server is still to generate it.
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) is_mirror: bool,
    pub(super) has_skip_label: bool,
    /// The name of a label under our prefix that looks like the skip label.
    pub(super) near_skip_label: Option<&'a str>,
    pub(super) labels: Labels,
    /// Whether the label of container credentials is among them.
    pub(super) has_pod_identity_label: bool,
    pub(super) annotations: PodAnnotations<'a>,
    pub(super) service_account: &'a str,
    pub(super) os: Os,
    pub(super) volumes: Option<Array<'a>>,
    pub(super) init_containers: Option<Array<'a>>,
    pub(super) containers: Option<Array<'a>>,
    pub(super) ephemeral_containers: Option<Array<'a>>,
}

/// The annotations of a pod under our prefix. Those that are read override its ServiceAccount's.
#[derive(Debug, Default)]
pub(super) struct PodAnnotations<'a> {
    values: Values<'a>,
    /// Whether kube2iam or kiam would give the pod a role.
    pub(super) has_kube2iam_role: bool,
    /// The names of further keys under our prefix, which are not read. There is room for a few.
    pub(super) unread: [Option<&'a str>; 4],
}

impl<'a> PodAnnotations<'a> {
    /// The value of an annotation that is read on pods, if it is there.
    pub(super) fn get(&self, annotation: Annotation) -> Option<&'a str> {
        self.values.get(annotation)
    }
}

#[derive(Default)]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
    is_mirror: bool,
    has_skip_label: bool,
    near_skip_label: Option<&'a str>,
    labels: Labels,
    has_pod_identity_label: bool,
    annotations: PodAnnotations<'a>,
}

/// The label of pods that are given container credentials, as EKS sets it. It does not depend on the annotation prefix.
pub(super) const POD_IDENTITY_LABEL: &str = "eks.amazonaws.com/pod-identity";

impl<'a> Pod<'a> {
    /// Reads the object of a request.
    pub(super) fn read(object: Value<'a>, settings: &Settings) -> Result<Self, BadReview> {
        let (mut metadata, mut spec) = (Metadata::default(), None);
        for (key, value) in json::fields(object, "request.object")? {
            match key {
                "metadata" => metadata = Metadata::read(value, &settings.annotation_prefix)?,
                "spec" => spec = Some(value),
                _ => {}
            }
        }
        let spec = spec.filter(|spec| !spec.is_null()).ok_or(BadReview::Missing("request.object.spec"))?;
        Self::read_spec(metadata, spec, settings.compat.rules())
    }

    fn read_spec(metadata: Metadata<'a>, spec: Value<'a>, rules: &Rules) -> Result<Self, BadReview> {
        let (mut service_account, mut deprecated_service_account) = ("", "");
        let (mut os, mut node_selector, mut affinity) = (None, None, None);
        let (mut volumes, mut init_containers) = (None, None);
        let (mut containers, mut ephemeral_containers) = (None, None);
        for (key, value) in json::fields(spec, "request.object.spec")? {
            match key {
                "serviceAccountName" => service_account = json::string(value, "spec.serviceAccountName")?,
                "serviceAccount" => deprecated_service_account = json::string(value, "spec.serviceAccount")?,
                "os" => os = Some(value),
                "nodeSelector" => node_selector = Some(value),
                "affinity" => affinity = Some(value),
                "volumes" => volumes = json::array(value, "spec.volumes")?,
                "initContainers" => init_containers = json::array(value, "spec.initContainers")?,
                "containers" => containers = json::array(value, "spec.containers")?,
                "ephemeralContainers" => {
                    ephemeral_containers = json::array(value, "spec.ephemeralContainers")?;
                }
                _ => {}
            }
        }
        // The order in which Kubernetes itself defaults the account (`Convert_v1_PodSpec_To_core_PodSpec`,
        // then the ServiceAccount admission plugin).
        let service_account = [service_account, deprecated_service_account, "default"]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or_default();
        Ok(Self {
            name: metadata.name,
            namespace: metadata.namespace,
            is_mirror: metadata.is_mirror,
            has_skip_label: metadata.has_skip_label,
            near_skip_label: metadata.near_skip_label,
            labels: metadata.labels,
            has_pod_identity_label: metadata.has_pod_identity_label,
            annotations: metadata.annotations,
            service_account,
            os: match rules.os_by_node_selector_only {
                false => os::demanded(os, node_selector, affinity)?,
                true => os::demanded(None, node_selector, None)?,
            },
            volumes,
            init_containers,
            containers,
            ephemeral_containers,
        })
    }
}

impl<'a> Metadata<'a> {
    fn read(value: Value<'a>, prefix: &AnnotationPrefix) -> Result<Self, BadReview> {
        let mut metadata = Self::default();
        if !value.is_null() {
            metadata.labels = Labels::None;
        }
        for (key, value) in json::fields(value, "metadata")? {
            match key {
                "name" => metadata.name = json::string(value, "metadata.name")?,
                "namespace" => metadata.namespace = json::string(value, "metadata.namespace")?,
                "annotations" => metadata.read_annotations(value, prefix)?,
                "labels" => {
                    if !value.is_null() {
                        metadata.labels = Labels::Some;
                    }
                    for (key, _) in json::fields(value, "metadata.labels")? {
                        metadata.has_pod_identity_label |= key == POD_IDENTITY_LABEL;
                        if let Some(name) = prefix.strip(key) {
                            metadata.has_skip_label |= name == SKIP_LABEL;
                            let near = Some(name).filter(|name| is_skip_label_meant(name));
                            metadata.near_skip_label = metadata.near_skip_label.or(near);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(metadata)
    }

    fn read_annotations(&mut self, value: Value<'a>, prefix: &AnnotationPrefix) -> Result<(), BadReview> {
        for (key, value) in json::fields(value, "metadata.annotations")? {
            let Some(name) = prefix.strip(key) else {
                self.is_mirror |= key == "kubernetes.io/config.mirror";
                self.annotations.has_kube2iam_role |= key == KUBE2IAM;
                continue;
            };
            let annotations = &mut self.annotations;
            match Annotation::named(name).filter(|annotation| annotation.place() == Place::Pods) {
                Some(annotation) => {
                    annotations.values.set(annotation, Some(json::string(value, "metadata.annotations")?));
                }
                None => {
                    if let Some(free) = annotations.unread.iter_mut().find(|name| name.is_none()) {
                        *free = Some(name);
                    }
                }
            }
        }
        Ok(())
    }
}
