//! Warnings about a pod, for its creator.

use super::{
    credentials::Token,
    filter::{Filter, Source},
    pod::Pod,
};
use crate::injection::{
    annotation::Annotation,
    annotation_keys::AnnotationKeys,
    container_names,
    near_miss::{KUBE2IAM, SKIP_LABEL},
    region::oddity,
    settings::{Region, Settings},
    variable::{Variable, Variables},
    warning::{Warning, WarningKind, quote, quote_name},
};

/// An annotation of the pod whose value is a mistake.
pub(super) fn of_value(settings: &Settings, annotation: Annotation, value: &str, effect: &str) -> Warning {
    let key = settings.annotation_prefix.key(annotation.name());
    Warning::new(WarningKind::PodAnnotation, format!("pod annotation {key}: {} is {effect}", quote(value)))
}

/// A region that the pod asks for: `partition` is that of the role, if it is another one.
pub(super) fn of_region(
    settings: &Settings,
    region: &Region,
    partition: Option<&str>,
) -> impl Iterator<Item = Warning> {
    let oddity = oddity(region.as_ref())
        .map(|oddity| of_value(settings, Annotation::Region, region.as_ref(), &oddity));
    let partition = partition.map(|partition| {
        let key = settings.annotation_prefix.key(Annotation::Region.name());
        let text =
            format!("pod annotation {key}: {region} is of another partition than the role, {partition}");
        Warning::new(WarningKind::Region, text)
    });
    oddity.into_iter().chain(partition)
}

/// Annotations of a pod that nothing reads, and lists of containers that match none.
pub(super) fn of_annotations(
    settings: &Settings,
    keys: &AnnotationKeys,
    pod: &Pod<'_>,
    filter: &Filter<'_>,
    warnings: &mut Vec<Warning>,
) {
    of_unread_keys(settings, keys, pod, warnings);
    for (annotation, source) in filter.unmatched() {
        let key = settings.annotation_prefix.key(annotation.name());
        let (owner, kind) = match source {
            Source::Pod => ("pod", WarningKind::PodAnnotation),
            Source::Account => ("ServiceAccount", WarningKind::AccountAnnotation),
        };
        // Proxies are skipped most often. The webhooks that add them are called later, unless their names come first.
        let unless = match annotation {
            Annotation::SkipContainers => ", unless another webhook adds it later",
            _ => "",
        };
        let text = format!("{owner} annotation {key} matches no container of the pod{unless}");
        warnings.push(Warning::new(kind, text));
    }
    for list in [Annotation::SkipContainers, Annotation::IncludeContainers] {
        if let Some(text) = pod.annotations.get(list).filter(|text| container_names::is_too_long(text)) {
            warnings.push(of_value(settings, list, text, "too long; its end is ignored"));
        }
    }
}

/// Annotations under our prefix that nothing reads on pods, and labels that are nearly the skip label.
pub(super) fn of_unread_keys(
    settings: &Settings,
    keys: &AnnotationKeys,
    pod: &Pod<'_>,
    warnings: &mut Vec<Warning>,
) {
    for name in pod.annotations.unread.iter().flatten() {
        if let Some(mistake) = keys.mistake_of_pod(name) {
            let key = settings.annotation_prefix.key(name);
            let text = format!("pod annotation {} {mistake}", quote(&key));
            warnings.push(Warning::new(WarningKind::PodAnnotation, text));
        }
    }
    if let Some(name) = pod.near_skip_label {
        let prefix = &settings.annotation_prefix;
        let (label, meant) = (quote(&prefix.key(name)), prefix.key(SKIP_LABEL));
        let text = format!("pod label {label} is ignored; did you mean {meant}?");
        warnings.push(Warning::new(WarningKind::PodAnnotation, text));
    }
}

/// The annotation with which kube2iam and kiam give a pod its role, on a pod that has none here.
pub(super) fn of_kube2iam(keys: &AnnotationKeys, pod: &Pod<'_>, warnings: &mut Vec<Warning>) {
    if let Some(mistake) = keys.mistake(KUBE2IAM).filter(|_| pod.annotations.has_kube2iam_role) {
        let text = format!("pod annotation {KUBE2IAM} {mistake}, on the ServiceAccount");
        warnings.push(Warning::new(WarningKind::PodAnnotation, text));
    }
}

/// What was noted of the containers.
#[derive(Default)]
pub(super) struct Noted<'a> {
    blocked: Names<'a>,
    /// The containers with other credentials, and the first variable of the first.
    other_credentials: Names<'a>,
    variable: Option<Variable>,
}

impl<'a> Noted<'a> {
    /// A container is skipped because something else is mounted where the token would be.
    pub(super) fn blocked(&mut self, container: &'a str) {
        self.blocked.push(container);
    }

    /// A container that is given credentials has `present`.
    pub(super) fn other_credentials(&mut self, container: &'a str, present: Variables) {
        let mut others = Variable::OF_OTHER_CREDENTIALS.into_iter();
        if let Some(variable) = others.find(|&variable| present.contains(variable)) {
            self.other_credentials.push(container);
            self.variable.get_or_insert(variable);
        }
    }

    pub(super) fn warn_into(&self, warnings: &mut Vec<Warning>, token: &Token) {
        if let Some(names) = self.blocked.joined() {
            let path = token.mount_path.as_ref();
            let text = format!("no AWS identity for container {names}: something else is mounted at {path}");
            warnings.push(Warning::new(WarningKind::MountPath, text));
        }
        if let Some((names, variable)) = self.other_credentials.joined().zip(self.variable) {
            let name = variable.name();
            let text =
                format!("{name} is set in container {names}: SDKs use it instead of the injected identity");
            warnings.push(Warning::new(WarningKind::StaticCredentials, text));
        }
    }
}

/// The names of the first few containers.
#[derive(Default)]
struct Names<'a> {
    first: Vec<&'a str>,
    more: usize,
}

impl<'a> Names<'a> {
    /// How many a warning names; it has 256 characters.
    const NAMED: usize = 3;

    fn push(&mut self, container: &'a str) {
        if self.first.len() < Self::NAMED {
            self.first.push(container);
        } else {
            self.more += 1;
        }
    }

    fn joined(&self) -> Option<String> {
        let names: Vec<_> = self.first.iter().map(|name| quote_name(name)).collect();
        let more = if self.more > 0 { format!(" and {} more", self.more) } else { String::new() };
        (!names.is_empty()).then(|| format!("{}{more}", names.join(", ")))
    }
}
