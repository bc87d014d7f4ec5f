"""Prints who AWS takes the caller for, or the SDK's message."""

import sys

import boto3
import botocore.exceptions

try:
    print(boto3.client("sts").get_caller_identity()["Arn"])
except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
    sys.exit(str(error))
