//! A role as annotated → its ARN: completed where it is a short name, bounded, and checked.

use std::borrow::Cow;

use super::{
    aws_account::{AccountId, Partition},
    settings::RoleOwner,
    warning::cut,
};

/// IAM's limit on an ARN (`Arn` in the IAM API reference).
pub const MAX_CHARS: usize = 2048;

/// IAM's limit on the name of a role (`CreateRole`).
const MAX_NAME: usize = 64;

/// The prefix of an ARN. The name or path of a role can't have it, since neither may contain a colon.
const HEAD: &str = "arn:";

/// The ARN to inject for a role. A short name, with or without a path, is completed if its account is known.
///
/// A longer text is cut, since it is injected into every container. It fails in STS in the same way.
pub fn complete<'a>(role: &'a str, owner: Option<&RoleOwner>) -> Cow<'a, str> {
    let role = cut(role, MAX_CHARS);
    match owner {
        // IAM writes paths with a slash before them, ARNs have the one behind `role`.
        Some(RoleOwner { partition, account_id }) if !role.starts_with(HEAD) => {
            let name = role.strip_prefix('/').unwrap_or(role);
            let arn = format!("arn:{partition}:iam::{account_id}:role/{name}");
            cut(&arn, MAX_CHARS).to_owned().into()
        }
        _ => role.into(),
    }
}

/// What is wrong with the ARN of a role, after it was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleProblem {
    /// It is not an ARN at all.
    NoArn,
    /// It is not the ARN of a role.
    NoRoleArn,
    /// Its name is longer than IAM allows.
    LongName,
    /// Its path has an empty part.
    EmptyPath,
}

impl RoleProblem {
    /// The problem, and what happens with such a role.
    pub fn describe(self) -> &'static str {
        match self {
            Self::NoArn => {
                "not a role ARN, and a short name only where the webhook has --aws-account-id; injected as it is"
            }
            Self::NoRoleArn => "not a role ARN (arn:aws:iam::<12 digits>:role/<name>); injected as it is",
            Self::LongName => {
                "not a role ARN: the name of a role has at most 64 characters; injected as it is"
            }
            Self::EmptyPath => "not a role ARN: its path has an empty part (//); injected as it is",
        }
    }
}

/// Checks that `text` has the form of a role's ARN: `arn:<partition>:iam::<account id>:role/<path and name>`
/// (IAM user guide, "IAM identifiers"; `CreateRole` for the lengths).
pub fn check(text: &str) -> Result<(), RoleProblem> {
    if !text.starts_with(HEAD) {
        return Err(RoleProblem::NoArn);
    }
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (_arn, partition, service, region, account, resource) =
        (next(), next(), next(), next(), next(), next());
    let name = resource.strip_prefix("role/").unwrap_or_default();
    let is_role = text.len() < MAX_CHARS
        && Partition::is_valid(partition)
        && service == "iam"
        && region.is_empty()
        && AccountId::is_valid(account)
        && !name.is_empty()
        && !name.ends_with('/')
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&c));
    if !is_role {
        Err(RoleProblem::NoRoleArn)
    } else if name.starts_with('/') || name.contains("//") {
        Err(RoleProblem::EmptyPath)
    } else if name.rsplit('/').next().is_some_and(|name| name.len() > MAX_NAME) {
        Err(RoleProblem::LongName)
    } else {
        Ok(())
    }
}

/// Whether `text` has the form of a role's ARN.
pub fn is_role_arn(text: &str) -> bool {
    check(text).is_ok()
}

/// The partition of a role's ARN.
pub fn partition(arn: &str) -> Option<&str> {
    arn.strip_prefix(HEAD)?.split(':').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_completed_where_their_owner_is_known() {
        let owner =
            RoleOwner { partition: "aws-cn".parse().unwrap(), account_id: "111122223333".parse().unwrap() };
        for (role, arn) in [
            ("app", "arn:aws-cn:iam::111122223333:role/app"),
            ("team/app", "arn:aws-cn:iam::111122223333:role/team/app"),
            ("/team/app", "arn:aws-cn:iam::111122223333:role/team/app"),
            ("arn:aws:iam::444455556666:role/app", "arn:aws:iam::444455556666:role/app"),
            ("arn:", "arn:"),
        ] {
            assert_eq!(complete(role, Some(&owner)), arn);
            assert_eq!(complete(role, None), role);
        }
        let long = "a".repeat(MAX_CHARS);
        assert_eq!(complete(&long, Some(&owner)).len(), MAX_CHARS);
        assert!(!is_role_arn(&complete(&long, Some(&owner))));
    }

    #[test]
    fn role_arns_are_recognised() {
        for good in [
            "arn:aws:iam::111122223333:role/app",
            "arn:aws-cn:iam::111122223333:role/team/app",
            "arn:aws-us-gov:iam::111122223333:role/a+b=c,d.e@f_g-h",
        ] {
            assert!(is_role_arn(good), "{good}");
        }
        for bad in [
            "app",
            "arn:aws:iam::111122223333:user/app",
            "arn:aws:iam::11112222333:role/app",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam::111122223333:role/app/",
            "arn:aws:iam:us-east-1:111122223333:role/app",
            "arn:aws:iam::111122223333:role/${ROLE}",
            "arn:gcp:iam::111122223333:role/app",
            "arn:aws:iam::111122223333:role//app",
            "arn:aws:iam::111122223333:role/team//app",
        ] {
            assert!(!is_role_arn(bad), "{bad}");
        }
        for (length, expected) in [(64, Ok(())), (65, Err(RoleProblem::LongName))] {
            let name = "x".repeat(length);
            assert_eq!(check(&format!("arn:aws:iam::111122223333:role/team/{name}")), expected);
        }
        assert_eq!(partition("arn:aws-cn:iam::111122223333:role/app"), Some("aws-cn"));
        assert_eq!(partition("app"), None);
    }
}
