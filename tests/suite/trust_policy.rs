//! `trust-policy`: the three forms whole, who is trusted by them, and what is refused.

use std::{fs, process::Output};

use serde_json::{Value, json};

use crate::support::{
    self,
    api_server::ApiServer,
    daemon::{command, stderr, stdout, write_kubeconfig},
    within,
};

const ISSUER: &str = "--issuer=https://oidc.example.com/my-cluster";
const ACCOUNT: &str = "--aws-account-id=111122223333";

fn run(args: &[&str]) -> Output {
    command(&[&["trust-policy", ACCOUNT], args].concat()).output().unwrap()
}

fn policy(args: &[&str]) -> Value {
    let output = run(args);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(stdout(&output)).unwrap()
}

/// Files in `tests/goldens/trust-policy`; `UPDATE_GOLDENS=1` writes them anew.
#[test]
fn the_three_forms_are_as_agreed() {
    let one = ["--service-account=payments/api"];
    let several = ["--service-account=payments/api,payments/batch", "--service-account=team-*/worker", "-o"];
    // Nothing of an audience is a variable of IAM's or a template of Terraform's.
    let odd =
        ["--service-account=payments/*", "--token-audience=a\"${b}%{c}", "--aws-partition=aws-cn", "-o"];
    for (file, args) in [
        ("one.json", &one[..]),
        ("several.json", &[&several[..], &["json"]].concat()),
        ("several.tf", &[&several[..], &["terraform"]].concat()),
        ("several.yaml", &[&several[..], &["cloudformation"]].concat()),
        ("odd.json", &[&odd[..], &["json"]].concat()),
        ("odd.tf", &[&odd[..], &["terraform"]].concat()),
        ("odd.yaml", &[&odd[..], &["cloudformation"]].concat()),
    ] {
        let output = run(&[&[ISSUER], args].concat());
        assert!(output.status.success() && output.stderr.is_empty(), "{file}: {}", stderr(&output));
        let path = support::path("goldens/trust-policy").join(file);
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            fs::write(&path, &output.stdout).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(stdout(&output) == expected, "{file}:\n{}", stdout(&output));
    }
}

/// What CloudFormation reads is what IAM is given in JSON.
#[test]
fn the_yaml_is_the_same_policy() {
    for args in [
        ["--service-account=payments/api", "--token-audience=yes"],
        ["--service-account=a/b,c/*", "--token-audience=*b"],
    ] {
        let output = run(&[&[ISSUER, "-o=cloudformation"], &args[..]].concat());
        let property: Value = serde_saphyr::from_str(stdout(&output)).unwrap();
        assert_eq!(property["AssumeRolePolicyDocument"], policy(&[&[ISSUER], &args[..]].concat()));
    }
}

#[test]
fn pods_of_every_namespace_are_trusted_only_on_demand() {
    for subject in ["*/*", "*/default", "payments/api,?*/*", "*/d*"] {
        let flag = format!("--service-account={subject}");
        let output = run(&[ISSUER, &flag]);
        assert_eq!(output.status.code(), Some(1), "{subject}");
        assert!(output.stdout.is_empty(), "{subject}");
        for part in ["pods of every namespace", "--allow-any-service-account"] {
            assert!(stderr(&output).contains(part), "{subject}: {}", stderr(&output));
        }
        let statements = policy(&[ISSUER, &flag, "--allow-any-service-account"])["Statement"].clone();
        let last = statements.as_array().unwrap().last().unwrap().clone();
        let claims = last["Condition"]["StringLike"]["oidc.example.com/my-cluster:sub"].clone();
        assert!(claims.to_string().contains("system:serviceaccount:"), "{statements}");
    }
}

#[test]
fn a_policy_over_the_quota_is_printed_with_a_warning() {
    let accounts = (0..40).map(|number| format!("payments/account-{number}")).collect::<Vec<_>>().join(",");
    let output = run(&[ISSUER, "--service-account", &accounts]);
    assert!(output.status.success() && stdout(&output).contains("account-39"));
    assert!(stderr(&output).contains("2048 unless the quota"), "{}", stderr(&output));
}

