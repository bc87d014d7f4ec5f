//! `oidc`: what is written for an issuer is what kube-apiserver serves, and `verify` finds what differs from it.

use std::{fs, path::Path, process::Output};

use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    self,
    api_server::ApiServer,
    daemon::{command, stderr, stdout, write_kubeconfig},
    issuer::{DISCOVERY, Issuer, JWKS, served},
    pki::Ca,
    within,
};

const ISSUER: &str = "--issuer=https://issuer.test";

async fn run(args: &[&str]) -> Output {
    let command = command(&[&["oidc"], args].concat());
    within("the end of oidc", tokio::process::Command::from(command).output()).await.unwrap()
}

/// Runs `oidc generate`; gives the discovery document and the keys that it wrote.
async fn generate(args: &[&str]) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("made/here");
    let output = run(&[&["generate", "--output-dir", out.to_str().unwrap()], args].concat()).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let read = |path: &str| fs::read_to_string(out.join(&path[1..])).unwrap();
    (read(DISCOVERY), read(JWKS))
}

async fn keys_of(file: &Path) -> Value {
    let (_, keys) = generate(&[ISSUER, "--key-file", file.to_str().unwrap()]).await;
    serde_json::from_str(&keys).unwrap()
}

#[tokio::test]
async fn keys_in_files_give_byte_for_byte_what_kube_apiserver_serves_of_them() {
    let [one, two] = ["keys-1.pem", "keys-2.pem"].map(|name| support::path("fixtures/oidc").join(name));
    let [one, two] = [one.to_str().unwrap(), two.to_str().unwrap()];
    let expected = (served("openid-configuration"), served("jwks"));
    assert_eq!(generate(&[ISSUER, "--key-file", one, "--key-file", two]).await, expected);
    assert_eq!(generate(&[ISSUER, "--key-file", &format!("{one},{two}")]).await, expected);
}

