"""The agent of EKS Pod Identity, which hands out container credentials on each node."""

import json

import sts
import tokens
from refusal import Refusal

CONTENT_TYPE = "application/json"
ADDRESS = "169.254.170.23"
AUDIENCE = "pods.eks.amazonaws.com"


def answer(path, headers, state):
    if path != "/v1/credentials":
        raise Refusal(404, "NotFound", f"no such path: {path}")
    providers = {issuer: [AUDIENCE] for issuer in state["agent"]["issuers"]}
    claims = tokens.verify(headers["Authorization"], providers, state)
    role = state["agent"]["associations"].get(claims["sub"])
    if not role:
        raise Refusal(404, "ResourceNotFoundException", f"No association found for {claims['sub']}")
    partition, account, name = sts.ROLE.fullmatch(role).groups()
    pod = claims["kubernetes.io"]["pod"]["name"]
    issued, _ = sts.issue(partition, account, name, f"eks-{pod}")
    return json.dumps({
        "AccessKeyId": issued["AccessKeyId"],
        "SecretAccessKey": issued["SecretAccessKey"],
        "Token": issued["SessionToken"],
        "Expiration": issued["Expiration"],
        "AccountId": account,
    })


def error(refusal):
    return json.dumps({"code": refusal.code, "message": refusal.message})
