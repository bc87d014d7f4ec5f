//! The certificate controller: observes both objects, serves the newest leaf that is covered, and does the next step.
//!
//! Every replica runs it; there is no leader. A write of the Secret carries the resourceVersion that it is based on, so
//! one of several concurrent writes succeeds, and the other replicas read the Secret again. Before a replica patches
//! the configuration it reads the Secret once more, and the patch applies only to the observed version of the
//! configuration. So no replica, however late, publishes the authorities of a Secret that has been replaced.

use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;
use tokio::{sync::watch, time::sleep};
use tracing::{debug, info, warn};

use super::{
    authority::CannotSign,
    failures::{Failures, MAX_PAUSE, Operation, WatchFailures},
    observed_secret::ObservedSecret,
    plan::{Rotation, Situation, Step},
    policy::Policy,
    publication::{self, Publication},
    repair_limiter::RepairLimiter,
    secret::SecretContents,
    serving::{Served, Serving},
};
use crate::{
    kube::{
        call::CallError,
        clock::Clock,
        object::{self, Object, Observed},
    },
    metrics::{SelfManagedMetrics, TlsMetrics},
    tls::Clients,
};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// The longest sleep, since the API server's clock may be set.
const MAX_SLEEP: Duration = Duration::from_secs(60 * 60);

/// The shortest sleep: certificates count whole seconds.
const MIN_SLEEP: Duration = Duration::from_millis(50);

/// When to try again to serve a certificate that could not be served: the client authorities may have been repaired.
const SERVE_AGAIN: Duration = Duration::from_secs(5);

/// How many repairs of the `caBundle` are made at once: until it is repaired, kube-apiserver can't call any replica.
const REPAIRS_AT_ONCE: u32 = 10;

/// The objects and the certificate that the controller manages.
#[derive(Debug)]
pub struct ControllerConfig {
    /// The namespace of the Secret and the Service.
    pub namespace: String,
    /// The Secret.
    pub secret: String,
    /// The MutatingWebhookConfiguration.
    pub configuration: String,
    /// The names and lifetimes of certificates.
    pub policy: Policy,
    /// Requirements for clients.
    pub clients: Clients,
}

/// Why a step failed.
#[derive(Debug, Error)]
enum StepError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Sign(#[from] CannotSign),
}

type StepResult<T> = Result<T, (Operation, StepError)>;

fn failed<E: Into<StepError>>(operation: Operation) -> impl FnOnce(E) -> (Operation, StepError) {
    move |error| (operation, error.into())
}

/// Manages the certificate.
pub struct Controller {
    secret: Object,
    configuration: Object,
    secret_sender: watch::Sender<Observed>,
    configuration_sender: watch::Sender<Observed>,
    /// The objects as the next step is decided on.
    observed_secret: ObservedSecret,
    observed_configuration: Observed,
    policy: Policy,
    clock: Clock,
    published: Publication,
    /// The version of the Secret whose authorities this replica published last.
    published_version: Option<String>,
    bundle_repairs: RepairLimiter,
    serving: Serving,
    metrics: SelfManagedMetrics,
}

impl Controller {
    /// A controller that has not read its objects yet.
    pub fn new(client: &kube::Client, config: ControllerConfig, metrics: &TlsMetrics) -> Self {
        let ControllerConfig { namespace, secret, configuration, policy, clients } = config;
        let clock = Clock::default();
        let object = |collection, name| Object {
            client: client.clone(),
            collection,
            name,
            clock: Some(clock.clone()),
        };
        let serving = Serving::new(clients, metrics.clone());
        let metrics = metrics.self_managed.clone();
        let bundle_reverted = Operation::CaBundleReverted;
        Self {
            observed_secret: ObservedSecret::new(&secret, &metrics),
            observed_configuration: Observed::Unread,
            secret: object(format!("/api/v1/namespaces/{namespace}/secrets"), secret),
            configuration: object(CONFIGURATIONS.to_owned(), configuration),
            secret_sender: watch::Sender::default(),
            configuration_sender: watch::Sender::default(),
            policy,
            clock,
            published: Publication::default(),
            published_version: None,
            bundle_repairs: RepairLimiter::new(bundle_reverted, metrics.clone(), REPAIRS_AT_ONCE, MAX_PAUSE),
            serving,
            metrics,
        }
    }