#[tokio::test]
async fn the_public_part_of_a_private_key_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let public = dir.path().join("public.pem");
    for (pkcs8, others) in [
        ("p256-pkcs8.pem", ["p256-pkcs8.pem", "p256-sec1.pem"]),
        ("rsa-pkcs8.pem", ["rsa-pkcs8.pem", "rsa-pkcs1.pem"]),
    ] {
        let file = |name: &str| support::path("fixtures/keys").join(name);
        let pair = KeyPair::from_pem(&fs::read_to_string(file(pkcs8)).unwrap()).unwrap();
        let pem = pem::Pem::new("PUBLIC KEY", pair.subject_public_key_info());
        fs::write(&public, pem::encode(&pem)).unwrap();
        for other in others {
            let keys = keys_of(&file(other)).await;
            assert_eq!(keys, keys_of(&public).await, "{other}");
            assert!(keys["keys"][0].get("d").is_none());
        }
    }
    // As openssl writes it, the curve first.
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let sec1 = fs::read_to_string(support::path("fixtures/keys/p256-sec1.pem")).unwrap();
    fs::write(&public, format!("{parameters}{sec1}")).unwrap();
    assert_eq!(keys_of(&public).await["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn files_without_keys_are_refused_and_nothing_is_written() {
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let good = fs::read_to_string(support::path("fixtures/oidc/keys-2.pem")).unwrap();
    let block = |tag: &str| pem::encode(&pem::Pem::new(tag, [48, 0]));
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("keys.pem"), dir.path().join("out"));
    let [file, out] = [file.to_str().unwrap(), out.to_str().unwrap()];
    for (content, wanted) in [
        ("", "no key in PEM"),
        ("not PEM", "no key in PEM"),
        (&good[..good.len() - 40], "cut off"),
        ("-----BEGIN PUBLIC KEY-----\n?\n-----END PUBLIC KEY-----\n", "not PEM"),
        (&ed25519.public_key_pem(), "want RSA, or ECDSA of P-256, P-384 or P-521"),
        (&ed25519.serialize_pem(), "want RSA, or ECDSA of P-256, P-384 or P-521"),
        (&block("PUBLIC KEY"), "damaged"),
        (&block("CERTIFICATE"), "damaged"),
        (&block("PRIVATE KEY"), "damaged"),
        (&block("RSA PUBLIC KEY"), "openssl rsa -RSAPublicKey_in -pubout"),
        (&format!("{good}{}", block("CERTIFICATE REQUEST")), r#"a block "CERTIFICATE REQUEST""#),
    ] {
        fs::write(file, content).unwrap();
        let output = run(&["generate", "--output-dir", out, ISSUER, "--key-file", file]).await;
        assert_eq!(output.status.code(), Some(1), "{content}");
        for part in ["--key-file", file, wanted] {
            assert!(stderr(&output).contains(part), "{part}: {}", stderr(&output));
        }
        assert!(!Path::new(out).exists());
    }
    let output = run(&["generate", "--output-dir", out, "--key-file", file]).await;
    assert_eq!(output.status.code(), Some(2), "keys in files have no issuer");
}

/// A cluster and its issuer.
struct Bench {
    dir: TempDir,
    cluster: ApiServer,
    issuer: Issuer,
    kubeconfig: String,
}

impl Bench {
    async fn start() -> Self {
        let (dir, ca) = (tempfile::tempdir().unwrap(), Ca::new());
        let cluster = ApiServer::start().await;
        let issuer = Issuer::start(&cluster, &ca).await;
        fs::write(dir.path().join("ca.crt"), ca.pem()).unwrap();
        let kubeconfig = write_kubeconfig(dir.path(), cluster.address, None);
        Self { dir, cluster, issuer, kubeconfig }
    }

    fn document(&self) -> Value {
        serde_json::from_str(&self.issuer.discovery()).unwrap()
    }

    async fn run(&self, args: &[&str]) -> Output {
        run(&[args, &["--kubeconfig", &self.kubeconfig, "--context=test"]].concat()).await
    }

    async fn verify(&self, args: &[&str]) -> Output {
        let ca = self.dir.path().join("ca.crt");
        self.run(&[&["verify", "--ca-file", ca.to_str().unwrap()], args].concat()).await
    }

    /// That `verify` ends with this code and says all of this, with that document published.
    async fn finds(&self, code: i32, parts: &[&str], published: &Value) {
        let output = self.verify(&[]).await;
        assert_eq!(output.status.code(), Some(code), "{published}: {}{}", stdout(&output), stderr(&output));
        for part in parts {
            assert!(stdout(&output).contains(part), "lacks {part:?}: {}", stdout(&output));
        }
    }
}

#[tokio::test]
async fn the_keys_of_a_cluster_are_written_as_it_serves_them() {
    let bench = Bench::start().await;
    // By default, kube-apiserver publishes a URL of its keys that AWS cannot reach.
    let mut document = bench.document();
    document["issuer"] = json!("https://oidc.example.com/a/");
    document["jwks_uri"] = json!("https://10.0.0.1:6443/openid/v1/jwks");
    bench.cluster.answer(DISCOVERY, 200, &document.to_string());
    let odd = r#"{"keys": [{"kty":"OKP","kid":"k","alg":"EdDSA"}], "more": 1}"#;
    bench.cluster.answer(JWKS, 200, odd);
    let kubeconfig = format!("--kubeconfig={}", bench.kubeconfig);
    let (discovery, keys) = generate(&[&kubeconfig, "--context=test"]).await;
    assert_eq!(keys, odd, "whatever it is");
    assert_eq!(
        serde_json::from_str::<Value>(&discovery).unwrap(),
        json!({
            "issuer": "https://oidc.example.com/a/",
            "jwks_uri": "https://oidc.example.com/a/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["EdDSA"],
        })
    );

    // Before a cluster is given its public issuer.
    document["issuer"] = json!("https://kubernetes.default.svc.cluster.local");
    bench.cluster.answer(DISCOVERY, 200, &document.to_string());
    let out = bench.dir.path().join("out");
    let output = bench.run(&["generate", "--output-dir", out.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("give the future one with --issuer"), "{}", stderr(&output));
    assert!(!out.exists());
    let (discovery, _) = generate(&[&kubeconfig, "--context=test", ISSUER]).await;
    assert!(discovery.contains(r#""jwks_uri":"https://issuer.test/openid/v1/jwks""#), "{discovery}");
}

#[tokio::test]
async fn an_issuer_that_publishes_what_the_cluster_signs_passes() {
    let bench = Bench::start().await;
    let ca = format!("--ca-file={}", bench.dir.path().join("ca.crt").display());
    let issuer = format!("--issuer={}", bench.issuer.url);
    let keys = ["keys-1.pem", "keys-2.pem"].map(|name| support::path("fixtures/oidc").join(name));
    let keys = format!("--key-file={},{}", keys[0].display(), keys[1].display());
    for output in
        [bench.verify(&[]).await, bench.verify(&[&issuer]).await, run(&["verify", &ca, &issuer, &keys]).await]
    {
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
        assert!(!stdout(&output).contains("FAIL"));
        assert!(stdout(&output).contains("8 of 8 of the cluster's"), "{}", stdout(&output));
    }
    // Loopback has a port.
    let output = bench.verify(&["--output=json"]).await;
    let object: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(object["verdict"], "warn");
    let findings = object["findings"].as_array().unwrap();
    let levels: Vec<_> = findings.iter().map(|finding| (&finding["check"], &finding["level"])).collect();
    assert_eq!(
        json!(levels),
        json!([["issuer", "pass"], ["issuer", "warn"], ["discovery", "pass"], ["keys", "pass"]])
    );
}

/// Edits to a document, and what is found then.
type Case = (fn(&mut Value), u16, i32, &'static [&'static str]);

#[tokio::test]
async fn each_difference_of_the_discovery_document_is_found() {
    let bench = Bench::start().await;
    let cases: [Case; 8] = [
        (
            |document| document["issuer"] = json!("https://other.test"),
            200,
            3,
            &["FAIL  discovery", "https://other.test"],
        ),
        (
            |document| document["jwks_uri"] = json!("https://10.0.0.1:6443/openid/v1/jwks"),
            200,
            3,
            &["FAIL  discovery", "10.0.0.1", "--service-account-jwks-uri"],
        ),
        (
            |document| document["jwks_uri"] = json!("http://issuer.test/jwks"),
            200,
            3,
            &["FAIL  discovery", "http://issuer.test"],
        ),
        (
            |document| document["id_token_signing_alg_values_supported"] = json!(["RS256"]),
            200,
            3,
            &["FAIL  discovery", "lacks ES256, ES384, ES512"],
        ),
        (
            |document| document["subject_types_supported"] = json!([]),
            200,
            0,
            &["warn  discovery", "subject_types_supported"],
        ),
        (|document| *document = json!("<html>"), 200, 3, &["FAIL  discovery", "not a discovery document"]),
        (|_| {}, 301, 3, &["FAIL  discovery", "status 301 instead of 200"]),
        (|_| {}, 403, 3, &["FAIL  discovery", "status 403 instead of 200", "make it public"]),
    ];
    for (edit, status, code, parts) in cases {
        let mut document = bench.document();
        edit(&mut document);
        bench.issuer.server.answer(DISCOVERY, status, &document.to_string());
        bench.finds(code, parts, &document).await;
    }
}

#[tokio::test]
async fn each_difference_of_the_keys_is_found() {
    let bench = Bench::start().await;
    let cases: [Case; 7] = [
        (
            |keys| {
                keys["keys"].as_array_mut().unwrap().remove(2);
            },
            200,
            3,
            &["FAIL  keys", "5eO-Ne0SVo9a", "(ES384)", "not published"],
        ),
        (
            |keys| keys["keys"][0]["n"] = json!("AQAB"),
            200,
            3,
            &["FAIL  keys", "gJQQvbqM7X0n", "another key is published"],
        ),
        (
            |keys| {
                keys["keys"].as_array_mut().unwrap().push(json!({"kty": "RSA", "kid": "old", "alg": "RS256"}))
            },
            200,
            0,
            &["warn  keys", "old (RS256)", "not a key of the cluster", "pass  keys"],
        ),
        // Other programs say more or less of a key.
        (
            |keys| {
                keys["keys"][0].as_object_mut().unwrap().remove("use");
                keys["keys"][0]["x5t"] = json!("x");
            },
            200,
            0,
            &["pass  keys"],
        ),
        (|keys| *keys = json!({"keys": []}), 200, 3, &["gJQQvbqM7X0n", "u9JFcufLgP8A"]),
        (|keys| *keys = json!({"error": "no"}), 200, 3, &["FAIL  keys", "not a set of keys"]),
        (|_| {}, 404, 3, &["FAIL  keys", "status 404"]),
    ];
    for (edit, status, code, parts) in cases {
        let mut keys = serde_json::from_str(&served("jwks")).unwrap();
        edit(&mut keys);
        bench.issuer.server.answer(JWKS, status, &keys.to_string());
        bench.finds(code, parts, &keys).await;
    }
}

#[tokio::test]
async fn an_issuer_that_the_tokens_do_not_name_is_found() {
    let bench = Bench::start().await;
    let output = bench.verify(&["--issuer", &format!("{}/", bench.issuer.url)]).await;
    assert_eq!(output.status.code(), Some(3));
    let named = format!("the cluster's tokens name {}, not {}/", bench.issuer.url, bench.issuer.url);
    assert!(stdout(&output).contains(&named), "{}", stdout(&output));
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_or_trusted_fails() {
    let bench = Bench::start().await;
    let other = bench.dir.path().join("other.crt");
    fs::write(&other, Ca::new().pem()).unwrap();
    let output = bench.run(&["verify", "--ca-file", other.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(3));
    assert!(stdout(&output).contains("invalid peer certificate"), "{}", stdout(&output));

    let gone = format!(
        "https://localhost:{}",
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    );
    let output = bench.verify(&["--issuer", &gone]).await;
    assert_eq!(output.status.code(), Some(3));
    assert!(stdout(&output).contains("refused"), "{}", stdout(&output));
}

#[tokio::test]
async fn an_unreadable_issuer_gives_no_verdict() {
    let bench = Bench::start().await;
    bench.cluster.answer(JWKS, 200, "nothing");
    let output = bench.verify(&[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("the API server, /openid/v1/jwks: not a set of keys"),
        "{}",
        stderr(&output)
    );

    let mut command = command(&["oidc", "verify", "--kubeconfig", &bench.kubeconfig, "--context=test"]);
    command.env("SSL_CERT_FILE", "/nowhere").env("SSL_CERT_DIR", "/nowhere");
    let output = within("the end", tokio::process::Command::from(command).output()).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("give --ca-file"), "{}", stderr(&output));
}
