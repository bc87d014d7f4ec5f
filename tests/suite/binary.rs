//! The program itself: flags, messages, exit codes, logs, signals.

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    process::{Output, Stdio},
};

use clap::CommandFactory;
use eks_pod_identity_webhook::cli::Cli;
use serde_json::{Value, json};

use crate::support::{
    self, ROLE, ROLE_ANNOTATION,
    api_server::ApiServer,
    client::Client,
    daemon::{Daemon, command, stderr, stdout, write_kubeconfig},
    eventually,
    pki::Ca,
    recorded,
    server::plain_get,
    within,
};

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn run_with_input(args: &[&str], input: &[u8]) -> Output {
    let mut command = command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn examples(name: &str) -> String {
    format!("{}/deploy/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn help_and_version_are_given() {
    for (args, text) in [
        (&["--help"][..], "AWS IAM roles"),
        (&["serve", "--help"], "--tls-self-signed"),
        (&["mutate", "--help"], "--service-accounts"),
        (&["compare", "--help"], "--max-ratio"),
        (&["trust-policy", "--help"], "--aws-account-id"),
        (&["oidc", "generate", "--help"], "--key-file"),
        (&["oidc", "verify", "--help"], "--ca-file"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let output = run(args);
        assert!(output.status.success() && stdout(&output).contains(text), "{args:?}: {output:?}");
    }
}

#[test]
fn bad_values_end_the_start_and_name_the_flag_and_what_it_takes() {
    for (flag, value, takes) in [
        ("--aws-region", "us west", "a region is a name such as us-west-2"),
        ("--annotation-prefix", "/", "an annotation prefix is a DNS subdomain"),
        ("--token-audience", "a b", "an audience is a non-empty word"),
        ("--token-expiration", "300", "a whole number of seconds from 600 to 4294967296"),
        ("--token-expiration", "-1", "a whole number of seconds from 600 to 4294967296"),
        ("--token-mount-path", "relative", "a mount path is absolute"),
        ("--token-volume-name", "AWS", "a volume name is a DNS label"),
        ("--lookup-grace", "1", "a duration is a number with a unit"),
        ("--idle-timeout", "90s", "at least 120s"),
        ("--max-connections", "0", "a number from 1 to 1000000"),
        ("--max-connections", "9999999999999999999", "a number from 1 to 1000000"),
        ("--lookup-grace", "500y", "at most a day"),
        ("--reload-interval", "0s", "longer than zero"),
        ("--record-max-files", "0", "a number from 1 to 1000000"),
        ("--record-max-bytes", "-1", "invalid digit"),
        ("--tls-secret-name", "a/b", "at most 253 characters of a-z, 0-9, '-' and '.'"),
        ("--tls-leaf-validity", "90", "from 1s to 100years"),
        ("--tls-ca-validity", "500years", "from 1s to 100years"),
        ("--listen", "8443", "invalid socket address"),
        ("--log-format", "xml", "text, json"),
        ("--tls-min-version", "1.4", "1.2 and 1.3 are spoken"),
    ] {
        for command in [&[][..], &["serve"]] {
            let output = run(&[command, &[&*format!("{flag}={value}")]].concat());
            let message = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{flag}: {message}");
            assert!(message.contains(flag) && message.contains(takes), "{flag}: {message}");
        }
        let output = command(&[]).env(flag[2..].to_uppercase().replace('-', "_"), value).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag} from the environment");
        assert!(stderr(&output).contains(flag), "{}", stderr(&output));
    }
    for level in ["warning", "verbose", "loud,=x"] {
        let output = run(&["--log-level", level]);
        assert_eq!(output.status.code(), Some(1), "{level}");
        assert!(stderr(&output).contains("want off, error, warn, info, debug, trace or a filter"), "{level}");
    }
    assert_eq!(run(&["--no-such-flag"]).status.code(), Some(2));
    assert_eq!(run(&["mutate"]).status.code(), Some(2));
}

#[test]
fn errors_at_the_start_name_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.yaml");
    fs::write(&bad, "kind: List\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {}\n").unwrap();
    let broken = dir.path().join("broken.yaml");
    fs::write(&broken, "a: 1\n---\nb:\n  - [\n").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let ports = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"];
    let (bad, broken) = (bad.to_str().unwrap(), broken.to_str().unwrap());
    let good = examples("service-accounts.yaml");
    let no_folder = &format!("{bad}/recordings");
    for (args, parts) in [
        (vec!["--tls-self-signed"], vec!["not in a cluster", "--kubeconfig", "--service-accounts"]),
        (vec!["--tls-self-signed", "--kubeconfig=/nowhere"], vec!["--kubeconfig", "/nowhere"]),
        (
            vec!["--service-accounts", &good],
            vec!["/etc/webhook/certs/tls.crt", "--tls-cert-file", "--tls-self-signed"],
        ),
        (vec!["--tls-self-signed", "--service-accounts=/nowhere"], vec!["--service-accounts", "/nowhere"]),
        (
            vec!["--tls-self-signed", "--service-accounts", bad],
            vec![bad, "document 2, line 3", "metadata.name"],
        ),
        (vec!["--tls-self-signed", "--service-accounts", broken], vec![broken, "document 2, line "]),
        (
            vec!["--tls-self-signed", "--service-accounts", &good, "--record", no_folder],
            vec!["--record: ", no_folder, "recordings can't be written there"],
        ),
        (
            vec!["--tls-self-signed", "--service-accounts", &good, "--record=/proc"],
            vec!["--record: ", "/proc", "recordings can't be written there"],
        ),
        (vec!["--listen", &taken], vec!["--listen", &taken, "can't listen there"]),
        (vec!["--tls-self-managed", "--tls-self-signed"], vec!["contradict", "give one of them"]),
        (
            vec!["--tls-self-managed", "--service-accounts", &good],
            vec!["--tls-self-managed", "in a cluster", "--service-accounts"],
        ),
        (
            vec!["--tls-self-managed", "--tls-leaf-validity=1h", "--tls-rotation-overlap=16m"],
            vec!["--tls-rotation-overlap", "at most a quarter of --tls-leaf-validity"],
        ),
        (
            vec!["--tls-self-managed", "--tls-ca-validity=200days"],
            vec!["--tls-leaf-validity", "at most a third of --tls-ca-validity"],
        ),
        (vec!["--tls-self-managed"], vec!["not in a cluster"]),
        (vec!["--log-level=loud"], vec!["--log-level", "loud", "want off, error, warn, info"]),
    ] {
        let args = if args[0] == "--listen" { args } else { [&ports[..], &args].concat() };
        let args = if args[0] == "--listen" { [&ports[1..], &args].concat() } else { args };
        let output = run(&args);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {message}");
        for part in parts {
            assert!(message.contains(part), "{args:?} lacks {part:?}: {message}");
        }
    }
}

#[test]
fn manifests_are_injected_and_other_documents_pass_through() {
    let args = [
        "mutate",
        "-f",
        &examples("deployment.yaml"),
        "--service-accounts",
        &examples("service-accounts.yaml"),
    ];
    let output = run(&args);
    assert!(output.status.success(), "{output:?}");
    let input = fs::read_to_string(examples("deployment.yaml")).unwrap();
    let (_, untouched) = input.split_once("---\n").unwrap();
    let (injected, passed) = stdout(&output).split_once("---\n").unwrap();
    assert_eq!(passed, untouched, "comments and all");

    let injected: Value = serde_saphyr::from_str(injected).unwrap();
    let pod = &injected["spec"]["template"];
    assert_eq!(pod["spec"]["containers"][0]["env"][0], json!({"name": "AWS_ROLE_ARN", "value": ROLE}));
    assert_eq!(
        pod["spec"]["containers"][0]["env"].as_array().unwrap().last(),
        Some(&json!({"name": "LOG_LEVEL", "value": "yes"}))
    );
    assert_eq!(pod["spec"]["volumes"][0]["name"], "aws-token");

    let output = run(&[&args[..], &["-o", "patch"]].concat());
    let lines: Vec<Vec<Value>> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "a patch for each document");
    assert!(
        lines[0]
            .iter()
            .all(|operation| operation["path"].as_str().unwrap().starts_with("/spec/template/spec/"))
    );
    assert!(lines[1].is_empty());

    let output = run(&[&args[..], &["-o", "json"]].concat());
    let mut documents = serde_json::Deserializer::from_str(stdout(&output)).into_iter::<Value>();
    assert_eq!(documents.next().unwrap().unwrap(), injected);
    assert_eq!(documents.next().unwrap().unwrap()["kind"], "ConfigMap");

    // Injected manifests are injected already: a second run changes not a byte.
    let once = run(&args);
    let twice = run_with_input(
        &["mutate", "-f", "-", "--service-accounts", &examples("service-accounts.yaml")],
        &once.stdout,
    );
    assert_eq!(stdout(&twice), stdout(&once));
}

