//! `compare`: the verdict, what is printed, and what it can't be run with.

use std::{
    fs,
    process::Output,
    sync::{Arc, Mutex},
    time::Duration,
};

use eks_pod_identity_webhook::lifecycle::Phase;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::support::{
    ROLE, ROLE_ANNOTATION, account,
    daemon::{Daemon, command, stderr, stdout, write_kubeconfig},
    eventually,
    pki::Pair,
    port_forward::Installed,
    recorded,
    server::{Options, Server},
    within,
};

const SERVICE_ACCOUNTS: &str = "deploy/examples/service-accounts.yaml";
const OTHER_ROLE: &str = "arn:aws:iam::111122223333:role/other";

/// Servers, and the files to compare them with.
struct Bench {
    dir: TempDir,
    baseline: Server,
    candidate: Server,
}

impl Bench {
    /// Two servers that are alike, and these recorded requests.
    async fn start(reviews: &[&str]) -> Self {
        Self::of(Server::start(Options::default()).await, Server::start(Options::default()).await, reviews)
    }

    fn of(baseline: Server, candidate: Server, reviews: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.crt"), baseline.ca.pem() + &candidate.ca.pem()).unwrap();
        fs::create_dir(dir.path().join("reviews")).unwrap();
        for review in reviews {
            let file = dir.path().join("reviews").join(format!("{review}.json"));
            fs::write(file, recorded(review)).unwrap();
        }
        Self { dir, baseline, candidate }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn urls(&self) -> [String; 2] {
        [&self.baseline, &self.candidate].map(url)
    }

    /// Compares both servers by a few requests.
    async fn compare(&self, args: &[&str]) -> Output {
        let [baseline, candidate] = self.urls();
        let (ca, reviews) = (self.path("ca.crt"), self.path("reviews"));
        let both = ["--baseline", &baseline, "--candidate", &candidate, "--ca-file", &ca];
        run(&[&both[..], &["--reviews", &reviews, "--count=20"], args].concat()).await
    }

    /// The same with the candidate alone.
    async fn measure(&self, args: &[&str]) -> Output {
        let ([_, url], ca, reviews) = (self.urls(), self.path("ca.crt"), self.path("reviews"));
        let alone = ["--candidate", &url, "--ca-file", &ca, "--reviews", &reviews];
        run(&[&alone[..], &["--count=20"], args].concat()).await
    }
}

fn url(server: &Server) -> String {
    format!("https://localhost:{}", server.address.port())
}

/// Runs the program without a warm-up. The servers are in this process, and go on meanwhile.
async fn run(args: &[&str]) -> Output {
    let mut command = command(&[&["compare"], args].concat());
    command.env("COMPARE_WARM_UP", "0s");
    within("the end of compare", tokio::process::Command::from(command).output()).await.unwrap()
}

fn object(output: &Output) -> Value {
    serde_json::from_str(stdout(output)).unwrap_or_else(|_| panic!("{output:?}"))
}

#[track_caller]
fn assert_exit(output: &Output, code: i32, parts: &[&str]) {
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(output), stderr(output));
    let said = if code == 0 || code > 2 { stdout(output) } else { stderr(output) };
    for part in parts {
        assert!(said.contains(part), "lacks {part:?}: {said}");
    }
}

/// A server whose ServiceAccount has another role.
async fn other_role() -> Server {
    let mut server = Server::start(Options::default()).await;
    server.writer.applied("payments", "api", account(&[(ROLE_ANNOTATION, OTHER_ROLE)]));
    server
}

/// A server that knows no accounts, and answers their pods with 503.
async fn unsynced() -> Server {
    let mut options = Options::default();
    options.requests.lookup_grace = Duration::ZERO;
    Server::start_unsynced(options).await
}

#[tokio::test]
async fn equal_webhooks_give_the_same_pods() {
    let bench = Bench::start(&["delete", "minimal", "v1beta1-minimal"]).await;
    let output = bench.compare(&["--concurrency=1"]).await;
    assert_exit(&output, 0, &["3 reviews: both give the same pods"]);
    for row in ["p50", "p90", "p99", "p99.9", "max", "throughput"] {
        let row: Vec<_> =
            stdout(&output).lines().filter(|line| line.starts_with(&format!("{row} "))).collect();
        assert_eq!(row.len(), 1, "{row:?}");
    }
    for server in [&bench.baseline, &bench.candidate] {
        assert!(stdout(&output).contains(&format!("{}/mutate?timeout=10s\n", url(server))));
        assert_eq!(server.metric("http_responses_total{code=\"200\"}"), 3.0 + 20.0);
        assert_eq!(server.metric("connections_total"), 2.0, "one to compare, one to measure, kept alive");
    }
    assert_eq!(stderr(&output), "", "no progress where nobody looks");
}

