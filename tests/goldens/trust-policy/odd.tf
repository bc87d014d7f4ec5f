data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = ["arn:aws-cn:iam::111122223333:oidc-provider/oidc.example.com/my-cluster"]
    }

    condition {
      test     = "StringEquals"
      variable = "oidc.example.com/my-cluster:aud"
      values   = ["a\"$${$}{b}%%{c}"]
    }

    condition {
      test     = "StringLike"
      variable = "oidc.example.com/my-cluster:sub"
      values   = ["system:serviceaccount:payments:*"]
    }
  }
}
