//! The promise of the plan, in any order in which replicas look, act, lag behind and restart: every API server that lags by
//! at most the overlap trusts the authority of every leaf that a replica serves. If a leaf expires before it is renewed, no
//! call succeeds. Then the next leaf is signed as soon as its authority is published, and every API server that has seen
//! the publication trusts it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

use eks_pod_identity_webhook::tls::self_managed::{
    authority::Leaf,
    certificate::Certificate,
    plan::{Rotation, Situation, Step},
    policy::Policy,
    publication::{self, Publication},
    secret::{Reading, SecretContents},
};
use proptest::prelude::*;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};

const OVERLAP: u64 = 5;
const LEAF: u64 = 40;
const AUTHORITY: u64 = 120;

/// Both objects, each with what it was, second by second.
struct Cluster {
    now: u64,
    start: (SystemTime, Instant),
    revision: u64,
    secret: Value,
    configuration: Value,
    /// The bundles of the last seconds, any of which some API server may still have.
    bundles: VecDeque<Vec<Certificate>>,
    /// The leaves that were signed when there was no other any more, and when.
    recoveries: Vec<(Certificate, u64)>,
}

struct Replica {
    policy: Policy,
    secret: Value,
    configuration: Value,
    published: Publication,
    served: Option<Leaf>,
    remembered: Option<SecretContents>,
}

impl Cluster {
    fn new() -> Self {
        Self {
            now: 0,
            start: (SystemTime::now(), Instant::now()),
            revision: 1,
            secret: json!({"metadata": {"resourceVersion": "0"}}),
            configuration: json!({"metadata": {"resourceVersion": "0"}, "webhooks": [{"clientConfig": {}}]}),
            bundles: VecDeque::new(),
            recoveries: Vec::new(),
        }
    }

    fn time(&self) -> SystemTime {
        self.start.0 + Duration::from_secs(self.now)
    }

    fn instant(&self) -> Instant {
        self.start.1 + Duration::from_secs(self.now)
    }

    fn stored(&self) -> Option<SecretContents> {
        Reading::of(&self.secret).contents
    }

    fn bundle(&self) -> Vec<Certificate> {
        let text = self.configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap_or_default();
        Certificate::parse_pem(&base64_simd::STANDARD.decode_to_vec(text).unwrap()).unwrap()
    }

    /// Which of the last bundles have to trust a leaf: those from before a recovery can't.
    fn bundles_since(&self, leaf: &Certificate) -> impl Iterator<Item = &Vec<Certificate>> {
        let recovery = self.recoveries.iter().find(|(recovered, _)| recovered == leaf);
        let age = recovery.map_or(usize::MAX, |(_, at)| (self.now - at) as usize);
        self.bundles.iter().take(age)
    }

    fn pass_a_second(&mut self) {
        self.bundles.push_front(self.bundle());
        self.bundles.truncate(OVERLAP as usize + 1);
        self.now += 1;
    }

    /// A write that is based on a version; whether it took effect.
    fn write(&mut self, based_on: &Value, is_secret: bool, mut object: Value) -> bool {
        let current = if is_secret { &mut self.secret } else { &mut self.configuration };
        if current["metadata"] != based_on["metadata"] {
            return false;
        }
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        *current = object;
        true
    }
}

impl Replica {
    fn new(jitter: f64) -> Self {
        let policy = Policy {
            names: Policy::names("webhook", "ns", "cluster.local"),
            authority_validity: Duration::from_secs(AUTHORITY),
            leaf_validity: Duration::from_secs(LEAF),
            overlap: Duration::from_secs(OVERLAP),
            jitter,
        };
        let (served, remembered, published) = (None, None, Publication::default());
        Self { policy, secret: json!({}), configuration: json!({}), published, served, remembered }
    }

    fn look(&mut self, cluster: &Cluster, at_secret: bool, at_configuration: bool) {
        if at_secret {
            self.secret = cluster.secret.clone();
            self.remembered = cluster.stored().or(self.remembered.take());
        }
        if at_configuration {
            self.configuration = cluster.configuration.clone();
            self.published.observe(Some(&self.configuration), cluster.instant());
        }
        let leaf = Reading::of(&self.secret).contents.and_then(|stored| stored.leaf);
        let is_covered = |leaf: &Leaf| self.published.covers(&leaf.certificate, &self.policy, cluster.time());
        self.served = leaf.filter(is_covered).or(self.served.take());
    }

