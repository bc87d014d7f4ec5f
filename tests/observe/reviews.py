"""The requests that the runs send: recorded ones, and variants of the smallest."""

from expressions import ROOT

REVIEWS = {path.stem: path.read_bytes() for path in sorted((ROOT / "tests/fixtures/admission-reviews").glob("*.json"))}
ROLE = {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/payments-api"}
NAMESPACES = ["payments", "orders", "search", "reports"]


def minimal(account="api", namespace="payments"):
    body = REVIEWS["minimal"].decode().replace('"serviceAccountName":"api"', f'"serviceAccountName":"{account}"')
    return body.replace("payments", namespace).encode()