#[test]
fn every_kind_of_workload_is_injected() {
    let template = json!({"metadata": {"name": "x"}, "spec": {"serviceAccountName": "api", "containers": [{"name": "a"}]}});
    let metadata = json!({"name": "w", "namespace": "payments"});
    let workload = |version: &str, kind: &str, spec: Value| json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec});
    let with_template = |version: &str, kind: &str| workload(version, kind, json!({"template": template}));
    let mut items: Vec<Value> = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"]
        .into_iter()
        .map(|kind| with_template("apps/v1", kind))
        .collect();
    items.push(with_template("batch/v1", "Job"));
    items.push(workload("batch/v1", "CronJob", json!({"jobTemplate": {"spec": {"template": template}}})));
    items.push(workload("v1", "Pod", template["spec"].clone()));
    items.push(with_template("extensions/v1beta1", "Deployment"));
    items.push(with_template("v1", "ReplicationController"));
    items.push(with_template("argoproj.io/v1alpha1", "Rollout"));
    items.push(with_template("serving.knative.dev/v1", "Service"));
    items.push(with_template("apps.openshift.io/v1", "DeploymentConfig"));
    items
        .push(json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": metadata, "template": template}));
    items.push(workload(
        "jobset.x-k8s.io/v1alpha2",
        "JobSet",
        json!({"replicatedJobs": [{"template": {"spec": {"template": template}}}]}),
    ));
    items.push(workload("example.com/v1", "Backup", json!({"containers": [{"name": "a"}]})));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let output = run_with_input(
        &["mutate", "-f", "-", "--service-accounts", &examples("service-accounts.yaml")],
        list.to_string().as_bytes(),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let printed: Value = serde_json::from_str(stdout(&output)).unwrap();
    let env = |item: &Value, pointer: &str, name: &str| {
        let env = item.pointer(&format!("{pointer}/spec/containers/0/env")).cloned().unwrap_or_default();
        env.as_array().into_iter().flatten().find(|entry| entry["name"] == name).cloned()
    };
    for (index, item) in printed["items"].as_array().unwrap().iter().enumerate() {
        let pointer = match item["kind"].as_str().unwrap() {
            "CronJob" => "/spec/jobTemplate/spec/template",
            "Pod" => "",
            "PodTemplate" => "/template",
            "JobSet" => "/spec/replicatedJobs/0/template/spec/template",
            _ => "/spec/template",
        };
        let has_pods = item["kind"] != "Backup";
        assert_eq!(env(item, pointer, "AWS_ROLE_ARN").is_some(), has_pods, "{item}");
        if has_pods {
            let session = env(item, pointer, "AWS_ROLE_SESSION_NAME").unwrap();
            assert_eq!(
                session.get("value").is_some(),
                item["kind"] == "Pod",
                "a controller names its pods: {item}"
            );
        } else {
            assert_eq!(*item, items[index]);
        }
    }
}

#[test]
fn recorded_requests_are_answered_as_the_server_answers() {
    for name in support::all_recorded() {
        let expected = support::admit(recorded(&name), support::recorded_account).unwrap().unwrap();
        let output = run_with_input(
            &["mutate", "-f", "-", "--service-accounts", &examples("service-accounts.yaml")],
            &recorded(&name),
        );
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        assert_eq!(stdout(&output).trim_end().as_bytes(), expected.body, "{name}");
    }
}

#[test]
fn bad_input_is_named_by_file_document_and_line() {
    let accounts = examples("service-accounts.yaml");
    let pod = |account: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: payments}}\nspec:\n  serviceAccountName: {account}\n  containers: [{{name: a}}]\n"
        )
    };
    for (input, parts) in [
        ("a: 1\n---\nb: [1\n".to_owned(), &["standard input: document 2, line "][..]),
        ("{\n\"a\": 1,,\n}".to_owned(), &["standard input: document 1, line 2: "]),
        (
            format!("a: 1\n---\n{}", pod("stranger")),
            &[
                "standard input, document 2, line 3: Pod payments/p: ServiceAccount payments/stranger is not in the input or in",
                &accounts,
            ],
        ),
        (
            pod("api").replace("[{name: a}]", "{name: a}"),
            &[
                "standard input, document 1, line 1: Pod payments/p: spec.containers is an object and must be a list",
            ],
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n".to_owned(),
            &["Deployment default/d: no pod template"],
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {namespace: ''}\nspec: {template: null}\n"
                .to_owned(),
            &["Deployment default/: no pod template"],
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nspec: {template: []}\n".to_owned(),
            &["Deployment default/: the pod template is a list and must be an object"],
        ),
        (
            pod("api").replace("{name: p,", "{name: 123,"),
            &["Pod payments/: metadata.name is the number 123 and must be a string; put it in quotes"],
        ),
        (
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, annotations: {b: 1}}\n".to_owned(),
            &["standard input: document 1, line 1: ServiceAccount default/a: annotation b is not a string"],
        ),
        ("kind: AdmissionReview\n".to_owned(), &["document 1, line 1: the body is not an AdmissionReview"]),
        (
            pod("api").replace("[{name: a}]", "[null, {name: a}]"),
            &["Pod payments/p: spec.containers[0] is null and must be an object"],
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n".to_owned(),
            &["standard input, document 1, line 1: Pod default/p: spec is missing"],
        ),
        (pod("api").replace("spec:\n", "spec:\n  affinity: 1\n"), &["Pod payments/p: spec.affinity"]),
        ("\n \n".to_owned(), &["standard input: nothing in it"]),
    ] {
        let output = run_with_input(
            &["mutate", "--strict", "-f", "-", "--service-accounts", &accounts],
            input.as_bytes(),
        );
        assert_eq!(output.status.code(), Some(1), "{input:?}");
        assert_eq!(stdout(&output), "", "{input:?}: nothing is printed");
        for part in parts {
            assert!(stderr(&output).contains(part), "{input:?} lacks {part:?}: {}", stderr(&output));
        }
    }
    let output = run_with_input(&["mutate", "-f", "-", "--service-accounts", &accounts], b"a: 1\nb: \xff\n");
    assert!(stderr(&output).contains("standard input, line 2: not UTF-8"), "{}", stderr(&output));
    let output = run(&["mutate", "-f", "/nowhere.yaml", "--service-accounts", &accounts]);
    assert!(stderr(&output).contains("/nowhere.yaml: can't read it"), "{}", stderr(&output));
}

