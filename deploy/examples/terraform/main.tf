terraform {
  required_version = ">= 1.3"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # aws_iam_openid_connect_provider needs no thumbprints since then.
      version = ">= 5.81"
    }
  }
}

provider "aws" {
  region = var.region
}

variable "region" {
  description = "Region of the bucket"
  type        = string
  default     = "us-west-2"
}

variable "bucket" {
  description = "Name of the bucket that holds the issuer's documents, without dots"
  type        = string
  default     = "my-cluster-oidc"
}

output "issuer" {
  description = "kube-apiserver's --service-account-issuer"
  value       = local.issuer
}

output "role_arn" {
  description = "Value of the annotation eks.amazonaws.com/role-arn"
  value       = aws_iam_role.payments_api.arn
}
