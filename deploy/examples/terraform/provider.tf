locals {
  issuer = "https://${var.bucket}.s3.${var.region}.amazonaws.com"
}

# One for each cluster. IAM fetches the documents only when a role is assumed.
resource "aws_iam_openid_connect_provider" "cluster" {
  url            = local.issuer
  client_id_list = ["sts.amazonaws.com"]
  depends_on     = [aws_s3_bucket_policy.issuer, aws_s3_object.issuer]
}
