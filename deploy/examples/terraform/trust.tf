data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::111122223333:oidc-provider/my-cluster-oidc.s3.us-west-2.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "my-cluster-oidc.s3.us-west-2.amazonaws.com:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "my-cluster-oidc.s3.us-west-2.amazonaws.com:sub"
      values   = ["system:serviceaccount:payments:api"]
    }
  }
}
