//! The whole server: CPU time per admission over kept-alive TLS, beside the floor, and latencies as a client sees them.

use std::{fs, process::Command, time::Duration};

use serde_json::Value;

use crate::{
    fixtures::{REVIEWS, Review},
    floor,
    process::Process,
    summary::{Line, Summary},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_eks-pod-identity-webhook");

/// Requests to each server, by the size of the review.
const COUNTS: [u64; 3] = [40_000, 30_000, 5_000];

/// How many times the floor's CPU time ours may be, by the size of the review.
const TARGETS: [f64; 3] = [1.25, 1.4, 1.6];

/// Measures every size, with a role and without.
pub(crate) fn run(summary: &mut Summary, short: bool) {
    let program = floor::build(short);
    for (role, targets) in [("annotated", TARGETS.map(Some)), ("unannotated", [None; 3])] {
        let dir = tempfile::tempdir().unwrap();
        let accounts = dir.path().join("accounts.yaml");
        fs::write(&accounts, account(role)).unwrap();
        let ours = Process::start(
            Command::new(PROGRAM)
                .args(["serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--tls-self-signed"])
                .args(["--log-format=json", "--service-accounts"])
                .arg(&accounts),
            r#""listen":""#,
        );
        let address = ours.ready.split('"').next().unwrap().to_owned();
        let floor = floor::start(&program, &[]);
        let servers = Servers { floor: &floor, ours: &ours, address };
        for ((review, count), target) in REVIEWS.into_iter().zip(COUNTS).zip(targets) {
            servers.measure(summary, review, if short { 50 } else { count }, role, target);
        }
    }
}

fn account(role: &str) -> String {
    let annotations = match role {
        "annotated" => "{eks.amazonaws.com/role-arn: 'arn:aws:iam::111122223333:role/payments-api'}",
        _ => "{}",
    };
    format!(
        "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: api, namespace: payments, annotations: {annotations}}}}}"
    )
}

struct Servers<'a> {
    floor: &'a Process,
    ours: &'a Process,
    address: String,
}

impl Servers<'_> {
    fn measure(&self, summary: &mut Summary, review: Review, count: u64, role: &str, target: Option<f64>) {
        let before = [self.floor.cpu(), self.ours.cpu()];
        let report = self.compare(review, count);
        let [floor, ours] = [self.floor.cpu() - before[0], self.ours.cpu() - before[1]]
            .map(|cpu: Duration| cpu.as_secs_f64() * 1e6 / count as f64);
        let ratio = ours / floor;
        summary.line(Line {
            name: format!("server CPU over the floor's, {role}, {}", review.size),
            figure: format!("{ratio:.2}× ({ours:.1} µs, floor {floor:.1} µs)"),
            target: target.map_or(String::new(), |target| format!("≤ {target}×")),
            ok: target.is_none_or(|target| ratio <= target),
        });
        let quantile = |side: &str, name: &str| report[side]["latencyMicroseconds"][name].as_f64().unwrap();
        for name in ["p50", "p90", "p99", "p99.9"] {
            let [ours, floor] = ["candidate", "baseline"].map(|side| quantile(side, name));
            summary.note(
                format!("latency {name}, {role}, {}", review.size),
                format!("{ours:.0} µs (floor {floor:.0} µs)"),
            );
        }
    }

    /// Sends the review to both in turn, by the program's own `compare`; its verdict is that the floor is not a webhook.
    fn compare(&self, review: Review, count: u64) -> Value {
        let path =
            format!("{}/tests/fixtures/admission-reviews/{}.json", env!("CARGO_MANIFEST_DIR"), review.name);
        let output = Command::new(PROGRAM)
            .args(["compare", "--insecure", "--output=json", "--concurrency=8", "--warm-up=0s"])
            .arg(format!("--baseline=https://{}", self.floor.ready))
            .arg(format!("--candidate=https://{}", self.address))
            .arg(format!("--count={count}"))
            .arg(format!("--reviews={path}"))
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(
            (&report["baseline"]["errors"], &report["candidate"]["errors"]),
            (&0.into(), &0.into()),
            "{report}"
        );
        report
    }
}
