# The two documents that AWS reads, written to `public` by `eks-pod-identity-webhook oidc generate`. Everyone may read them, and
# nothing else in the bucket.
locals {
  documents = [".well-known/openid-configuration", "openid/v1/jwks"]
}

resource "aws_s3_bucket" "issuer" {
  bucket = var.bucket
}

resource "aws_s3_bucket_public_access_block" "issuer" {
  bucket                  = aws_s3_bucket.issuer.id
  block_public_acls       = true
  ignore_public_acls      = true
  block_public_policy     = false
  restrict_public_buckets = false
}

data "aws_iam_policy_document" "public" {
  statement {
    actions   = ["s3:GetObject"]
    resources = [for document in local.documents : "${aws_s3_bucket.issuer.arn}/${document}"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}

resource "aws_s3_bucket_policy" "issuer" {
  bucket     = aws_s3_bucket.issuer.id
  policy     = data.aws_iam_policy_document.public.json
  depends_on = [aws_s3_bucket_public_access_block.issuer]
}

resource "aws_s3_object" "issuer" {
  for_each     = toset(local.documents)
  bucket       = aws_s3_bucket.issuer.id
  key          = each.key
  source       = "${path.module}/public/${each.key}"
  source_hash  = filemd5("${path.module}/public/${each.key}")
  content_type = "application/json"
}
