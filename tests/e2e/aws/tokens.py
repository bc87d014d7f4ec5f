"""Verification of a web identity token, as STS does it: by what the token's issuer publishes."""

import json
import ssl
import sys
import time
import urllib.request
from pathlib import Path

import jwt

from refusal import Refusal

AUTHORITY = Path(sys.argv[1], "ca.crt")


def verify(token, providers, state):
    """The claims of a token. `providers`: by the URL of the issuer, the client IDs. The `aud` claim comes back as a list."""
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.DecodeError:
        raise Refusal(400, "InvalidIdentityToken", "The ID Token provided is not a valid JWT.")
    issuer = claims["iss"]
    if issuer not in providers:
        message = f"No OpenIDConnect provider found in your account for {issuer}"
        raise Refusal(400, "InvalidIdentityToken", message)
    key = _key(issuer, header["kid"])
    try:
        jwt.decode(token, key, [header["alg"]], options={"verify_exp": False, "verify_aud": False})
    except jwt.InvalidSignatureError:
        raise Refusal(400, "InvalidIdentityToken", "The signature of the ID Token is invalid.")
    now = int(time.time()) + state["seconds_ahead"]
    if claims["exp"] <= now:
        message = f"Token expired: current date/time {now} must be before the expiration date/time {claims['exp']}"
        raise Refusal(400, "ExpiredTokenException", message)
    claims["aud"] = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if not set(claims["aud"]) & set(providers[issuer]):
        raise Refusal(400, "InvalidIdentityToken", "Incorrect token audience")
    return claims


def _key(issuer, kid):
    document = _fetch(f"{issuer}/.well-known/openid-configuration")
    if document and document["issuer"] == issuer:
        for key in (_fetch(document["jwks_uri"]) or {"keys": []})["keys"]:
            if key["kid"] == kid:
                return jwt.PyJWK(key)
    message = "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements"
    raise Refusal(400, "InvalidIdentityToken", message)


def _fetch(url):
    context = ssl.create_default_context(cafile=AUTHORITY)
    try:
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:
            return json.load(answer)
    except OSError:
        return None