    /// The served certificate.
    pub fn served(&self) -> Served {
        self.serving.served()
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        let (secret, configuration) = (self.secret.clone(), self.configuration.clone());
        let (secret_sender, configuration_sender) =
            (self.secret_sender.clone(), self.configuration_sender.clone());
        let failures = |operation| WatchFailures::new(operation, self.metrics.clone());
        let mut of_secret = failures(Operation::SecretWatch);
        let mut of_configuration = failures(Operation::ConfigurationWatch);
        tokio::join!(
            secret.follow(secret_sender, &mut of_secret),
            configuration.follow(configuration_sender, &mut of_configuration),
            self.reconcile(),
        );
    }

    async fn reconcile(&mut self) {
        let mut secret = self.secret_sender.subscribe();
        let mut configuration = self.configuration_sender.subscribe();
        let mut clock = self.clock.settings();
        let mut failures = Failures::new(MAX_PAUSE, &self.metrics);
        loop {
            clock.mark_unchanged();
            self.observed_secret.take(secret.borrow_and_update().clone());
            self.take_configuration(configuration.borrow_and_update().clone());
            let must_serve_again = self.serve();
            let pause = match self.step().await {
                Ok(pause) => {
                    failures.over();
                    pause
                }
                Err((operation, error)) => {
                    self.metrics.failed(operation);
                    failures.next(operation, &error)
                }
            };
            let pause = if must_serve_again { pause.min(SERVE_AGAIN) } else { pause };
            let pause = self.settle_repairs().map_or(pause, |settled| pause.min(settled));
            tokio::select! {
                _ = secret.changed() => {}
                _ = configuration.changed() => {}
                _ = clock.changed() => {}
                () = sleep(pause) => {}
            }
        }
    }

    fn take_configuration(&mut self, configuration: Observed) {
        self.published.observe(configuration.object(), Instant::now());
        if configuration == Observed::Absent && self.observed_configuration != Observed::Absent {
            warn!(name = self.configuration.name, "the webhook configuration does not exist");
        }
        self.observed_configuration = configuration;
    }

    /// Serves the newest leaf that is covered. Returns whether that failed and must be tried again.
    fn serve(&mut self) -> bool {
        let (secret, now) = (&self.observed_secret, self.clock.now());
        let leaf = secret.contents().and_then(|contents| contents.leaf.as_ref());
        let must_serve_again = self.serving.offer(leaf, &self.published, &self.policy, now);
        let observed = (secret.observed(), &self.observed_configuration);
        let lost = secret.not_ready_reason();
        self.serving.update_readiness(observed, lost, &self.published, &self.policy, now);
        must_serve_again
    }

    /// Ends the counts of repairs after a calm while; returns when to look again.
    fn settle_repairs(&mut self) -> Option<Duration> {
        let now = Instant::now();
        [self.observed_secret.settle(now), self.bundle_repairs.settle(now)].into_iter().flatten().min()
    }

    /// Does the next step and returns how long to sleep.
    async fn step(&mut self) -> StepResult<Duration> {
        let now = self.clock.now();
        let is_unread = self.observed_configuration == Observed::Unread;
        if is_unread || self.observed_secret.observed().object().is_none() {
            return Ok(self.sleep(now + MAX_SLEEP, now));
        }
        let (contents, published, instant) =
            (self.observed_secret.contents(), &self.published, Instant::now());
        match (Situation { contents, published, now, instant }).next(&self.policy) {
            Step::Wait(until) => Ok(self.sleep(until, now)),
            Step::Publish => self.publish().await.map_err(failed(Operation::Publish)),
            Step::Rotate(rotation) => {
                debug!(?rotation, "next step");
                if let Err(pause) = self.observed_secret.permit_write(instant) {
                    return Ok(pause);
                }
                let next = self.observed_secret.next(rotation, &self.policy, now);
                if let Some(next) = next.map_err(failed(Operation::Sign))? {
                    let written = self.write(next, rotation).await;
                    written.map_err(failed(Operation::SecretUpdate))?;
                }
                Ok(Duration::ZERO)
            }
        }
    }