#[tokio::test]
async fn differing_pods_are_reported_by_review_and_path() {
    let reviews = ["delete", "minimal", "twenty-containers", "unannotated-account"];
    let bench = Bench::of(Server::start(Options::default()).await, other_role().await, &reviews);
    // That it is slower as well does not matter then.
    let output = bench.compare(&["--max-ratio=0.000001"]).await;
    let difference = format!("value: baseline \"{ROLE}\", candidate \"{OTHER_ROLE}\"\n");
    let of_minimal = format!("\nminimal.json: /spec/containers/0/env/0/{difference}");
    assert_exit(&output, 3, &[&of_minimal, "4 reviews: 2 answered differently"]);
    let lines = |of: &str| stdout(&output).lines().filter(|line| line.starts_with(of)).count();
    assert_eq!(["delete", "minimal", "unannotated-account"].map(lines), [0, 1, 0]);
    let all = object(&bench.compare(&["-o", "json"]).await);
    let all = all["differences"].as_array().unwrap();
    assert_eq!(all.iter().filter(|difference| difference["review"] == "twenty-containers.json").count(), 20);
    assert_eq!(lines("twenty-containers"), 20);
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_is_different() {
    let bench = Bench::of(Server::start(Options::default()).await, unsynced().await, &["delete", "minimal"]);
    let output = bench.compare(&[]).await;
    let difference =
        r#"minimal.json: the answer: baseline {"allowed":true}, candidate {"error":"HTTP status 503"#;
    let only = "10 requests were answered by one side only";
    let error = "candidate: 10 requests failed, one with: HTTP status 503";
    assert_exit(&output, 3, &[difference, "2 reviews: 1 answered differently", only, error]);

    let output = bench.measure(&[]).await;
    assert_exit(&output, 3, &["minimal.json: not answered: HTTP status 503", "2 reviews: 1 not answered"]);

    fs::remove_file(bench.path("reviews/delete.json")).unwrap();
    let output = bench.measure(&[]).await;
    assert_exit(
        &output,
        1,
        &[&url(&bench.candidate), "no review is answered: minimal.json: HTTP status 503"],
    );
}

#[tokio::test]
async fn reviews_that_neither_answers_make_no_difference() {
    let bench = Bench::of(unsynced().await, unsynced().await, &["delete", "minimal"]);
    let output = bench.compare(&[]).await;
    assert_exit(&output, 0, &["minimal.json: not answered: HTTP status 503", "both give the same pods"]);
}

#[tokio::test]
async fn a_candidate_above_the_ratio_is_slower() {
    let bench = Bench::start(&["minimal"]).await;
    let output = bench.compare(&["--max-ratio=0.000001"]).await;
    assert_exit(&output, 4, &["both give the same pods", "times the baseline's, more than 0.000001"]);
    assert_exit(&bench.compare(&["--max-ratio=1000000"]).await, 0, &[]);
}

#[tokio::test]
async fn one_webhook_alone_is_measured() {
    let bench = Bench::start(&["minimal"]).await;
    let output = bench.measure(&["--warm-up=200ms"]).await;
    assert_exit(&output, 0, &["1 review: all answered"]);
    assert!(!stdout(&output).contains("ratio") && !stdout(&output).contains("baseline"), "{output:?}");
    let responses = bench.candidate.metric("http_responses_total{code=\"200\"}");
    assert!(responses > 1.0 + 20.0, "the warm-up is not counted: {responses}");
    assert!(stdout(&output).lines().any(|line| line.split_whitespace().eq(["answers", "20"])), "{output:?}");
    assert_eq!(bench.baseline.metric("connections_total"), 0.0);
}

#[tokio::test]
async fn http2_is_measured_on_one_connection_to_each_side() {
    let http2 = || Server::start(Options { http2: true, ..Options::default() });
    let bench = Bench::of(http2().await, http2().await, &["minimal"]);
    let report = bench.path("report.html");
    let output = bench.compare(&["--http2", "--report", &report]).await;
    assert_exit(&output, 0, &["1 review: both give the same pods"]);
    for server in [&bench.baseline, &bench.candidate] {
        assert_eq!(server.metric(r#"http_requests_total{protocol="http2"}"#), 21.0);
        assert_eq!(server.metric("connections_total"), 1.0);
    }
    let page = fs::read_to_string(report).unwrap();
    assert!(page.contains("8 streams of HTTP/2 to each side, 20 requests"), "{page}");
}

#[tokio::test]
async fn a_webhook_without_http2_is_an_error_with_http2() {
    let bench = Bench::start(&["minimal"]).await;
    assert_exit(&bench.measure(&["--http2"]).await, 1, &["HTTP/2 is not offered: leave out --http2"]);
}

#[tokio::test]
async fn pipelines_are_given_an_object() {
    let bench =
        Bench::of(Server::start(Options::default()).await, other_role().await, &["delete", "minimal"]);
    let output = bench.compare(&["--output=json"]).await;
    assert_eq!(output.status.code(), Some(3));
    let report = object(&output);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&report),
        "verdict reviews differences unanswered answeredByOne machine baseline candidate ratio"
    );
    assert_eq!((&report["verdict"], &report["reviews"]), (&"different".into(), &2.into()));
    assert_eq!(
        report["differences"],
        json!([{"review": "minimal.json", "path": "/spec/containers/0/env/0/value",
            "baseline": ROLE, "candidate": OTHER_ROLE}])
    );
    for (side, server) in [("baseline", &bench.baseline), ("candidate", &bench.candidate)] {
        let side = &report[side];
        assert_eq!(keys(side), "url version flags requests errors firstError throughput latencyMicroseconds");
        assert_eq!(side["url"], format!("{}/mutate?timeout=10s", url(server)));
        assert_eq!((&side["requests"], &side["errors"]), (&20.into(), &0.into()));
        let latency = ["p50", "p90", "p99", "p99.9", "max"]
            .map(|name| side["latencyMicroseconds"][name].as_f64().unwrap_or_else(|| panic!("{side}")));
        assert!(latency[0] > 0.0 && latency.is_sorted(), "{latency:?}");
    }
    let median = |side: &str| report[side]["latencyMicroseconds"]["p50"].as_f64().unwrap();
    let ratio = report["ratio"]["latency"]["p50"].as_f64().unwrap();
    assert!((ratio * median("baseline") / median("candidate") - 1.0).abs() < 1e-9, "{report}");

    let alone = object(&bench.measure(&["--output=json"]).await);
    assert_eq!(keys(&alone), "verdict reviews differences unanswered answeredByOne machine candidate");
    assert_eq!(alone["verdict"], "same");
}

#[tokio::test]
async fn markdown_has_verdict_figures_and_differences() {
    let bench = Bench::of(Server::start(Options::default()).await, other_role().await, &["minimal"]);
    let output = bench.compare(&["-o", "markdown"]).await;
    let difference =
        format!(r#"| minimal.json | /spec/containers/0/env/0/value | "{ROLE}" | "{OTHER_ROLE}" |"#);
    assert_exit(
        &output,
        3,
        &[
            "### Webhook comparison: Different answers\n",
            "- 1 review: 1 answered differently\n",
            "|  | baseline | candidate | ratio |\n| --- | ---: | ---: | ---: |\n| p50 | ",
            "| answers | 20 | 20 |\n",
            &difference,
        ],
    );
}

/// The page holds the figures of the run: those of the object that the same run prints.
#[tokio::test]
async fn the_report_is_one_page_with_verdict_versions_figures_and_differences() {
    let bench = Bench::of(Server::start(Options::default()).await, other_role().await, &["minimal"]);
    let admin = Daemon::start(&["--service-accounts", SERVICE_ACCOUNTS, "--debug-endpoints"]).await;
    let (page, admin_url) = (bench.path("report.html"), format!("http://{}", admin.admin));
    let args = ["-o", "json", "--report", &page, "--candidate-admin", &admin_url];
    let output = bench.compare(&args).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let (object, page) = (object(&output), fs::read_to_string(&page).unwrap());
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(object["candidate"]["version"], version);
    assert_eq!(object["baseline"]["version"], Value::Null);
    for part in [
        "Different answers",
        "1 review: 1 answered differently",
        &format!("<td>{version}</td>"),
        "not known; --baseline-admin URL shows it",
        "/spec/containers/0/env/0/value",
        "<code>--debug-endpoints</code>",
        ROLE,
        OTHER_ROLE,
        "<svg",
        object["machine"].as_str().unwrap(),
        &format!(r#"<td class="number">{:.3}</td>"#, object["ratio"]["latency"]["p99"].as_f64().unwrap()),
    ] {
        assert!(page.contains(part), "lacks {part:?}: {page}");
    }
    for part in ["<script", "<link", "src=", "@import"] {
        assert!(!page.contains(part), "the page needs {part}");
    }
}

/// Certificates are checked by the caBundle and the Service's name, as kube-apiserver checks them.
#[tokio::test]
async fn an_installed_webhook_is_reached_by_a_port_forward() {
    let bench = Bench::start(&["minimal"]).await;
    let mut baseline = Server::start(Options::default()).await;
    baseline.ca.server_called("webhook.webhooks.svc").write(baseline.certs.path());
    eventually("the new certificate", || baseline.metric(r#"tls_reloads_total{result="ok"}"#) > 0.0).await;
    baseline.writer.applied("payments", "api", account(&[(ROLE_ANNOTATION, OTHER_ROLE)]));
    let admin = Daemon::start(&["--service-accounts", SERVICE_ACCOUNTS]).await;
    let api_server = Installed::new(&baseline, admin.admin).serve().await;
    let kubeconfig = write_kubeconfig(bench.dir.path(), api_server, None);
    let (candidate, ca, reviews) = (url(&bench.candidate), bench.path("ca.crt"), bench.path("reviews"));
    let cluster =
        ["--kubeconfig", &kubeconfig, "--context=test", "--reviews", &reviews, "--count=20", "-o=json"];

    let alone = run(&[&["--baseline-service=webhooks/webhook"], &cluster[..]].concat()).await;
    assert_eq!(alone.status.code(), Some(0), "{alone:?}");
    let side = &object(&alone)["baseline"];
    assert_eq!(side["url"], "https://webhook.webhooks.svc/mutate?timeout=10s");
    assert_eq!((&side["version"], &side["requests"]), (&env!("CARGO_PKG_VERSION").into(), &20.into()));

    fs::write(&ca, baseline.ca.pem() + &bench.candidate.ca.pem()).unwrap();
    let both = ["--baseline-service=webhooks/webhook", "--candidate", &candidate, "--ca-file", &ca];
    let output = run(&[&both[..], &cluster[..]].concat()).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(object(&output)["differences"][0]["baseline"], OTHER_ROLE);

    let live = ["--from-cluster", "--kubeconfig", &kubeconfig, "--context=test", "--count=20", "-o=json"];
    let output = run(&[&both[..], &live[..]].concat()).await;
    let difference = &object(&output)["differences"][0];
    assert_eq!(
        (&difference["review"], &difference["baseline"]),
        (&"payments/web".into(), &OTHER_ROLE.into())
    );

    for (service, error) in [
        ("webhooks/other", "no MutatingWebhookConfiguration calls the Service webhooks/other"),
        ("webhook", "want NAMESPACE/NAME"),
    ] {
        let output = run(&[&["--baseline-service", service], &cluster[..]].concat()).await;
        assert!(stderr(&output).contains(error), "{output:?}");
    }
}

#[tokio::test]
async fn an_unwritable_report_and_a_wrong_admin_port_are_named() {
    let bench = Bench::start(&["minimal"]).await;
    assert_exit(
        &bench.compare(&["--report=/nowhere/r.html"]).await,
        1,
        &["--report: can't write /nowhere/r.html"],
    );
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let admin = format!("--baseline-admin=http://{free}");
    assert_exit(
        &bench.compare(&[&admin]).await,
        1,
        &["--baseline-admin", "can't read its metrics: Connection refused"],
    );
    let output = bench.compare(&["--baseline-admin=https://localhost"]).await;
    assert_exit(&output, 1, &["want a URL such as http://localhost:9090"]);
}

#[tokio::test]
async fn a_webhook_that_is_not_there_is_named() {
    let bench = Bench::start(&["minimal"]).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("https://{free}/mutate");
    let args = ["--baseline", &url, "--insecure", "--reviews", &bench.path("reviews")];
    assert_exit(
        &run(&args).await,
        1,
        &[&format!("baseline {url}?timeout=10s: can't connect: Connection refused")],
    );
}

#[tokio::test]
async fn a_webhook_that_goes_away_ends_the_run() {
    let bench = Bench::start(&["minimal"]).await;
    let going = async {
        eventually("the measurement", || bench.candidate.metric("connections_open") > 1.0).await;
        bench.candidate.announcer.announce(Phase::Closing);
    };
    let [baseline, candidate] = bench.urls();
    let (ca, reviews) = (bench.path("ca.crt"), bench.path("reviews"));
    let both = ["--baseline", &baseline, "--candidate", &candidate, "--ca-file", &ca];
    let args = [&both[..], &["--reviews", &reviews, "--duration=1h"]].concat();
    let (output, ()) = tokio::join!(run(&args), going);
    assert_exit(&output, 1, &[&format!("candidate {candidate}/mutate?timeout=10s: can't connect: ")]);
}

/// A webhook that answers the first and third request, ends the connection at the second, and shows what it was sent.
async fn breaking(pair: &Pair) -> (String, Arc<Mutex<Vec<String>>>) {
    let certs = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certs, key).unwrap();
    let (acceptor, tcp) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("https://localhost:{}", tcp.local_addr().unwrap().port());
    let (seen, body) = (Arc::new(Mutex::new(Vec::new())), recorded("minimal"));
    let uid = serde_json::from_slice::<Value>(&body).unwrap()["request"]["uid"].clone();
    let answer = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "response": {"uid": uid, "allowed": true}})
    .to_string();
    let requests = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let mut stream = acceptor.accept(tcp.accept().await.unwrap().0).await.unwrap();
            let mut request = Vec::new();
            while stream.read_buf(&mut request).await.is_ok_and(|count| count > 0) {
                if !request.ends_with(&body) {
                    continue;
                }
                requests.lock().unwrap().push(String::from_utf8(std::mem::take(&mut request)).unwrap());
                if requests.lock().unwrap().len() == 2 {
                    break;
                }
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
                stream.write_all((head + &answer).as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    });
    (url, seen)
}

#[tokio::test]
async fn requests_are_kube_apiservers_and_are_not_sent_again() {
    let bench = Bench::start(&["minimal"]).await;
    let (url, seen) = breaking(&bench.candidate.ca.server(2)).await;
    let (ca, reviews) = (bench.path("ca.crt"), bench.path("reviews"));
    let args = ["--candidate", &url, "--ca-file", &ca, "--reviews", &reviews, "--count=2", "--concurrency=1"];
    let output = run(&[&args[..], &["--output=json"]].concat()).await;
    assert_exit(&output, 3, &[]);
    let side = &object(&output)["candidate"];
    assert_eq!((&side["requests"], &side["errors"]), (&2.into(), &1.into()), "{side}");
    assert!(side["firstError"].as_str().unwrap().contains("connection"), "{side}");

    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    let (head, body) = seen[0].split_once("\r\n\r\n").unwrap();
    assert_eq!(body.as_bytes(), recorded("minimal"), "byte for byte");
    let mut lines: Vec<_> = head.split("\r\n").collect();
    lines[1..].sort_unstable();
    assert_eq!(
        lines,
        [
            "POST /mutate?timeout=10s HTTP/1.1",
            "Accept: application/json, */*",
            &format!("Content-Length: {}", body.len()),
            "Content-Type: application/json",
            &format!("Host: {}", url.strip_prefix("https://").unwrap()),
        ]
    );
}

#[tokio::test]
async fn unusable_recordings_are_named() {
    let bench = Bench::start(&["minimal"]).await;
    let file = bench.path("reviews/a.json");
    for (content, error) in [
        ("{", "not JSON: EOF while parsing"),
        (r#"{"kind": "Pod", "apiVersion": "v1"}"#, "not an AdmissionReview of admission.k8s.io/v1"),
        (r#"{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v2"}"#, "not an AdmissionReview of"),
        (r#"{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}"#, "no request in it"),
        (
            r#"{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {}}"#,
            "no request.uid",
        ),
    ] {
        fs::write(&file, content).unwrap();
        assert_exit(&bench.compare(&[]).await, 1, &[&format!("--reviews: {file}: {error}")]);
    }
    fs::remove_dir_all(bench.path("reviews")).unwrap();
    let reviews = bench.path("reviews");
    assert_exit(&bench.compare(&[]).await, 1, &[&format!("--reviews: {reviews}: can't read it")]);
    fs::create_dir(&reviews).unwrap();
    fs::write(bench.path("reviews/review.yaml"), "").unwrap();
    assert_exit(&bench.compare(&[]).await, 1, &[&format!("--reviews: {reviews}: no .json file in it")]);
    // A file may have any name.
    fs::write(bench.path("reviews/review"), recorded("minimal")).unwrap();
    let url = url(&bench.baseline);
    let args = ["--baseline", &url, "--insecure", "--count=1", "--reviews", &bench.path("reviews/review")];
    assert_exit(&run(&args).await, 0, &["1 review: all answered"]);
}

#[tokio::test]
async fn certificates_are_checked_and_presented() {
    let options = || Options { require_client_cert: true, ..Options::default() };
    let bench =
        Bench::of(Server::start(Options::default()).await, Server::start(options()).await, &["minimal"]);
    bench.candidate.ca.client().write(bench.dir.path());
    let ([baseline, candidate], ca) = (bench.urls(), bench.path("ca.crt"));
    let (cert, key, reviews) = (bench.path("tls.crt"), bench.path("tls.key"), bench.path("reviews"));
    fs::write(bench.path("other.crt"), bench.candidate.ca.pem()).unwrap();
    let other = bench.path("other.crt");
    for (url, args, code, part) in [
        (&baseline, vec![], 1, "give --ca-file with the webhooks' authorities, or --insecure"),
        (&baseline, vec!["--ca-file", &ca], 0, "all answered"),
        (&baseline, vec!["--ca-file", &other], 1, "TLS handshake: invalid peer certificate"),
        (&baseline, vec!["--ca-file", "/nowhere"], 1, "--ca-file: want certificates in PEM: /nowhere"),
        (&baseline, vec!["--insecure"], 0, "all answered"),
        (
            &baseline,
            vec!["--ca-file", &ca, "--insecure"],
            1,
            "--ca-file and --insecure contradict each other",
        ),
        (&candidate, vec!["--ca-file", &ca], 1, "CertificateRequired"),
        (
            &candidate,
            vec!["--ca-file", &ca, "--client-cert-file", &cert, "--client-key-file", &key],
            0,
            "all answered",
        ),
        (&candidate, vec!["--insecure", "--client-cert-file", &cert], 1, "give both or neither"),
        (
            &candidate,
            vec!["--insecure", "--client-cert-file", &key, "--client-key-file", &key],
            1,
            "--client-cert-file: want a certificate chain in PEM: ",
        ),
    ] {
        let rest = ["--baseline", url, "--reviews", &reviews, "--count=2"];
        let output = run(&[&rest[..], &args].concat()).await;
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert_exit(&output, code, &[part]);
    }
}

#[tokio::test]
async fn contradicting_flags_are_usage_errors() {
    let one = ["--reviews=x", "--insecure", "--baseline=https://x"];
    for (args, part) in [
        (
            vec!["--reviews=x", "--insecure"],
            "--baseline <URL>|--baseline-service <NAMESPACE/NAME>|--candidate <URL>",
        ),
        (vec!["--baseline=https://x", "--insecure"], "--reviews"),
        (vec!["--baseline=http://x", "--reviews=x"], "a webhook's URL is https://host"),
        ([&one[..], &["--count=1", "--duration=1s"]].concat(), "cannot be used with"),
        ([&one[..], &["--max-ratio=1.1"]].concat(), "--candidate"),
        ([&one[..], &["--candidate=https://y", "--max-ratio=0"]].concat(), "a number above zero"),
        ([&one[..], &["--concurrency=0"]].concat(), "1..=1000"),
        ([&one[..], &["--count=0"]].concat(), "--count"),
        ([&one[..], &["--baseline-service=a/b"]].concat(), "cannot be used with"),
    ] {
        assert_exit(&run(&args).await, 2, &[part]);
    }
}
