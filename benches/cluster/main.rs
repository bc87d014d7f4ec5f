//! Pods created through a real kube-apiserver: how many a second, how long each takes, and what the webhook costs, at 1 to
//! 200 clients, called through a Service (HTTP/1.1) and at a loopback URL (HTTP/2 where the webhook offers it).
//!
//! Needs `KUBEBUILDER_ASSETS`, as tests/e2e does; without it, it reports that it was skipped. `PEER_WEBHOOK` names the
//! binary of another webhook, called with the flags of amazon-eks-pod-identity-webhook, to measure beside ours in the
//! same run. Clients, API server, etcd and webhook share the machine, so only what one run measured can be compared.

#![allow(missing_docs, reason = "a program, not a library")]
#![allow(clippy::unwrap_used, reason = "a measurement that can't go on ends")]
#![allow(dead_code, unused_imports, unused_macros, reason = "it uses a part of what tests/e2e has")]

#[path = "../../tests/e2e/api.rs"]
mod api;
#[path = "../../tests/e2e/control_plane.rs"]
mod control_plane;
#[path = "../../tests/harness/mod.rs"]
mod harness;
mod load;
#[path = "../../tests/e2e/process.rs"]
mod process;
#[path = "../summary.rs"]
mod summary;
mod support;
mod webhook;

use std::{env, path::PathBuf, process::ExitCode, time::Duration};

use self::{
    control_plane::ControlPlane,
    load::{Load, Measured},
    summary::{Line, Summary},
    webhook::{Route, Webhook},
};

const CLIENTS: [usize; 4] = [1, 8, 50, 200];

/// How long each combination of webhook, route and clients is measured.
const SECONDS: u64 = 5;

#[tokio::main]
async fn main() -> ExitCode {
    if control_plane::assets().is_err() {
        println!("\nSkipped: KUBEBUILDER_ASSETS names no control plane (docs/testing.md).");
        return ExitCode::SUCCESS;
    }
    let seconds = if env::args().any(|arg| arg == "--short") { 1 } else { SECONDS };
    let plane = ControlPlane::start("bench").await;
    println!("kube-apiserver {}, {seconds} s for each row\n", plane.version().full);
    let mut summary = Summary::begin();
    let load = Load::prepare(&plane).await;
    let time = Duration::from_secs(seconds);

    let mut bare = Vec::new();
    for clients in CLIENTS {
        bare.push(load.run(clients, time, None).await);
    }
    report(&mut summary, "no webhook", &bare, None);
    let peer = match env::var_os("PEER_WEBHOOK").filter(|path| !path.is_empty()) {
        Some(path) => Some(Webhook::start_peer(&plane, &PathBuf::from(path)).await),
        None => None,
    };
    let ours = Webhook::start_ours(&plane).await;
    for route in [Route::Service, Route::Loopback] {
        let mut rounds = Vec::new();
        for webhook in peer.iter().chain([&ours]) {
            webhook.register(&plane, route).await;
            let mut measured = Vec::new();
            for clients in CLIENTS {
                measured.push(load.run(clients, time, Some(webhook)).await);
            }
            webhook.unregister(&plane).await;
            rounds.push((webhook.name, measured));
        }
        let peers = peer.as_ref().map(|_| rounds[0].1.clone());
        for (name, measured) in &rounds {
            let beside = peers.as_deref().filter(|_| *name == ours.name);
            report(&mut summary, &format!("{name}, {route}"), measured, beside);
        }
    }
    summary.end()
}

/// What is promised of this webhook at a number of clients, by route.
fn targets(of: &str, clients: usize) -> (Option<f64>, Option<f64>, Option<f64>) {
    match (of, clients) {
        ("this webhook, loopback", 200) => (Some(70.0), Some(0.25), Some(1.1)),
        ("this webhook, loopback", 1) => (Some(50.0), None, None),
        ("this webhook, Service", 200) => (None, Some(0.22), None),
        _ => (None, None, None),
    }
}

/// Rows of which less is better, as benches/compare wants them.
fn report(summary: &mut Summary, of: &str, measured: &[Measured], peer: Option<&[Measured]>) {
    for (index, (clients, now)) in CLIENTS.into_iter().zip(measured).enumerate() {
        let what = |what: &str| {
            format!("{what}, {of}, {clients} {}", if clients == 1 { "client" } else { "clients" })
        };
        let (cpu_target, cpu_ratio_target, rate_target) = targets(of, clients);
        let peer = peer.map(|peer| &peer[index]);
        let pace = peer.map(|peer| now.pods_per_second() / peer.pods_per_second());
        summary.line(Line {
            name: what("time per pod created"),
            figure: format!(
                "{:.0} µs ({:.0} pods/s{})",
                1e6 / now.pods_per_second(),
                now.pods_per_second(),
                pace.map_or(String::new(), |pace| format!(", {pace:.2}× the peer's"))
            ),
            target: rate_target
                .filter(|_| pace.is_some())
                .map_or(String::new(), |target| format!("≥ {target}× the peer's")),
            ok: rate_target.zip(pace).is_none_or(|(target, pace)| pace >= target),
        });
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            summary
                .note(what(&format!("{name} of a pod create")), format!("{:.2} ms", now.latency(quantile)));
        }
        summary.note(what("CPU of kube-apiserver per pod"), format!("{:.0} µs", now.api_server_cpu()));
        let Some(webhook) = &now.webhook else { continue };
        let cpu = webhook.cpu_micros / now.pods();
        let ratio = peer.and_then(|peer| Some(cpu / (peer.webhook.as_ref()?.cpu_micros / peer.pods())));
        summary.line(Line {
            name: what("CPU of the webhook per admission"),
            figure: format!(
                "{cpu:.1} µs{}",
                ratio.map_or(String::new(), |ratio| format!(" ({ratio:.2}× the peer's)"))
            ),
            target: [
                cpu_target.map(|target| format!("≤ {target} µs")),
                cpu_ratio_target.filter(|_| ratio.is_some()).map(|target| format!("≤ {target}× the peer's")),
            ]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", "),
            ok: cpu_target.is_none_or(|target| cpu <= target)
                && cpu_ratio_target.zip(ratio).is_none_or(|(target, ratio)| ratio <= target),
        });
        summary.note(what("context switches per admission"), format!("{:.2}", webhook.switches / now.pods()));
        if let Some(handshakes) = webhook.connections {
            summary.note(what("TLS handshakes per admission"), format!("{:.3}", handshakes / now.pods()));
        }
    }
}
