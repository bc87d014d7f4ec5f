# The role of the ServiceAccount payments/api. trust.tf says who can assume it; attach the policies that the application needs.
resource "aws_iam_role" "payments_api" {
  name               = "payments-api"
  assume_role_policy = data.aws_iam_policy_document.trust.json
  depends_on         = [aws_iam_openid_connect_provider.cluster]
}
