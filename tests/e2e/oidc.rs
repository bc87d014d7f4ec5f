//! The documents of the cluster's issuer, by the rights of the program's own account.

use std::process::Command;

use crate::{
    harness::{Test, tests},
    webhook::shared,
};

pub(crate) const TESTS: &[Test] = tests![the_issuer_is_described_as_the_api_server_does];

const BINARY: &str = env!("CARGO_BIN_EXE_eks-pod-identity-webhook");

async fn the_issuer_is_described_as_the_api_server_does() {
    let cluster = shared().await;
    let api = cluster.api().await;
    let dir = &cluster.plane.dir;
    let kubeconfig = format!("--kubeconfig={}", dir.join("webhook/kubeconfig").display());
    let files =
        ["accounts.pub", "accounts.key"].map(|name| format!("--key-file={}", dir.join(name).display()));
    let [public, private] = files.each_ref().map(|file| ["--issuer=https://issuer.test", file]);
    let keys = api.text("/openid/v1/jwks").await.unwrap();
    let mut document = api.get("/.well-known/openid-configuration").await.unwrap();
    document["jwks_uri"] = "https://issuer.test/openid/v1/jwks".into();
    for args in [&[&*kubeconfig][..], &public, &private] {
        let out = dir.join("oidc");
        let generate =
            Command::new(BINARY).args(["oidc", "generate", "--output-dir"]).arg(&out).args(args).output();
        let generate = generate.unwrap();
        assert!(generate.status.success(), "{generate:?}");
        let read = |path| std::fs::read_to_string(out.join(path)).unwrap();
        assert_eq!(read("openid/v1/jwks"), keys, "{args:?}");
        assert_eq!(read(".well-known/openid-configuration"), document.to_string(), "{args:?}");
    }

    let args = ["trust-policy", "--service-account=a/b", "--aws-account-id=111122223333", &kubeconfig];
    let policy = Command::new(BINARY).args(args).output().unwrap();
    assert!(policy.status.success(), "{policy:?}");
    assert!(String::from_utf8(policy.stdout).unwrap().contains(r#""issuer.test:sub""#));
}