#[test]
fn strings_that_yaml_1_1_would_misread_stay_quoted() {
    let words = [
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
        "true",
        "null",
        "~",
        "",
        "012",
        "0x1f",
        "1e3",
        "1_000",
        ".inf",
        "12:30:45",
        "2026-11-23",
        "- a",
        "a: b",
        "#",
        " x ",
        "=",
        "<<",
    ];
    let env: Vec<_> = words.iter().map(|word| json!({"name": "A", "value": word})).collect();
    let spec = json!({"serviceAccountName": "api", "containers": [{"name": "a", "env": env}]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "payments"}, "spec": spec});
    let args = ["mutate", "-f", "-", "-o", "yaml", "--service-accounts", &examples("service-accounts.yaml")];
    let output = run_with_input(&args, pod.to_string().as_bytes());
    let printed = stdout(&output);
    let values: Vec<_> = printed.lines().filter_map(|line| line.trim().strip_prefix("value: ")).collect();
    for (word, value) in words.iter().rev().zip(values.iter().rev()) {
        assert!(value.starts_with(['"', '\'']), "{word:?} is printed as {value}");
    }
    let parsed: Value = serde_saphyr::from_str(printed).unwrap();
    assert!(parsed["spec"]["containers"][0]["env"].as_array().unwrap().ends_with(&env));
}

