//! Selects containers by annotations.

use std::collections::HashSet;

use super::{
    BadReview,
    json::{self, Value},
    pod::Pod,
};
use crate::injection::{
    account::AccountSettings,
    annotation::Annotation,
    compat::Rules,
    container_names::{self, ContainerNames},
};

/// The containers to skip, by name.
pub(super) struct Filter<'a> {
    skip: Option<List<'a>>,
    include: Option<List<'a>>,
    /// Ephemeral containers that the pod already has.
    old: HashSet<&'a str>,
}

/// A list of an annotation.
struct List<'a> {
    names: Names<'a>,
    has_matched: bool,
}

enum Names<'a> {
    OfPod(HashSet<&'a str>),
    OfAccount(&'a ContainerNames),
}

impl<'a> List<'a> {
    fn new(of_pod: Option<&'a str>, of_account: Option<&'a ContainerNames>, rules: &Rules) -> Option<Self> {
        let names = match of_pod {
            Some(text) => Names::OfPod(container_names::split(text, rules).collect()),
            None => Names::OfAccount(of_account?),
        };
        Some(Self { names, has_matched: false })
    }

    fn contains(&mut self, name: &str) -> bool {
        let contains = match &self.names {
            Names::OfPod(names) => names.contains(name),
            Names::OfAccount(names) => names.contains(name),
        };
        self.has_matched |= contains;
        contains
    }

    /// Whether it names containers and the pod has none of them.
    fn is_unmatched(&self) -> bool {
        let names_any = match &self.names {
            Names::OfPod(names) => names.iter().any(|name| !name.is_empty()),
            Names::OfAccount(names) => names.iter().any(|name| !name.is_empty()),
        };
        names_any && !self.has_matched
    }

    fn source(&self) -> Source {
        match &self.names {
            Names::OfPod(_) => Source::Pod,
            Names::OfAccount(_) => Source::Account,
        }
    }
}

/// The object that has the annotation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Pod,
    Account,
}

impl<'a> Filter<'a> {
    pub(super) fn new(pod: &Pod<'a>, account: &'a AccountSettings, rules: &Rules) -> Self {
        let annotations = &pod.annotations;
        Self {
            skip: List::new(
                annotations.get(Annotation::SkipContainers),
                account.skip_containers.as_ref(),
                rules,
            ),
            include: List::new(
                annotations.get(Annotation::IncludeContainers),
                account.include_containers.as_ref(),
                rules,
            ),
            old: HashSet::new(),
        }
    }

    pub(super) fn skip_ephemeral_containers_of<'o: 'a>(
        &mut self,
        pod: Option<Value<'o>>,
    ) -> Result<(), BadReview> {
        const PATH: &str = "request.oldObject";
        let Some(pod) = pod else { return Ok(()) };
        for (_, spec) in json::fields(pod, PATH)?.filter(|(key, _)| *key == "spec") {
            for (_, list) in json::fields(spec, PATH)?.filter(|(key, _)| *key == "ephemeralContainers") {
                for container in json::items(json::array(list, PATH)?) {
                    for (_, name) in json::fields(container, PATH)?.filter(|(key, _)| *key == "name") {
                        self.old.insert(json::string(name, PATH)?);
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn admits(&mut self, name: &str) -> bool {
        let is_included = self.include.as_mut().is_none_or(|include| include.contains(name));
        let is_skipped = self.skip.as_mut().is_some_and(|skip| skip.contains(name));
        is_included && !is_skipped && (self.old.is_empty() || !self.old.contains(name))
    }

    /// The annotations that match no container, and where each is.
    pub(super) fn unmatched(&self) -> impl Iterator<Item = (Annotation, Source)> {
        let lists =
            [(Annotation::SkipContainers, &self.skip), (Annotation::IncludeContainers, &self.include)];
        lists.into_iter().filter_map(|(annotation, list)| {
            let list = list.as_ref().filter(|list| list.is_unmatched())?;
            Some((annotation, list.source()))
        })
    }
}
