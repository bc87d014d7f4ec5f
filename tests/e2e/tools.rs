//! `audit` and `doctor` on a real API server, by an account with the rights that their pages give and no others.

use std::{fs, process::Output};

use serde_json::{Value, json};

use crate::{
    api::Api,
    harness::{Test, tests},
    support::{ROLE, ROLE_ANNOTATION},
    wait::eventually,
    webhook::{Cluster, NAMESPACE, shared, token},
};

pub(crate) const TESTS: &[Test] = tests![a_missed_pod_is_found_and_a_new_one_is_correct];

const BINARY: &str = env!("CARGO_BIN_EXE_eks-pod-identity-webhook");

async fn a_missed_pod_is_found_and_a_new_one_is_correct() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("tools").await;
    let mut pod = json!({
        "metadata": {"name": "before"},
        "spec": {"serviceAccountName": "plain", "containers": [{"name": "app", "image": "app"}]},
    });
    // The account has no role yet, so its pod is given none.
    api.create_pod("tools", &pod).await.unwrap();
    let annotated = json!({"metadata": {"annotations": {ROLE_ANNOTATION: ROLE}}});
    api.merge("/api/v1/namespaces/tools/serviceaccounts/plain", &annotated).await.unwrap();
    pod["metadata"]["name"] = json!("after");
    eventually("the role is known", async || {
        let created = api.create("/api/v1/namespaces/tools/pods?dryRun=All", &pod).await.unwrap();
        created.to_string().contains(ROLE)
    })
    .await;
    api.create_pod("tools", &pod).await.unwrap();

    let kubeconfig = kubeconfig_of_tools(cluster, &api).await;
    let audit = run(&["audit", "--namespace=tools", &kubeconfig]).await;
    let said = String::from_utf8(audit.stdout).unwrap();
    assert_eq!(audit.status.code(), Some(3), "{said}{:?}", String::from_utf8(audit.stderr));
    assert!(said.contains("kubectl delete pod -n tools before)"), "{said}");
    assert!(said.ends_with("2 pods: 1 have their identity, 1 lack it\n"), "{said}");

    let doctor = run(&["doctor", "--service-account=tools/plain", &kubeconfig]).await;
    let said = String::from_utf8(doctor.stdout).unwrap();
    for line in [
        "pass  rights         aws-pod-identity-webhook/eks-pod-identity-webhook may do what it needs: 8 rights",
        "pass  configuration  pod-identity.eks.amazonaws.com (failurePolicy Ignore",
        "pass  service        aws-pod-identity-webhook/eks-pod-identity-webhook",
        "skip  endpoints      the Service leads out of the cluster (ExternalName)",
        "pass  issuer         https://issuer.test, as the cluster's tokens name it",
        "pass  token          iss https://issuer.test, aud sts.amazonaws.com, sub system:serviceaccount:tools:plain",
        &format!("pass  pod            a pod of tools/plain is given {ROLE}"),
        "pass  region         us-east-1",
    ] {
        assert!(said.contains(line), "lacks {line:?}:\n{said}{:?}", String::from_utf8(doctor.stderr.clone()));
    }
    assert_eq!(said.lines().filter(|line| line.starts_with("skip")).count(), 1, "{said}");
}

/// An account with the roles of `docs/reference/audit.md` and `docs/reference/doctor.md`.
async fn kubeconfig_of_tools(cluster: &Cluster, api: &Api) -> String {
    api.create_account(NAMESPACE, "tools", &json!({})).await;
    let subjects = json!([{"kind": "ServiceAccount", "name": "tools", "namespace": NAMESPACE}]);
    let pages =
        [include_str!("../../docs/reference/audit.md"), include_str!("../../docs/reference/doctor.md")];
    for block in pages.iter().flat_map(|page| page.split("```yaml\n").skip(1)) {
        let mut role: Value = serde_saphyr::from_str(block.split("```").next().unwrap()).unwrap();
        let is_of_namespace = role["kind"] == "Role";
        if is_of_namespace {
            role["metadata"]["namespace"] = json!("tools");
        }
        api.apply(&role).await.unwrap();
        let kind = role["kind"].as_str().unwrap();
        let reference =
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role["metadata"]["name"]});
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": format!("{kind}Binding"),
            "metadata": role["metadata"], "roleRef": reference, "subjects": subjects});
        api.apply(&binding).await.unwrap();
    }
    let path = cluster.plane.dir.join("tools.kubeconfig");
    let kubeconfig = cluster.plane.kubeconfig(&json!({"token": token(api, "tools").await}));
    fs::write(&path, kubeconfig.to_string()).unwrap();
    format!("--kubeconfig={}", path.display())
}

async fn run(args: &[&str]) -> Output {
    tokio::process::Command::new(BINARY).args(args).output().await.unwrap()
}
