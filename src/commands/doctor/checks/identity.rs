//! What the pods of an account are given: a token with issuer, audience and subject, and the pod that the API server
//! returns for a dry run, for which it calls the webhook as for any pod.

use base64_simd::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{Read, Unread};
use crate::{
    injection::variable::Variable,
    kube::fields::{list, text},
    report::Finding,
};

/// The claims of a token.
#[derive(Clone, Debug)]
pub(crate) struct Claims(Value);

impl Claims {
    /// Reads the response to a TokenRequest. The token itself is not kept.
    pub(crate) fn of(answer: &Value) -> Option<Self> {
        let payload = text(answer, "/status/token").split('.').nth(1)?;
        let payload = URL_SAFE_NO_PAD.decode_to_vec(payload).ok()?;
        serde_json::from_slice(&payload).ok().map(Self)
    }
}

/// Compares an account's token with the requested audience and the cluster's issuer.
pub(crate) fn token(
    account: (&str, &str),
    audience: &str,
    issuer: Option<&str>,
    claims: &Read<Claims>,
) -> Vec<Finding> {
    const CHECK: &str = "token";
    const RULE: &str = "{apiGroups: [\"\"], resources: [serviceaccounts/token], verbs: [create]}";
    let (namespace, name) = account;
    let what = format!("{namespace}/{name}");
    let Claims(claims) = match claims {
        Ok(claims) => claims,
        Err(unread) => {
            return vec![unread.finding(
                CHECK,
                &what,
                RULE,
                "create the ServiceAccount, or name another one",
            )];
        }
    };
    let [iss, sub] = ["/iss", "/sub"].map(|claim| text(claims, claim));
    let mut findings = Vec::new();
    if issuer.is_some_and(|issuer| issuer != iss) {
        let found = format!(
            "{what}: the token is of {iss:?}, the cluster's issuer is {}",
            issuer.unwrap_or_default()
        );
        findings.push(Finding::fail(
            CHECK,
            found,
            "wait until every kube-apiserver has the same --service-account-issuer",
        ));
    }
    if !list(claims, "/aud").iter().any(|one| one == audience) {
        let found = format!("{what}: aud is {}, without {audience}", claims["aud"]);
        findings.push(Finding::fail(
            CHECK,
            found,
            "look at what answers requests for tokens: it changes the audience",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::pass(CHECK, format!("iss {iss}, aud {audience}, sub {sub}")));
    }
    findings
}

/// A pod of this account that every namespace accepts.
pub(crate) fn probe_pod(account: &str) -> String {
    // The name is a DNS name: there is nothing in it to escape.
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"generateName":"eks-pod-identity-webhook-doctor-"}},"spec":{{
        "serviceAccountName":"{account}",
        "securityContext":{{"runAsNonRoot":true,"runAsUser":65532,"seccompProfile":{{"type":"RuntimeDefault"}}}},
        "containers":[{{"name":"probe","image":"none",
        "resources":{{"requests":{{"cpu":"1m","memory":"1Mi"}},"limits":{{"cpu":"1m","memory":"1Mi"}}}},
        "securityContext":{{"allowPrivilegeEscalation":false,"capabilities":{{"drop":["ALL"]}}}}}}]}}}}"#
    )
}

/// The pod as the API server would store it.
pub(crate) fn probe(account: (&str, &str), pod: &Read<Value>) -> Vec<Finding> {
    const CHECK: &str = "pod";
    const RULE: &str = "{apiGroups: [\"\"], resources: [pods], verbs: [create]}";
    let (namespace, name) = account;
    let what = format!("a pod of {namespace}/{name}");
    let pod = match pod {
        Ok(pod) => pod,
        // The policy or webhook that refuses this pod refuses others like it.
        Err(Unread::Forbidden(why) | Unread::Failed(why)) if !why.contains("cannot create resource") => {
            let remedy = "read the reason, and see docs/troubleshooting.md, \"Pods are rejected\"";
            return vec![Finding::fail(CHECK, format!("{what} is refused: {why}"), remedy)];
        }
        Err(unread) => return vec![unread.finding(CHECK, &what, RULE, "create the namespace")],
    };
    let env = list(pod, "/spec/containers/0/env");
    let value =
        |name: &str| env.iter().find(|entry| text(entry, "/name") == name).map(|entry| text(entry, "/value"));
    let uri =
        value(Variable::ContainerFullUri.name()).map(|uri| format!("container credentials, from {uri}"));
    let Some(role) = value(Variable::RoleArn.name()).map(str::to_owned).or(uri) else {
        let remedy = "annotate the account with its role; if it has one, see the findings above or docs/troubleshooting.md, \"No variables\"";
        return vec![Finding::fail(CHECK, format!("{what} is given no role"), remedy)];
    };
    let region = match value(Variable::Region.name()) {
        Some(region) => Finding::pass("region", region),
        None => {
            let remedy =
                "set --aws-region (config.awsRegion of the chart), unless the applications know theirs";
            Finding::warn("region", format!("{what} is given none"), remedy)
        }
    };
    vec![Finding::pass(CHECK, format!("{what} is given {role}")), region]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::Level;

    #[test]
    fn a_token_is_of_the_issuer_and_for_the_audience() {
        let claims =
            json!({"iss": "https://i", "sub": "system:serviceaccount:ns:a", "aud": ["sts"]}).to_string();
        let jwt = format!("x.{}.y", URL_SAFE_NO_PAD.encode_to_string(claims));
        let claims = Claims::of(&json!({"status": {"token": jwt}})).unwrap();
        let of = |audience, issuer| token(("ns", "a"), audience, issuer, &Ok(claims.clone()))[0].clone();
        assert_eq!(
            of("sts", Some("https://i")).found,
            "iss https://i, aud sts, sub system:serviceaccount:ns:a"
        );
        assert_eq!(of("sts", None).level, Level::Pass);
        assert_eq!(of("other", None).level, Level::Fail);
        assert_eq!(of("sts", Some("https://j")).level, Level::Fail);
        assert_eq!(token(("ns", "a"), "sts", None, &Err(Unread::Missing))[0].found, "ns/a: there is none");
        assert!(Claims::of(&json!({"status": {"token": "x"}})).is_none());
    }

    #[test]
    fn a_pod_has_its_role_and_a_region() {
        let of = |env: Value| -> Vec<_> {
            let pod = json!({"spec": {"containers": [{"env": env}]}});
            probe(("ns", "a"), &Ok(pod)).into_iter().map(|finding| (finding.level, finding.found)).collect()
        };
        let [role, region] = [("AWS_ROLE_ARN", "arn"), ("AWS_REGION", "eu-west-1")]
            .map(|(name, value)| json!({"name": name, "value": value}));
        assert_eq!(
            of(json!([role, region])),
            [(Level::Pass, "a pod of ns/a is given arn".into()), (Level::Pass, "eu-west-1".into())]
        );
        assert_eq!(of(json!([role]))[1].0, Level::Warn);
        assert_eq!(of(json!(null))[0].0, Level::Fail);
        let refused = |why: &str| probe(("ns", "a"), &Err(Unread::Forbidden(why.into())))[0].level;
        assert_eq!(refused("pods is forbidden: User \"u\" cannot create resource \"pods\""), Level::Skip);
        assert_eq!(refused("violates PodSecurity"), Level::Fail);
    }
}
