//! The policy as `aws_iam_policy_document` of Terraform's AWS provider, spaced as `terraform fmt` leaves it.

use super::{Condition, Statement, TrustPolicy};

pub(super) fn data_source(policy: &TrustPolicy) -> String {
    let statements = policy.statements.iter().map(statement);
    let statements = statements.collect::<Vec<_>>().join("\n");
    format!("data \"aws_iam_policy_document\" \"trust\" {{\n{statements}}}\n")
}

fn statement(Statement { provider_arn, conditions }: &Statement) -> String {
    let provider_arn = quoted(provider_arn);
    let conditions: String = conditions.iter().map(condition).collect();
    format!(
        r#"  statement {{
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {{
      type        = "Federated"
      identifiers = [{provider_arn}]
    }}
{conditions}  }}
"#
    )
}

fn condition(Condition { operator, key, values }: &Condition) -> String {
    let key = quoted(key);
    let values = match &values[..] {
        [value] => format!("values   = [{}]", quoted(value)),
        values => {
            let lines = values.iter().map(|value| format!("        {},\n", quoted(value)));
            format!("values = [\n{}      ]", lines.collect::<String>())
        }
    };
    format!(
        r#"
    condition {{
      test     = "{operator}"
      variable = {key}
      {values}
    }}
"#
    )
}

/// A string of HCL, which is one of JSON in which `${` and `%{` begin templates.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace("${", "$${").replace("%{", "%%{")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_string_is_a_template() {
        assert_eq!(quoted(r#"a"\${b}%{c}*"#), r#""a\"\\$${b}%%{c}*""#);
    }
}
