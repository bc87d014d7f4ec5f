data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::111122223333:oidc-provider/oidc.example.com/my-cluster"]
    }

    condition {
      test     = "StringEquals"
      variable = "oidc.example.com/my-cluster:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "oidc.example.com/my-cluster:sub"
      values = [
        "system:serviceaccount:payments:api",
        "system:serviceaccount:payments:batch",
      ]
    }
  }

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::111122223333:oidc-provider/oidc.example.com/my-cluster"]
    }

    condition {
      test     = "StringEquals"
      variable = "oidc.example.com/my-cluster:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringLike"
      variable = "oidc.example.com/my-cluster:sub"
      values   = ["system:serviceaccount:team-*:worker"]
    }
  }
}
