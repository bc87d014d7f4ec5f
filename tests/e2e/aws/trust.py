"""Evaluation of a trust policy: the part of IAM's language that web identities need."""

import re


def allows(policy, action, provider, context):
    """`context`: by the condition key, the values that the token has."""
    fitting = [
        statement["Effect"]
        for statement in policy["Statement"]
        if action in _list(statement["Action"])
        and provider in _list(statement["Principal"]["Federated"])
        and _holds(statement.get("Condition", {}), context)
    ]
    return "Allow" in fitting and "Deny" not in fitting


def _holds(condition, context):
    matches = {"StringEquals": lambda pattern, value: pattern == value, "StringLike": _like}
    return all(
        any(matches[operator](pattern, value) for pattern in _list(patterns) for value in context.get(key, []))
        for operator, keys in condition.items()
        for key, patterns in keys.items()
    )


def _like(pattern, value):
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.fullmatch("".join(parts), value, re.DOTALL) is not None


def _list(value):
    return value if isinstance(value, list) else [value]