#[test]
fn variables_that_are_set_to_nothing_are_not_set() {
    let accounts = examples("service-accounts.yaml");
    let deployment = examples("deployment.yaml");
    for args in [
        &["serve", "--tls-self-signed", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"][..],
        &["mutate", "-f", &deployment, "--service-accounts", &accounts],
        &[
            "trust-policy",
            "--service-account=a/b",
            "--aws-account-id=111122223333",
            "--issuer=https://a.example",
        ],
        &["compare", "--baseline=https://127.0.0.1:9", "--reviews=/nowhere"],
        &["oidc", "verify"],
        &["oidc", "generate", "--output-dir=/nowhere"],
        &["audit"],
        &["doctor"],
    ] {
        let cli = Cli::command();
        let names = args.iter().take_while(|arg| !arg.starts_with('-'));
        let definitions = names.fold(&cli, |command, name| command.find_subcommand(name).unwrap());
        let variables = definitions.get_arguments().filter_map(|arg| arg.get_env());
        // To these two nothing is a value.
        let variables =
            variables.filter(|name| *name != "AWS_REGION" && *name != "DOCTOR_AS_SERVICE_ACCOUNT");
        let variables: Vec<_> = variables.chain([OsStr::new("RUST_LOG")]).map(|name| (name, "")).collect();
        let [unset, empty] = [Vec::new(), variables].map(|variables| {
            let output = command(args).envs(variables).output().unwrap();
            (
                output.status.code(),
                stdout(&output).to_owned(),
                stderr(&output).lines().last().map(str::to_owned),
            )
        });
        assert_eq!(empty, unset, "{args:?}");
    }
}

#[test]
fn mutate_ignores_the_environment_of_serve() {
    let accounts = examples("service-accounts.yaml");
    let output = command(&["mutate", "-f", &examples("deployment.yaml"), "--service-accounts", &accounts])
        .envs([("LISTEN", "8080"), ("KUBECONFIG", ""), ("AWS_REGION", "eu-west-1")])
        .output()
        .unwrap();
    assert!(output.status.success() && stdout(&output).contains("eu-west-1"), "{output:?}");
}

/// The pipe is full before the program has anything to say.
#[tokio::test]
async fn an_error_ends_the_process_even_if_it_is_not_read() {
    let mut command = tokio::process::Command::new("/bin/sh");
    let script =
        r#"head -c 65536 /dev/zero >&2; exec "$0" serve --service-accounts=/nowhere --tls-self-signed"#;
    command.args(["-c", script, env!("CARGO_BIN_EXE_eks-pod-identity-webhook")]);
    let mut child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    assert_eq!(within("its end", child.wait()).await.unwrap().code(), Some(1));
}

#[test]
fn invalid_certificate_files_are_named_with_their_flags() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    ca.server(1).write(dir.path());
    fs::write(dir.path().join("other.key"), ca.server(2).key).unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (cert, key, other, none) = (file("tls.crt"), file("tls.key"), file("other.key"), file("none"));
    let accounts = examples("service-accounts.yaml");
    for (args, parts) in [
        (vec!["--tls-cert-file", &cert, "--tls-key-file", &none], vec!["--tls-key-file: ", &none]),
        (vec!["--tls-cert-file", &key, "--tls-key-file", &key], vec!["--tls-cert-file: ", &key]),
        (vec!["--tls-cert-file", &cert, "--tls-key-file", &other], vec!["can't be used together"]),
        (vec!["--tls-self-signed", "--tls-client-ca-file", &none], vec!["--tls-client-ca-file: ", &none]),
        (vec!["--tls-self-signed", "--tls-client-ca-file", &key], vec!["--tls-client-ca-file: ", &key]),
        (vec!["--tls-self-signed", "--tls-san", "b\u{e4}d name"], vec!["--tls-san"]),
    ] {
        let start = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--service-accounts", &accounts];
        let output = run(&[&start[..], &args].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        for part in parts {
            assert!(stderr(&output).contains(part), "{args:?} lacks {part:?}: {}", stderr(&output));
        }
    }
}

/// What `mutate` prints for an input with the example accounts.
fn mutated(input: &str) -> String {
    let accounts = examples("service-accounts.yaml");
    let output = run_with_input(&["mutate", "-f", "-", "--service-accounts", &accounts], input.as_bytes());
    assert!(output.status.success(), "{input:?}: {}", stderr(&output));
    stdout(&output).to_owned()
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: payments}\nspec:\n  serviceAccountName: api\n  \
                   containers: [{name: a}]\n";

/// An account with a role, as a chart declares it.
const ACCOUNT: &str = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: api\n  annotations: {eks.amazonaws.com/role-arn: \"arn:aws:iam::111122223333:role/input\"}\n";

#[test]
fn accounts_of_the_input_count_and_others_pass_through_with_a_note() {
    let deployment = |account: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {account}}}\nspec:\n  template:\n    spec:\n      \
             serviceAccountName: {account}\n      containers: [{{name: a}}]\n"
        )
    };
    let (api, stranger) = (deployment("api"), deployment("stranger"));
    let input = format!("{stranger}---\n{stranger}---\n{api}---\n{ACCOUNT}");
    let output = run_with_input(&["mutate", "-f", "-", "-n", "shop"], input.as_bytes());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).starts_with(&format!("{stranger}---\n{stranger}---\n")), "{}", stdout(&output));
    assert!(stdout(&output).ends_with(&format!("---\n{ACCOUNT}")), "{}", stdout(&output));
    assert_eq!(stdout(&output).matches("role/input").count(), 2);
    let note = "note: standard input, document 1, line 1: Deployment shop/stranger is not changed: ServiceAccount shop/stranger \
                is not in the input (or give --service-accounts); add it there, without a role if it has none\n";
    assert_eq!(stderr(&output), note, "once for each account");

    let strict = run_with_input(&["mutate", "-f", "-", "--strict"], input.as_bytes());
    assert_eq!((strict.status.code(), stdout(&strict)), (Some(1), ""));
    assert!(
        stderr(&strict)
            .contains("Deployment default/stranger: ServiceAccount default/stranger is not in the input")
    );

    // What is listed is added to the input, whose own accounts stand.
    let dir = tempfile::tempdir().unwrap();
    let listed = dir.path().join("accounts.yaml");
    let others = ACCOUNT.replace("role/input", "role/listed")
        + "---\n"
        + &ACCOUNT.replace("name: api", "name: stranger").replace("role/input", "role/listed");
    fs::write(&listed, others).unwrap();
    let output = run_with_input(
        &["mutate", "-f", "-", "--service-accounts", listed.to_str().unwrap(), "--strict"],
        input.as_bytes(),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        (stdout(&output).matches("role/input").count(), stdout(&output).matches("role/listed").count()),
        (2, 2)
    );
}