    /// The next step, on what was seen, however long ago.
    fn act(&self, cluster: &mut Cluster) {
        if self.secret == json!({}) || self.configuration == json!({}) {
            return;
        }
        let (now, instant) = (cluster.time(), cluster.instant());
        let stored = Reading::of(&self.secret).contents;
        let situation = Situation { contents: stored.as_ref(), published: &self.published, now, instant };
        let old = stored.as_ref().or(self.remembered.as_ref());
        let next = match situation.next(&self.policy) {
            Step::Wait(until) => {
                assert!(until > now, "a wait that is over at once would never end");
                return;
            }
            Step::Publish => {
                // The Secret is looked at again, and is to be the one that was seen.
                if cluster.secret["metadata"] == self.secret["metadata"] {
                    let patch = publication::patch(&self.configuration, old.unwrap().authorities());
                    let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
                    let mut patched = cluster.configuration.clone();
                    if json_patch::patch(&mut patched, &patch).is_ok() {
                        cluster.write(&self.configuration, false, patched);
                    }
                }
                return;
            }
            Step::Rotate(Rotation::Authority) => {
                SecretContents::with_new_authority(old, &self.policy, now).unwrap()
            }
            Step::Rotate(Rotation::Leaf) => {
                let stored = stored.unwrap();
                let next = stored.clone().with_new_leaf(&self.policy, now).unwrap().unwrap();
                if stored.leaf.is_none_or(|old| old.certificate.has_expired(now)) {
                    let signed = next.leaf.as_ref().unwrap().certificate.clone();
                    cluster.recoveries.push((signed, cluster.now));
                }
                next
            }
            Step::Rotate(Rotation::Drop) => stored.unwrap().without_expired(&self.policy, now),
        };
        cluster.write(&self.secret, true, next.write_to(&self.secret));
    }
}

/// Which leaves were found to be trusted by which bundles: to ask once is enough, since no authority expires before
/// its leaves do.
type Trusted = Vec<(Certificate, Vec<Certificate>)>;

/// What an API server would say to what is served, whichever of the last bundles it has.
fn assert_trusted(cluster: &Cluster, replica: &Replica, trusted: &mut Trusted) {
    let Some(Leaf { certificate: leaf, .. }) = &replica.served else { return };
    if leaf.has_expired(cluster.time()) {
        return;
    }
    let name = [ServerName::try_from("webhook.ns.svc").unwrap()];
    for bundle in cluster.bundles_since(leaf) {
        if trusted.iter().rev().any(|(known, by)| known == leaf && by == bundle) {
            continue;
        }
        let authorities = bundle.iter().map(Certificate::der);
        assert!(
            leaf.is_trusted_by(authorities, &name, cluster.time()),
            "at {} s a served leaf is not trusted",
            cluster.now
        );
        trusted.push((leaf.clone(), bundle.clone()));
    }
}

#[derive(Clone, Debug)]
enum Event {
    Second,
    Look { replica: usize, secret: bool, configuration: bool },
    Act { replica: usize },
    Restart { replica: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let replica = 0..3_usize;
    prop_oneof![
        6 => Just(Event::Second),
        6 => (replica.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(replica, secret, configuration)| Event::Look { replica, secret, configuration }),
        6 => replica.clone().prop_map(|replica| Event::Act { replica }),
        1 => replica.prop_map(|replica| Event::Restart { replica }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn served_certificates_are_always_trusted(events in prop::collection::vec(event(), 300..600)) {
        let mut cluster = Cluster::new();
        let mut replicas = [0.0, 0.5, 1.0].map(Replica::new);
        // The first start, before any leaf is served.
        while cluster.bundles.len() < OVERLAP as usize || replicas[0].served.is_none() {
            replicas[0].look(&cluster, true, true);
            replicas[0].act(&mut cluster);
            cluster.pass_a_second();
        }
        for _ in 0..OVERLAP {
            cluster.pass_a_second();
        }
        let mut trusted = Trusted::new();
        for event in events {
            match event {
                Event::Second => cluster.pass_a_second(),
                Event::Look { replica, secret, configuration } => {
                    replicas[replica].look(&cluster, secret, configuration);
                }
                Event::Act { replica } => replicas[replica].act(&mut cluster),
                Event::Restart { replica } => replicas[replica] = Replica::new(replicas[replica].policy.jitter),
            }
            for replica in &replicas {
                assert_trusted(&cluster, replica, &mut trusted);
            }
        }
    }
}

#[test]
fn authorities_come_and_go_in_time() {
    let mut cluster = Cluster::new();
    let mut replica = Replica::new(0.0);
    let (mut most, mut seen) = (0, Vec::new());
    for _ in 0..4 * AUTHORITY {
        for _ in 0..4 {
            replica.look(&cluster, true, true);
            replica.act(&mut cluster);
        }
        replica.look(&cluster, true, true);
        let stored = cluster.stored().unwrap();
        assert!(!stored.newest.has_expired(cluster.time()));
        assert!(!replica.served.as_ref().unwrap().certificate.has_expired(cluster.time()));
        most = most.max(stored.authorities().count());
        if !seen.contains(&stored.newest) {
            seen.push(stored.newest);
        }
        cluster.pass_a_second();
    }
    assert_eq!(most, 2);
    assert_eq!(seen.len() as u64, 4 * 3 / 2);
}

#[test]
fn replicas_that_were_given_different_cluster_domains_share_one_leaf() {
    let mut cluster = Cluster::new();
    let mut replicas = [0.0, 0.0].map(Replica::new);
    replicas[1].policy.names = Policy::names("webhook", "ns", "example.internal");
    for _ in 0..10 {
        for replica in &mut replicas {
            replica.look(&cluster, true, true);
            replica.act(&mut cluster);
        }
    }
    let stored = cluster.stored().unwrap();
    assert_eq!(stored.retired, []);
    assert!(replicas.iter().all(|replica| replica.served == stored.leaf));
}
