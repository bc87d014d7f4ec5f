//! Which containers annotations leave alone.

use std::collections::HashSet;

use super::{
    BadReview,
    json::{self, Value},
    pod::Pod,
};
use crate::injection::{account::AccountSettings, compat::Rules};

/// Which containers are left alone, by name. Sets, since lists and containers can both be long.
pub(super) struct Filter<'a> {
    skip: HashSet<&'a str>,
    include: Option<HashSet<&'a str>>,
}

impl<'a> Filter<'a> {
    pub(super) fn new(pod: &Pod<'a>, account: &'a AccountSettings, rules: &Rules) -> Self {
        let names = |list: &'a str| {
            let names = list.split(',');
            if rules.trim_container_names { names.map(str::trim).collect() } else { names.collect() }
        };
        let skip = pod.annotations.skip_containers.or(account.skip_containers.as_deref());
        let include = pod.annotations.include_containers.or(account.include_containers.as_deref());
        Self { skip: skip.map(names).unwrap_or_default(), include: include.map(names) }
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
                        self.skip.insert(json::string(name, PATH)?);
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn admits(&self, name: &str) -> bool {
        !self.skip.contains(name) && self.include.as_ref().is_none_or(|include| include.contains(name))
    }
}