#[test]
fn a_review_of_an_unknown_account_has_no_answer() {
    let output = run_with_input(&["mutate", "-f", "-"], &recorded("minimal"));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("ServiceAccount payments/api is not in the input"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn documents_that_are_not_injected_stay_byte_for_byte() {
    for untouched in [
        "kind: ConfigMap\ndata:\n  text: |\n    no final newline",
        "kind: ConfigMap\ndata:\n  text: |+\n    a\n\n\n",
        "---\n# first\nkind: A\n--- # second\nkind: B\n---\n# nothing\n---\n",
        "\u{feff}kind: A\r\n---\r\nkind: B\r\n",
        "{\"kind\":\"A\"} {\"kind\":\"B\"}\n\n",
        "%YAML 1.2\n---\nkind: A\n...\n",
        "kind: A\n---\n\n---\n# of a template that is disabled\n---\n---\nkind: B\n---\n",
        "# of a template that is disabled\n",
        "---\n# of a template that is disabled\n---\n---\n",
    ] {
        assert_eq!(mutated(untouched), untouched);
        let after = mutated(&format!("{POD}---\n{}", untouched.trim_start_matches('\u{feff}')));
        assert!(
            after.ends_with(untouched.trim_start_matches('\u{feff}')) && after.contains("AWS_ROLE_ARN"),
            "{after}"
        );
    }
    // Documents of comments stay before an injected one, too.
    for empty in [
        "kind: A\n---\n# of a template that is disabled\n# twice\n---\n",
        "# of a template that is disabled\n---\n---\n# another\n---\n",
        "kind: A\n---\n# ended\n...\n---\n",
    ] {
        let after = mutated(&format!("{empty}{POD}---\nkind: B\n"));
        assert!(after.starts_with(&format!("{empty}apiVersion: v1\n")), "{after}");
        assert!(after.ends_with("---\nkind: B\n") && after.contains("AWS_ROLE_ARN"), "{after}");
    }
    // Published charts repeat keys. kubectl takes the last.
    let repeated = format!("kind: A\nkind: B\n---\n{}", POD.replace("kind: Pod", "kind: Job\nkind: Pod"));
    let output = run_with_input(
        &["mutate", "-f", "-", "--service-accounts", &examples("service-accounts.yaml")],
        repeated.as_bytes(),
    );
    assert!(
        stdout(&output).starts_with("kind: A\nkind: B\n---\n") && stdout(&output).contains("AWS_ROLE_ARN"),
        "{output:?}"
    );
    assert!(stderr(&output).contains("document 1, line 2: duplicate mapping key"), "{}", stderr(&output));
    // A document on the line of its marker is replaced on lines of its own.
    let flow = "kind: A\n--- {apiVersion: v1, kind: Pod, metadata: {name: p, namespace: payments}, spec: {serviceAccountName: api, containers: [{name: a}]}}\n---\nkind: B";
    let injected = mutated(flow);
    assert!(
        injected.starts_with("kind: A\n---\napiVersion: v1\n") && injected.ends_with("\n---\nkind: B"),
        "{injected}"
    );
    // A byte order mark stays the first thing of a file.
    let json = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "payments"}, "spec": {"serviceAccountName": "api", "containers": [{"name": "a"}]}}"#;
    assert!(mutated(&format!("\u{feff}{json}")).starts_with("\u{feff}{"));
    let yaml = ["mutate", "-f", "-", "-o", "yaml"];
    let block = "kind: ConfigMap\ndata:\n  text: |\n    no final newline";
    assert_eq!(stdout(&run_with_input(&yaml, block.as_bytes())), block);
}

