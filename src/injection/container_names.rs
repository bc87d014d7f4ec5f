//! Lists of container names, as annotations have them.

use super::compat::Rules;

/// The longest list that is read. What is beyond it is ignored, with a warning.
const MAX_BYTES: usize = 4096;

/// The most names of a list that are read.
const MAX_NAMES: usize = 128;

/// Names of containers, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerNames(Box<[Box<str>]>);

impl ContainerNames {
    /// Parses a list.
    pub fn parse(text: &str, rules: &Rules) -> Self {
        let mut names: Vec<Box<str>> = split(text, rules).map(Into::into).collect();
        names.sort_unstable();
        names.dedup();
        Self(names.into())
    }

    /// Whether a container is listed.
    pub fn contains(&self, name: &str) -> bool {
        self.0.binary_search_by(|listed| (**listed).cmp(name)).is_ok()
    }

    /// Each name once.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }
}

/// The names in a list that are read.
pub fn split<'a>(text: &'a str, rules: &Rules) -> impl Iterator<Item = &'a str> {
    let trims = rules.trim_container_names;
    within(text).split(',').take(MAX_NAMES).map(move |name| if trims { name.trim() } else { name })
}

/// Whether a list is so long that some of its names are ignored.
pub fn is_too_long(text: &str) -> bool {
    text.len() > MAX_BYTES || text.split(',').nth(MAX_NAMES).is_some()
}

/// The part of a list that is read: whole names only.
fn within(text: &str) -> &str {
    if text.len() <= MAX_BYTES {
        return text;
    }
    let mut end = MAX_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].rsplit_once(',').map_or("", |(whole, _)| whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::injection::compat::Compat;

    fn names(text: &str) -> ContainerNames {
        ContainerNames::parse(text, Compat::None.rules())
    }

    #[test]
    fn names_are_found_without_the_spaces_around_them() {
        let list = names(" b, a ,b,");
        assert!(list.contains("a") && list.contains("b") && list.contains("") && !list.contains(" a "));
        assert!(!names("ab").contains("a"));
        let of_aws = ContainerNames::parse("a, b", Compat::Aws.rules());
        assert!(of_aws.contains("a") && of_aws.contains(" b") && !of_aws.contains("b"));
    }

    #[test]
    fn long_lists_are_cut_behind_a_whole_name() {
        let long = format!("{},{}", "é".repeat(2000), "b".repeat(100));
        assert!(is_too_long(&long) && names(&long).contains(&"é".repeat(2000)));
        assert_eq!(names(&long).iter().count(), 1);
        let many = vec!["a"; 129].join(",");
        assert!(is_too_long(&many) && !is_too_long(&many[2..]));
    }
}
