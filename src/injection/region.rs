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
    fn zones_are_recognised() {
        assert_eq!(region_of_zone("us-east-1a"), Some("us-east-1"));
        assert_eq!(region_of_zone("us-gov-west-1b"), Some("us-gov-west-1"));
        for other in ["us-east-1", "us-east", "a", "", "1a", "east-1a", "us-east-a"] {
            assert_eq!(region_of_zone(other), None, "{other}");
        }
    }
}
