//! Regions, and the partitions of AWS that they belong to.

/// The beginnings of regions outside of the partition `aws`, with their partitions.
const PREFIXES: [(&str, &str); 7] = [
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-isof-", "aws-iso-f"),
    ("eusc-", "aws-eusc"),
];

/// The partitions whose regions are known.
pub const PARTITIONS: [&str; 8] =
    ["aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"];

/// The partition of a region.
pub fn partition_of(region: &str) -> &'static str {
    PREFIXES
        .into_iter()
        .find(|(prefix, _)| region.starts_with(prefix))
        .map_or("aws", |(_, partition)| partition)
}

/// Whether a region is certainly of another partition than `partition`.
pub fn is_of_other_partition(region: &str, partition: &str) -> bool {
    !region.is_empty() && PARTITIONS.contains(&partition) && partition_of(region) != partition
}

/// The region of an availability zone such as `us-east-1a`; `None` if that is not one.
pub fn region_of_zone(text: &str) -> Option<&str> {
    let region = text.strip_suffix(|c: char| c.is_ascii_lowercase())?;
    let (area, number) = region.rsplit_once('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
    (is_number && area.contains('-')).then_some(region)
}

/// Whether a text has the form of a region's name, such as `us-gov-west-1`.
pub fn has_form_of_region(text: &str) -> bool {
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_lowercase());
    let Some((words, number)) = text.rsplit_once('-') else { return false };
    let mut words = words.split('-');
    let is_area = words.next().is_some_and(|area| is_word(area) && (2..=4).contains(&area.len()));
    let is_number = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
    is_area && is_number && words.clone().next().is_some() && words.all(is_word)
}

/// What is odd about a text that is injected as a region.
pub fn oddity(text: &str) -> Option<String> {
    if let Some(region) = region_of_zone(text) {
        return Some(format!("an availability zone; its region is {region}"));
    }
    let is_odd = !text.is_empty() && !has_form_of_region(text);
    is_odd.then(|| "not the name of a region, such as eu-west-1; injected as it is".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_have_a_partition() {
        for (region, partition) in [
            ("us-east-1", "aws"),
            ("eu-central-1", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("us-iso-east-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eusc-de-east-1", "aws-eusc"),
        ] {
            assert_eq!(partition_of(region), partition, "{region}");
            assert!(!is_of_other_partition(region, partition), "{region}");
        }
        assert!(is_of_other_partition("us-east-1", "aws-cn") && is_of_other_partition("cn-north-1", "aws"));
        assert!(!is_of_other_partition("us-east-1", "aws-new") && !is_of_other_partition("", "aws-cn"));
    }

    #[test]
    fn names_of_regions_have_a_form() {
        for region in ["us-east-1", "ap-southeast-12", "us-gov-west-1", "us-isob-east-1", "eusc-de-east-1"] {
            assert!(has_form_of_region(region) && oddity(region).is_none(), "{region}");
        }
        for odd in [
            "frankfurt",
            "eu-west",
            "eu-west1",
            "east-1",
            "eu--west-1",
            "e-west-1",
            "europe-west-1",
            "eu-west-",
            "1",
        ] {
            assert!(!has_form_of_region(odd) && oddity(odd).unwrap().contains("eu-west-1"), "{odd}");
        }
        assert_eq!(oddity(""), None);
    }

    #[test]
    fn zones_are_recognised() {
        assert_eq!(region_of_zone("us-east-1a"), Some("us-east-1"));
        assert_eq!(region_of_zone("us-gov-west-1b"), Some("us-gov-west-1"));
        for other in ["us-east-1", "us-east", "a", "", "1a", "east-1a", "us-east-a"] {
            assert_eq!(region_of_zone(other), None, "{other}");
        }
    }
}