#[test]
fn documents_that_are_not_injected_are_printed_as_they_were_written() {
    for untouched in [
        "# licence\n---\nkind: ConfigMap\ndata:\n  keep: |+\n    a\n\n\n",
        "kind: ConfigMap\n---\n# about b\n---\nkind: Other",
        "{\"kind\":\"Other\"}\n",
        "{\"kind\":\"Other\"}\n---\n{\"kind\":\"Another\"}\n",
        "kind: Other\n...\n%YAML 1.2\n---\nkind: Another\n",
    ] {
        assert_eq!(mutated(untouched).trim_end_matches('\n'), untouched.trim_end_matches('\n'));
        assert!(mutated(untouched).starts_with(untouched));
        let beside = mutated(&format!("{POD}---\n{untouched}"));
        assert!(beside.contains(untouched) && beside.contains("AWS_ROLE_ARN"), "{beside}");
    }
    // A block scalar that keeps its blank lines keeps them in an injected manifest, too.
    let annotated = POD.replace("{name: p,", "{name: p, annotations: {mode: \"a\\n\\n\\n\"},");
    let printed: Value = serde_saphyr::from_str(&mutated(&annotated)).unwrap();
    assert_eq!(printed["metadata"]["annotations"]["mode"], "a\n\n\n");
}

