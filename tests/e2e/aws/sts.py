"""The Security Token Service: the two actions that a pod's SDK calls, with AWS' checks, messages and XML."""

import datetime
import re
import secrets
from xml.etree import ElementTree

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import tokens
import trust
from refusal import Refusal

CONTENT_TYPE = "text/xml"
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
ROLE = re.compile(r"arn:(aws[a-z-]*):iam::(\d{12}):role/(\S+)")

# By access key: the secret key, the session token, and whose they are.
issued = {}


def answer(request, body, headers, state):
    action = request["Action"]
    if action == "AssumeRoleWithWebIdentity":
        return _xml(action, _assume_role_with_web_identity(request, state))
    if action == "GetCallerIdentity":
        return _xml(action, _get_caller_identity(body, headers))
    raise Refusal(400, "InvalidAction", f"Could not find operation {action} for version 2011-06-15")


def issue(partition, account, role, session):
    """Credentials of a role's session."""
    key = "ASIA" + secrets.token_hex(8).upper()
    arn = f"arn:{partition}:sts::{account}:assumed-role/{role.split('/')[-1]}/{session}"
    issued[key] = (secrets.token_hex(20), secrets.token_hex(64), arn)
    expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    return {
        "AccessKeyId": key,
        "SecretAccessKey": issued[key][0],
        "SessionToken": issued[key][1],
        "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }, arn


def error(refusal):
    root = ElementTree.Element("ErrorResponse", xmlns=NAMESPACE)
    fault = {"Type": "Sender", "Code": refusal.code, "Message": refusal.message}
    _fill(root, {"Error": fault, "RequestId": secrets.token_hex(16)})
    return ElementTree.tostring(root, encoding="unicode")


def _assume_role_with_web_identity(request, state):
    session = request["RoleSessionName"]
    _check_session_name(session)
    if len(request["RoleArn"]) < 20:
        raise _invalid("roleArn", request["RoleArn"], "have length greater than or equal to 20")
    arn = ROLE.fullmatch(request["RoleArn"])
    if not arn:
        raise Refusal(400, "ValidationError", "Request ARN is invalid")
    partition, number, role = arn.groups()
    account = state["accounts"].get(number, {"providers": {}, "roles": {}})
    claims = tokens.verify(request["WebIdentityToken"], account["providers"], state)
    provider = claims["iss"].removeprefix("https://")
    provider_arn = f"arn:{partition}:iam::{number}:oidc-provider/{provider}"
    context = {f"{provider}:aud": claims["aud"], f"{provider}:sub": [claims["sub"]]}
    policy = account["roles"].get(role)
    if not policy or not trust.allows(policy, "sts:AssumeRoleWithWebIdentity", provider_arn, context):
        raise Refusal(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
    credentials, user = issue(partition, number, role, session)
    return {
        "SubjectFromWebIdentityToken": claims["sub"],
        "Audience": claims["aud"][0],
        "AssumedRoleUser": {"Arn": user, "AssumedRoleId": f"AROA{number}EXAMPLE:{session}"},
        "Credentials": credentials,
        "Provider": provider_arn,
    }


def _check_session_name(name):
    if len(name) < 2:
        raise _invalid("roleSessionName", name, "have length greater than or equal to 2")
    if len(name) > 64:
        raise _invalid("roleSessionName", name, "have length less than or equal to 64")
    if not re.fullmatch(r"[\w+=,.@-]*", name, re.ASCII):
        raise _invalid("roleSessionName", name, r"satisfy regular expression pattern: [\w+=,.@-]*")


def _invalid(parameter, value, constraint):
    message = f"1 validation error detected: Value '{value}' at '{parameter}' failed to satisfy constraint: Member must {constraint}"
    return Refusal(400, "ValidationError", message)


def _get_caller_identity(body, headers):
    authorization = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=(\w+)/\d+/([\w-]+)/sts/aws4_request, ?SignedHeaders=([\w;-]+), ?Signature=(\w+)",
        headers["Authorization"],
    )
    key, region, signed, signature = authorization.groups()
    if key not in issued or headers["X-Amz-Security-Token"] != issued[key][1]:
        raise Refusal(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
    secret, token, arn = issued[key]
    # Signed again, as the SDK did.
    request = AWSRequest("POST", f"https://{headers['Host']}/", data=body)
    for name in signed.split(";"):
        request.headers[name] = headers[name]
    request.context["timestamp"] = headers["X-Amz-Date"]
    auth = SigV4Auth(Credentials(key, secret, token), "sts", region)
    to_sign = auth.string_to_sign(request, auth.canonical_request(request))
    if auth.signature(to_sign, request) != signature:
        raise Refusal(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the one provided.")
    return {"Arn": arn, "UserId": "AROAEXAMPLE:" + arn.split("/")[-1], "Account": arn.split(":")[4]}


def _xml(action, result):
    root = ElementTree.Element(f"{action}Response", xmlns=NAMESPACE)
    _fill(root, {f"{action}Result": result, "ResponseMetadata": {"RequestId": secrets.token_hex(16)}})
    return ElementTree.tostring(root, encoding="unicode")


def _fill(element, content):
    for name, value in content.items():
        child = ElementTree.SubElement(element, name)
        if isinstance(value, dict):
            _fill(child, value)
        else:
            child.text = value