    fn sleep(&self, until: SystemTime, now: SystemTime) -> Duration {
        let until = self.serving.expires().filter(|&expires| expires > now).map_or(until, |at| at.min(until));
        until.duration_since(now).unwrap_or_default().clamp(MIN_SLEEP, MAX_SLEEP)
    }

    async fn write(&mut self, next: SecretContents, rotation: Rotation) -> Result<(), CallError> {
        let based_on = self.observed_secret.observed().clone();
        let Some(secret) = based_on.object() else { return Ok(()) };
        let written = self.secret.put(&next.write_to(secret)).await;
        let written = written_or_newer(&self.secret, &based_on, written, &self.secret_sender).await?;
        let Some(written) = written else { return Ok(()) };
        let is_restored = self.observed_secret.remembers(&next);
        if !is_restored {
            self.metrics.rotated(rotation);
        }
        let leaf = next.leaf.as_ref().map(|leaf| leaf.certificate.expires());
        info!(
            authorities = next.authorities().count(),
            authority_expires = %humantime::format_rfc3339_seconds(next.newest.expires()),
            leaf_expires = leaf.map(|at| humantime::format_rfc3339_seconds(at).to_string()),
            "{}",
            if is_restored { "lost contents of the Secret written again" } else { rotation.message() }
        );
        self.observed_secret.wrote(next, &written);
        Ok(())
    }

    /// Patches the `caBundle`, unless the Secret has changed in the meantime.
    async fn publish(&mut self) -> Result<Duration, CallError> {
        let (Some(contents), Some(configuration)) =
            (self.observed_secret.contents(), self.observed_configuration.object())
        else {
            return Ok(MAX_SLEEP);
        };
        let secret = self.secret.get().await?;
        let version = secret.version().map(ToOwned::to_owned);
        if version.as_deref() != self.observed_secret.observed().version() {
            object::publish(&self.secret_sender, secret);
            return Ok(Duration::ZERO);
        }
        // A rotation never waits: only patches for the same Secret are repairs.
        if self.published_version == version {
            let name = &self.configuration.name;
            let error = format!("something else keeps overwriting the caBundle of {name}");
            if let Err(pause) = self.bundle_repairs.permit(&error, Instant::now()) {
                return Ok(pause);
            }
        }
        let patch = publication::patch(configuration, contents.authorities());
        let (object, observed) = (&self.configuration, &self.observed_configuration);
        let written = object.patch(&patch).await;
        if written_or_newer(object, observed, written, &self.configuration_sender).await?.is_some() {
            self.published_version = version;
            self.metrics.patches.inc();
            info!(name = object.name, authorities = contents.authorities().count(), "caBundle published");
        }
        Ok(Duration::ZERO)
    }
}

/// Sends the object that a write resulted in, and returns it. If another write came first, sends that one's result and
/// returns `None`.
async fn written_or_newer(
    object: &Object,
    based_on: &Observed,
    written: Result<Observed, CallError>,
    sender: &watch::Sender<Observed>,
) -> Result<Option<Observed>, CallError> {
    match written {
        Ok(written) => {
            object::publish_if_news(sender, written.clone());
            Ok(Some(written))
        }
        Err(error) if error.is_conflict() => {
            let newer = object.get().await?;
            if newer.version() == based_on.version() {
                return Err(error);
            }
            debug!(name = object.name, "another write came first");
            object::publish(sender, newer);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