#[test]
fn octal_modes_stay_what_kubectl_reads() {
    let volumes = "  volumes: [{name: s, secret: {secretName: s, defaultMode: 0400}}]\n";
    let printed: Value = serde_saphyr::from_str(&mutated(&format!("{POD}{volumes}"))).unwrap();
    assert_eq!(printed["spec"]["volumes"][0]["secret"]["defaultMode"], 256);
}

#[test]
fn lists_and_reviews_are_read_in_every_spelling() {
    let pod = json!({"metadata": {"namespace": "payments"}, "spec": {"serviceAccountName": "api", "containers": [{}]}});
    let list = json!({"apiVersion": "v1", "kind": "PodList", "items": [pod]}).to_string();
    assert!(mutated(&list).contains("AWS_ROLE_ARN"));

    // Its own JSON output, two documents without a separator, is input again.
    let twice = mutated(&mutated(&format!("{list}\n{list}")));
    assert_eq!(twice.matches("AWS_ROLE_ARN").count(), 2, "{twice}");

    let review: Value = serde_json::from_slice(&recorded("minimal")).unwrap();
    let yaml = serde_saphyr::to_string(&review).unwrap();
    let answer = mutated(&yaml);
    assert_eq!(answer, mutated(&review.to_string()));
    let flow = "{apiVersion: admission.k8s.io/v1, kind: AdmissionReview, request: {uid: u, operation: DELETE, resource: {resource: pods}}}";
    assert!(mutated(flow).contains(r#""allowed":true"#));
}

#[tokio::test]
async fn the_daemon_serves_drains_and_says_little() {
    let mut daemon = Daemon::start(&[
        "--service-accounts",
        &examples("service-accounts.yaml"),
        "--drain-delay=100ms",
        "--log-level=debug",
    ])
    .await;
    assert_eq!(plain_get(daemon.admin, "/readyz").await, (200, "ok\n".to_owned()));
    let mut client = Client::connect(daemon.address, &daemon.ca_pem).await;
    let response = client.mutate(&recorded("unicode-and-escapes")).await;
    let expected =
        support::admit(recorded("unicode-and-escapes"), support::recorded_account).unwrap().unwrap();
    assert_eq!(response.body, expected.body);
    let admission = daemon.line("admission").await;
    for (field, value) in
        [("namespace", "payments"), ("pod", "unicode"), ("outcome", "injected"), ("level", "DEBUG")]
    {
        assert_eq!(admission[field], value);
    }
    assert!(!admission.to_string().contains("wörld"), "never a body");

    daemon.signal("-TERM");
    daemon.line("draining").await;
    assert_eq!(plain_get(daemon.admin, "/readyz").await.0, 503);
    let response = client.mutate(&recorded("minimal")).await;
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert_eq!(daemon.exit_code().await, Some(0));
    let log = daemon.rest_of_the_log().await;
    let info = log.lines().filter(|line| line.contains(r#""level":"INFO""#));
    let messages: Vec<Value> =
        info.map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].clone()).collect();
    assert_eq!(
        messages,
        [
            "starting",
            "certificate loaded",
            "synced ServiceAccounts from manifests",
            "listening",
            "draining",
            "drained"
        ]
    );
}

#[tokio::test]
async fn a_second_signal_ends_the_daemon_at_once() {
    let accounts = examples("service-accounts.yaml");
    let mut daemon = Daemon::start(&["--service-accounts", &accounts, "--drain-delay=1h"]).await;
    daemon.signal("-INT");
    daemon.line("draining").await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code().await, Some(1));
}

#[tokio::test]
async fn requests_that_outlast_the_drain_do_not_hold_the_daemon() {
    let accounts = examples("service-accounts.yaml");
    let args =
        ["--service-accounts", &accounts, "--drain-delay=0s", "--drain-timeout=100ms", "--lookup-grace=1h"];
    let mut daemon = Daemon::start(&args).await;
    let mut client = Client::connect(daemon.address, &daemon.ca_pem).await;
    client.send(&support::client::request("POST", "/mutate", &support::minimal_of("never"))).await;
    loop {
        let (_, metrics) = plain_get(daemon.admin, "/metrics").await;
        if support::metric(&metrics, "pod_identity_webhook_admissions_in_flight") == 1.0 {
            break;
        }
    }
    daemon.signal("-TERM");
    daemon.line("not drained within --drain-timeout; ending anyway").await;
    assert_eq!(daemon.exit_code().await, Some(0));
}

#[tokio::test]
async fn the_daemon_says_once_why_it_records_no_more() {
    let accounts = examples("service-accounts.yaml");
    let bound = "--record-max-files or --record-max-bytes is reached; nothing more is recorded";
    let failure = "can't write to --record; nothing more is recorded";
    for (is_removed, message, level) in [(false, bound, "INFO"), (true, failure, "WARN")] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/here");
        let record = ["--record", path.to_str().unwrap(), "--record-max-files=1"];
        let args = ["--service-accounts", &accounts, "--drain-delay=0s"];
        let mut daemon = Daemon::start(&[&args[..], &record].concat()).await;
        let mut client = Client::connect(daemon.address, &daemon.ca_pem).await;
        if is_removed {
            fs::remove_dir(&path).unwrap();
        }
        assert_eq!(client.mutate(&recorded("minimal")).await.status, 200);
        assert_eq!(daemon.line(message).await["level"], level);
        assert_eq!(client.mutate(&recorded("minimal")).await.status, 200);
        daemon.signal("-TERM");
        assert_eq!(daemon.exit_code().await, Some(0));
        assert_eq!(daemon.rest_of_the_log().await.matches("nothing more is recorded").count(), 1);
        assert_eq!(path.join("000001-create-role.json").exists(), !is_removed);
    }
}

