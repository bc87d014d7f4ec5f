//! The trust policy of an IAM role: which ServiceAccounts of which issuer may assume it.
//!
//! Pure functions, from what the role must trust to a policy in one of its written forms.

mod subject;
mod terraform;

use serde_json::{Map, Value, json};

pub use self::subject::{InvalidSubject, Subject};
use super::issuer::Issuer;
use crate::injection::{
    aws_account::{AccountId, Partition},
    settings::Audience,
};

/// IAM's default quota for the length of a trust policy, without white space.
pub const DEFAULT_QUOTA: usize = 2048;

/// The issuers and accounts that a role trusts.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The issuers of the tokens: one for each cluster.
    pub issuers: Vec<Issuer>,
    /// The AWS account that has the issuers as identity providers.
    pub account: AccountId,
    /// The partition of that account.
    pub partition: Partition,
    /// The tokens' audience.
    pub audience: Audience,
    /// The ServiceAccounts.
    pub subjects: Vec<Subject>,
}

/// A trust policy.
#[derive(Clone, Debug)]
pub struct TrustPolicy {
    statements: Vec<Statement>,
}

/// A statement about the tokens of one issuer.
#[derive(Clone, Debug)]
struct Statement {
    provider_arn: String,
    conditions: Vec<Condition>,
}

/// A line of a statement's `Condition`.
#[derive(Clone, Debug)]
struct Condition {
    operator: &'static str,
    key: String,
    values: Vec<String>,
}

impl From<&Trust> for TrustPolicy {
    /// Exact accounts and patterns have a statement each, since all conditions within one must hold.
    fn from(trust: &Trust) -> Self {
        let (patterns, exact): (Vec<_>, Vec<_>) =
            trust.subjects.iter().partition(|subject| subject.has_wildcard());
        let of_issuer = |issuer| {
            [("StringEquals", &exact), ("StringLike", &patterns)]
                .into_iter()
                .filter(|(_, subjects)| !subjects.is_empty())
                .map(move |(operator, subjects)| Statement::new(trust, issuer, operator, subjects))
        };
        Self { statements: trust.issuers.iter().flat_map(of_issuer).collect() }
    }
}

impl Statement {
    fn new(trust: &Trust, issuer: &Issuer, operator: &'static str, subjects: &[&Subject]) -> Self {
        let Trust { account, partition, audience, .. } = trust;
        let provider = issuer.provider();
        let condition = |operator, claim: &str, values| Condition {
            operator,
            key: format!("{provider}:{claim}"),
            values,
        };
        let mut claims: Vec<String> = Vec::new();
        for claim in subjects.iter().map(|subject| subject.claim()) {
            if !claims.contains(&claim) {
                claims.push(claim);
            }
        }
        Self {
            provider_arn: format!("arn:{partition}:iam::{account}:oidc-provider/{provider}"),
            conditions: vec![
                condition("StringEquals", "aud", vec![literal(audience.as_ref())]),
                condition(operator, "sub", claims),
            ],
        }
    }
}

/// Text that IAM takes as it is: `${` would begin a policy variable.
fn literal(text: &str) -> String {
    text.replace("${", "${$}{")
}

impl TrustPolicy {
    /// The policy document.
    pub fn to_json(&self) -> Value {
        let statements = self.statements.iter().map(|Statement { provider_arn, conditions }| {
            json!({
                "Effect": "Allow",
                "Principal": {"Federated": provider_arn},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": by_operator(conditions),
            })
        });
        json!({"Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>()})
    }

    /// A data source of Terraform's AWS provider.
    pub fn to_terraform(&self) -> String {
        terraform::data_source(self)
    }

    /// The property of an `AWS::IAM::Role` of CloudFormation, in YAML.
    pub fn to_cloudformation(&self) -> String {
        let property = json!({"AssumeRolePolicyDocument": self.to_json()});
        serde_saphyr::to_string(&property).unwrap_or_default()
    }

    /// Its length as IAM counts it.
    pub fn characters(&self) -> usize {
        self.to_json().to_string().len()
    }
}

/// The conditions as a policy has them: by operator, then by key. One value stands alone.
fn by_operator(conditions: &[Condition]) -> Value {
    let mut operators = Map::new();
    for Condition { operator, key, values } in conditions {
        let value = match &values[..] {
            [value] => json!(value),
            values => json!(values),
        };
        operators.entry(*operator).or_insert_with(|| json!({}))[key] = value;
    }
    operators.into()
}