#[test]
fn bad_values_are_refused_with_what_is_wanted() {
    for (args, wanted) in [
        (&["--service-account=api"][..], "want NAMESPACE/NAME"),
        (&["--service-account=a/b", "--issuer=http://x.test"], "https://oidc.example.com/cluster"),
        (&["--service-account=a/b", "--aws-partition=azure"], "aws-us-gov"),
        (&["--service-account=a/b", "--token-audience="], "an audience is a non-empty word"),
        (&[], "--service-account"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(wanted), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn without_a_cluster_the_flag_that_names_one_is_named() {
    let output = run(&["--service-account=a/b"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("give --kubeconfig"), "{}", stderr(&output));
}

/// Runs it against a cluster that describes its issuer so.
async fn ask(status: u16, document: &Value) -> Output {
    let api = ApiServer::start().await;
    api.answer("/.well-known/openid-configuration", status, &document.to_string());
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = write_kubeconfig(dir.path(), api.address, None);
    let args =
        ["trust-policy", ACCOUNT, "--service-account=a/b", "--context=test", "--kubeconfig", &kubeconfig];
    let run = tokio::process::Command::from(command(&args)).output();
    within("the end of trust-policy", run).await.unwrap()
}

#[tokio::test]
async fn the_issuer_is_read_from_the_cluster() {
    let output =
        ask(200, &json!({"issuer": "https://oidc.example.com/a/", "jwks_uri": "https://10.0.0.1:6443/x"}))
            .await;
    assert!(output.status.success(), "{}", stderr(&output));
    let policy: Value = serde_json::from_str(stdout(&output)).unwrap();
    let statement = &policy["Statement"][0];
    assert_eq!(
        statement["Principal"]["Federated"],
        "arn:aws:iam::111122223333:oidc-provider/oidc.example.com/a/"
    );
    assert_eq!(
        statement["Condition"],
        json!({"StringEquals": {
            "oidc.example.com/a/:aud": "sts.amazonaws.com",
            "oidc.example.com/a/:sub": "system:serviceaccount:a:b",
        }})
    );
}

#[tokio::test]
async fn a_cluster_whose_issuer_aws_cannot_know_gets_no_policy() {
    let forbidden = json!({"kind": "Status", "status": "Failure", "code": 403, "message": "not for you"});
    for (status, document, parts) in [
        (
            200,
            json!({"issuer": "https://kubernetes.default.svc.cluster.local"}),
            &["reached by AWS", "--issuer"][..],
        ),
        (200, json!({"issuer": "kubernetes/serviceaccount"}), &["an issuer is a URL"]),
        (200, json!("ok"), &["/.well-known/openid-configuration", "not a discovery document"]),
        (403, forbidden, &["/.well-known/openid-configuration", "not for you"]),
    ] {
        let output = ask(status, &document).await;
        assert_eq!(output.status.code(), Some(1), "{document}");
        assert!(output.stdout.is_empty());
        for part in parts {
            assert!(stderr(&output).contains(part), "{document}: {}", stderr(&output));
        }
    }
}

#[test]
fn several_issuers_have_statements_each() {
    let two = "--issuer=https://oidc.example.com/two,https://oidc.example.com/my-cluster";
    let policy = policy(&[ISSUER, two, "--service-account=payments/api", "--service-account=team-*/worker"]);
    let statements = policy["Statement"].as_array().unwrap();
    assert_eq!(statements.len(), 4, "each issuer once: {policy:#}");
    for (statement, issuer) in statements.iter().zip(["my-cluster", "my-cluster", "two", "two"]) {
        let provider = format!("oidc.example.com/{issuer}");
        let arn = format!("arn:aws:iam::111122223333:oidc-provider/{provider}");
        assert_eq!(statement["Principal"]["Federated"], arn);
        assert_eq!(statement["Condition"]["StringEquals"][format!("{provider}:aud")], "sts.amazonaws.com");
    }
    let terraform = run(&[ISSUER, two, "--service-account=payments/api", "-o", "terraform"]);
    assert_eq!(stdout(&terraform).matches("  statement {").count(), 2);
}

#[test]
fn an_issuer_of_another_partition_is_warned_of() {
    let run = |issuer: &str, partition: &str| {
        let (issuer, partition) = (format!("--issuer={issuer}"), format!("--aws-partition={partition}"));
        let output = run(&[&issuer, &partition, "--service-account=payments/api"]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stdout(&output).contains(&format!("arn:{}:iam::", &partition[16..])));
        stderr(&output).to_owned()
    };
    let (china, europe) = (
        "https://oidc.eks.cn-north-1.amazonaws.com.cn/id/A",
        "https://oidc.eks.eusc-de-east-1.amazonaws.eu/id/A",
    );
    assert!(run(china, "aws").contains("is in the partition aws-cn, and the role in aws"));
    for (issuer, partition) in
        [(china, "aws-cn"), (europe, "aws-eusc"), ("https://oidc.example.com", "aws-iso-b")]
    {
        assert_eq!(run(issuer, partition), "");
    }
}