#[tokio::test]
async fn the_daemon_writes_what_is_still_to_be_recorded_before_it_ends() {
    let (accounts, dir) = (examples("service-accounts.yaml"), tempfile::tempdir().unwrap());
    let record = dir.path().to_str().unwrap();
    let args = ["--service-accounts", &accounts, "--drain-delay=0s", "--record", record];
    let mut daemon = Daemon::start(&args).await;
    let mut client = Client::connect(daemon.address, &daemon.ca_pem).await;
    for _ in 0..10 {
        assert_eq!(client.mutate(&recorded("resize")).await.status, 200);
    }
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code().await, Some(0));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 10);
}

#[tokio::test]
async fn the_daemon_watches_the_cluster_of_a_kubeconfig() {
    let ca = Ca::new();
    for uses_tls in [false, true] {
        let api = if uses_tls { ApiServer::start_tls(&ca.server(7)).await } else { ApiServer::start().await };
        api.apply("payments", "api", json!({ROLE_ANNOTATION: ROLE}));
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = write_kubeconfig(dir.path(), api.address, uses_tls.then(|| ca.pem()));
        let mut daemon =
            Daemon::start(&["--kubeconfig", &kubeconfig, "--context=test", "--aws-region="]).await;
        if !daemon.seen.iter().any(|line| line.contains("synced ServiceAccounts from the cluster")) {
            daemon.line("synced ServiceAccounts from the cluster").await;
        }
        let mut client = Client::connect(daemon.address, &daemon.ca_pem).await;
        let response = client.mutate(&recorded("minimal")).await;
        let patch = serde_json::to_string(&support::patch_of(&response.json()).unwrap()).unwrap();
        assert!(patch.contains("AWS_ROLE_ARN") && !patch.contains("AWS_REGION"), "{patch}");
        assert_eq!(client.mutate(&recorded("unannotated-account")).await.status, 503);

        api.apply("payments", "plain", json!({}));
        let known = async { while client.mutate(&recorded("unannotated-account")).await.status != 200 {} };
        within("the new account is known", known).await;
        eventually("one list and one watch", || (api.lists(), api.watches()) == (1, 1)).await;
        assert_eq!(api.authorization().as_deref(), Some("Bearer secret-token"));
        daemon.child.kill().await.unwrap();
        assert!(!daemon.rest_of_the_log().await.contains("secret-token"));
    }
}
