//! The Service that the API server calls, and its endpoints.

use std::net::{IpAddr, SocketAddr};

use hyper::Uri;
use serde_json::Value;

use super::Read;
use crate::{
    kube::fields::{flag, list, number, text},
    report::Finding,
};

const INSTALL: &str = "install the webhook, or correct clientConfig.service of the webhook configuration";

/// The Service, and whether it has the port that is called.
pub(crate) fn service(place: (&str, &str, u64), service: &Read<Value>) -> Finding {
    const CHECK: &str = "service";
    const RULE: &str = "{apiGroups: [\"\"], resources: [services], verbs: [get]}";
    let (namespace, name, port) = place;
    let what = format!("{namespace}/{name}");
    let service = match service {
        Ok(service) => service,
        Err(unread) => return unread.finding(CHECK, &what, RULE, INSTALL),
    };
    let mut ports = list(service, "/spec/ports").iter();
    if text(service, "/spec/type") == "ExternalName" || ports.any(|one| number(one, "/port") == Some(port)) {
        return Finding::pass(CHECK, format!("{what}, port {port}"));
    }
    Finding::fail(CHECK, format!("{what} has no port {port}"), INSTALL)
}

/// The URL that is called instead of a Service.
pub(crate) fn url(url: &str) -> Finding {
    const CHECK: &str = "service";
    let host = url.parse::<Uri>().ok().and_then(|url| url.host().map(ToOwned::to_owned)).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    if host == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
        return Finding::skip(
            CHECK,
            format!("each API server calls {url}, a port of its own node"),
            "compare the DaemonSet's pods with the control-plane nodes, and give --service-account: then an API server tries it",
        );
    }
    Finding::skip(
        CHECK,
        format!("the API server calls {url} instead of a Service"),
        "look at its certificate with openssl s_client, or give --service-account",
    )
}

/// The ready endpoints of a Service, from its EndpointSlices; and where they listen.
pub(crate) fn endpoints(place: (&str, &str), slices: &Read<Value>) -> (Finding, Vec<SocketAddr>) {
    const CHECK: &str = "endpoints";
    const RULE: &str = "{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list]}";
    let (namespace, name) = place;
    let what = format!("{namespace}/{name}");
    let slices = match slices {
        Ok(slices) => list(slices, "/items"),
        Err(unread) => return (unread.finding(CHECK, &what, RULE, INSTALL), Vec::new()),
    };
    // A Service with both families has each replica in one slice of either.
    let (ipv4, ipv6): (Vec<_>, Vec<_>) = slices.iter().flat_map(ready_of).partition(SocketAddr::is_ipv4);
    let ready = if ipv6.len() > ipv4.len() { ipv6 } else { ipv4 };
    let finding = match ready.len() {
        0 => {
            let remedy =
                format!("kubectl get pods -n {namespace}; docs/runbook.md, PodIdentityWebhookNotReady");
            Finding::fail(CHECK, format!("{what}: no replica is ready"), remedy)
        }
        1 => Finding::warn(
            CHECK,
            format!("{what}: one replica is ready"),
            "run two or more: with one, pods get no answer while it restarts",
        ),
        count => Finding::pass(CHECK, format!("{what}: {count} replicas are ready")),
    };
    (finding, ready)
}

/// The ready addresses of a slice, with the port that is called `webhook`, or its first.
fn ready_of(slice: &Value) -> Vec<SocketAddr> {
    let ports = list(slice, "/ports");
    let port = ports.iter().find(|port| text(port, "/name") == "webhook").or(ports.first());
    let port = port.and_then(|port| number(port, "/port")).and_then(|port| u16::try_from(port).ok());
    let endpoints = list(slice, "/endpoints").iter();
    let ready = endpoints.filter(|endpoint| flag(endpoint, "/conditions/ready") != Some(false));
    let addresses = ready.filter_map(|endpoint| text(endpoint, "/addresses/0").parse::<IpAddr>().ok());
    addresses.map(|address| SocketAddr::new(address, port.unwrap_or(443))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{commands::doctor::checks::Unread, report::Level};

    #[test]
    fn the_port_that_is_called_has_to_be_there() {
        let of = |spec: Value| service(("ns", "hook", 443), &Ok(json!({"spec": spec}))).level;
        assert_eq!(of(json!({"ports": [{"port": 9090}, {"port": 443}]})), Level::Pass);
        assert_eq!(of(json!({"ports": [{"port": 8443}]})), Level::Fail);
        assert_eq!(service(("ns", "hook", 443), &Err(Unread::Missing)).found, "ns/hook: there is none");
    }

    #[test]
    fn a_url_on_loopback_is_a_port_of_each_api_server_s_node() {
        for (address, is_own_node) in [
            ("https://127.0.0.1:18443/mutate", true),
            ("https://[::1]:18443/mutate", true),
            ("https://localhost/mutate", true),
            ("https://hook.example.com/mutate", false),
            ("", false),
        ] {
            assert_eq!(url(address).found.contains("its own node"), is_own_node, "{address}");
        }
    }

    fn endpoint(address: &str, ready: Value) -> Value {
        json!({"addresses": [address], "conditions": {"ready": ready}})
    }

    fn slice(endpoints: &[Value]) -> Value {
        let ports = json!([{"name": "admin", "port": 9090}, {"name": "webhook", "port": 8443}]);
        json!({"ports": ports, "endpoints": endpoints})
    }

    fn found(slices: &[Value]) -> (Level, Vec<String>) {
        let place = ("ns", "hook");
        let (finding, addresses) =
            crate::commands::doctor::checks::endpoints(place, &Ok(json!({"items": slices})));
        (finding.level, addresses.iter().map(SocketAddr::to_string).collect())
    }

    #[test]
    fn only_what_is_ready_counts() {
        let [one, two, away] = [
            endpoint("fd00::1", json!(true)),
            endpoint("fd00::2", Value::Null),
            endpoint("fd00::3", json!(false)),
        ];
        assert_eq!(found(&[slice(std::slice::from_ref(&away))]), (Level::Fail, Vec::new()));
        assert_eq!(found(&[slice(&[one.clone(), away.clone()])]).0, Level::Warn);
        let addresses = ["[fd00::1]:8443", "[fd00::2]:8443"].map(str::to_owned).to_vec();
        assert_eq!(found(&[slice(&[one, two, away])]), (Level::Pass, addresses));
    }

    #[test]
    fn a_replica_with_an_address_of_each_family_counts_once() {
        let of = |addresses: &[&str]| {
            slice(&addresses.iter().map(|address| endpoint(address, json!(true))).collect::<Vec<_>>())
        };
        let one = found(&[of(&["fd00::1"]), of(&["10.0.0.1"])]);
        assert_eq!(one, (Level::Warn, vec!["10.0.0.1:8443".to_owned()]));
        let two = found(&[of(&["10.0.0.1", "10.0.0.2"]), of(&["fd00::1", "fd00::2"])]);
        assert_eq!((two.0, two.1.len()), (Level::Pass, 2));
        // A large Service has several slices of one family.
        assert_eq!(found(&[of(&["10.0.0.1"]), of(&["10.0.0.2"])]).0, Level::Pass);
    }
}
