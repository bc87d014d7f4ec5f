//! The loop that keeps the certificate: looks, serves the newest leaf that is covered, does the next step.
//!
//! Every replica runs it and none leads. A write of the Secret carries the resourceVersion that it is based on, so of
//! several one takes effect, and who comes late looks again. Before a patch of the configuration the Secret is read
//! once more, and the patch holds only for the configuration as it was seen before that. So no replica, however late,
//! publishes the authorities of a Secret that has been replaced.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::{sync::watch, time::sleep};
use tracing::{debug, info, warn};

use super::{
    authority::CannotSign,
    failures::{Failures, WatchFailures},
    plan::{Situation, Step},
    policy::Policy,
    publication::{self, Publication},
    repair_limiter::Quarrel,
    secret::{Reading, Stored},
    serving::{Certified, Serving},
};
use crate::{
    kube::{
        clock::Clock,
        object::{self, CallError, Object, Seen},
    },
    metrics::{Rotation, SelfManagedMetrics, SelfManagedOperation, TlsMetrics},
    tls::Clients,
};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// The longest sleep, since the API server's clock may be set.
const MAX_SLEEP: Duration = Duration::from_secs(60 * 60);

/// The shortest: certificates count whole seconds.
const MIN_SLEEP: Duration = Duration::from_millis(50);

/// When a certificate is offered again that could not be served: someone may put the client authorities right.
const SERVE_AGAIN: Duration = Duration::from_secs(5);

/// Which objects are kept, and how.
#[derive(Debug)]
pub struct Kept {
    /// The namespace of the Secret and the Service.
    pub namespace: String,
    /// The Secret.
    pub secret: String,
    /// The MutatingWebhookConfiguration.
    pub configuration: String,
    /// For whom certificates are made, and how they are rotated.
    pub policy: Policy,
    /// Who must have signed the client's certificate.
    pub clients: Clients,
}

/// Why a step could not be done.
#[derive(Debug, Error)]
enum StepError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Sign(#[from] CannotSign),
}

type StepResult<T> = Result<T, (SelfManagedOperation, StepError)>;

fn failed<E: Into<StepError>>(
    operation: SelfManagedOperation,
) -> impl FnOnce(E) -> (SelfManagedOperation, StepError) {
    move |error| (operation, error.into())
}

/// Keeps the certificate.
pub struct Keeper {
    secret: Object,
    configuration: Object,
    secret_seen: watch::Sender<Seen>,
    configuration_seen: watch::Sender<Seen>,
    /// The objects as the next step is decided on.
    seen: (Seen, Seen),
    policy: Policy,
    clock: Clock,
    /// What the Secret holds.
    stored: Option<Stored>,
    /// What it held when it last held anything.
    remembered: Option<Stored>,
    published: Publication,
    quarrel: Quarrel,
    serving: Serving,
    metrics: SelfManagedMetrics,
}

impl Keeper {
    /// One that has not looked yet.
    pub fn new(client: &kube::Client, kept: Kept, metrics: &TlsMetrics) -> Self {
        let Kept { namespace, secret, configuration, policy, clients } = kept;
        let clock = Clock::default();
        let object = |collection, name| Object {
            client: client.clone(),
            collection,
            name,
            clock: Some(clock.clone()),
        };
        Self {
            secret: object(format!("/api/v1/namespaces/{namespace}/secrets"), secret),
            configuration: object(CONFIGURATIONS.to_owned(), configuration),
            secret_seen: watch::Sender::default(),
            configuration_seen: watch::Sender::default(),
            seen: (Seen::Unread, Seen::Unread),
            policy,
            clock,
            stored: None,
            remembered: None,
            published: Publication::default(),
            quarrel: Quarrel::default(),
            serving: Serving::new(clients, metrics.clone()),
            metrics: metrics.self_managed.clone(),
        }
    }

    /// What is served, from now on.
    pub fn certified(&self) -> Certified {
        self.serving.certified()
    }

    /// Keeps it for ever.
    pub async fn run(mut self) {
        let (secret, configuration) = (self.secret.clone(), self.configuration.clone());
        let (secret_seen, configuration_seen) = (self.secret_seen.clone(), self.configuration_seen.clone());
        let failures = |operation| WatchFailures::new(operation, self.metrics.clone());
        let mut of_secret = failures(SelfManagedOperation::SecretWatch);
        let mut of_configuration = failures(SelfManagedOperation::ConfigurationWatch);
        tokio::join!(
            secret.follow(secret_seen, &mut of_secret),
            configuration.follow(configuration_seen, &mut of_configuration),
            self.keep(),
        );
    }

    async fn keep(&mut self) {
        let mut secret = self.secret_seen.subscribe();
        let mut configuration = self.configuration_seen.subscribe();
        let mut clock = self.clock.settings();
        let mut failures = Failures::default();
        loop {
            clock.mark_unchanged();
            self.take_secret(secret.borrow_and_update().clone());
            self.take_configuration(configuration.borrow_and_update().clone());
            let leaf = self.stored.as_ref().and_then(|stored| stored.leaf.as_ref());
            let is_to_be_retried = self.serving.offer(leaf, &self.published, &self.policy, self.clock.now());
            self.serving.tell(&self.seen, &self.published, &self.policy, self.clock.now());
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
            let pause = if is_to_be_retried { pause.min(SERVE_AGAIN) } else { pause };
            tokio::select! {
                _ = secret.changed() => {}
                _ = configuration.changed() => {}
                _ = clock.changed() => {}
                () = sleep(pause) => {}
            }
        }
    }

    fn take_secret(&mut self, secret: Seen) {
        if secret == self.seen.0 {
            return;
        }
        let reading = secret.object().map(Reading::of);
        if secret == Seen::Absent {
            warn!(
                name = self.secret.name,
                "the certificate's Secret does not exist; what is served stays as it is. Create it, empty: by the \
                 chart (helm upgrade) or by kubectl create secret generic"
            );
        }
        self.seen.0 = secret;
        let Reading { mut stored, defects } = reading.unwrap_or_default();
        for defect in &defects {
            self.metrics.failed(SelfManagedOperation::SecretContent);
            warn!(
                name = self.secret.name,
                defect, "the certificate's Secret is damaged; that part is replaced"
            );
        }
        if let (Some(stored), Some(before), false) = (&mut stored, &self.remembered, defects.is_empty()) {
            stored.remember(before);
        }
        self.stored = stored;
        if let Some(stored) = &self.stored {
            self.metrics.authority_expiry.set(seconds(stored.newest.expires()));
            self.remembered = Some(stored.clone());
        }
    }

    fn take_configuration(&mut self, configuration: Seen) {
        self.published.observe(configuration.object(), Instant::now());
        if configuration == Seen::Absent && self.seen.1 != Seen::Absent {
            warn!(name = self.configuration.name, "the webhook configuration does not exist");
        }
        self.seen.1 = configuration;
    }

    /// Does what is to be done next; tells how long to rest.
    async fn step(&mut self) -> StepResult<Duration> {
        let now = self.clock.now();
        if self.seen.1 == Seen::Unread || self.seen.0.object().is_none() {
            return Ok(self.sleep(now + MAX_SLEEP, now));
        }
        let (published, instant) = (&self.published, Instant::now());
        let situation = Situation { stored: self.stored.as_ref(), published, now, instant };
        match situation.next(&self.policy) {
            Step::Wait(until) => return Ok(self.sleep(until, now)),
            Step::Publish => return self.publish().await.map_err(failed(SelfManagedOperation::Publish)),
            Step::Rotate(rotation) => {
                debug!(?rotation, "decided");
                let next = self.rotated(rotation, now).map_err(failed(SelfManagedOperation::Sign))?;
                if let Some(next) = next {
                    let written = self.write(&next, rotation).await;
                    written.map_err(failed(SelfManagedOperation::SecretUpdate))?;
                }
            }
        }
        Ok(Duration::ZERO)
    }

    fn sleep(&self, until: SystemTime, now: SystemTime) -> Duration {
        let until = self.serving.expires().filter(|&expires| expires > now).map_or(until, |at| at.min(until));
        until.duration_since(now).unwrap_or_default().clamp(MIN_SLEEP, MAX_SLEEP)
    }

    fn rotated(&self, rotation: Rotation, now: SystemTime) -> Result<Option<Stored>, CannotSign> {
        let (stored, policy) = (self.stored.as_ref(), &self.policy);
        match rotation {
            // If someone has emptied the Secret, what is served until the new leaf is goes on being covered.
            Rotation::Authority => {
                Stored::with_new_authority(stored.or(self.remembered.as_ref()), policy, now).map(Some)
            }
            Rotation::Leaf => stored.map_or(Ok(None), |stored| stored.with_new_leaf(policy, now)),
            Rotation::Drop => Ok(stored.map(|stored| stored.without_the_gone(policy, now))),
        }
    }

    async fn write(&self, next: &Stored, rotation: Rotation) -> Result<(), CallError> {
        let Seen::Present(secret) = &self.seen.0 else { return Ok(()) };
        let written = self.secret.put(&next.write_to(secret)).await;
        if !took_effect(&self.secret, &self.seen.0, written, &self.secret_seen).await? {
            return Ok(());
        }
        self.metrics.rotated(rotation);
        let leaf = next.leaf.as_ref().map(|leaf| leaf.certificate.expires());
        info!(
            authorities = next.authorities().count(),
            authority_expires = %humantime::format_rfc3339_seconds(next.newest.expires()),
            leaf_expires = leaf.map(|at| humantime::format_rfc3339_seconds(at).to_string()),
            "{}",
            rotation.message()
        );
        Ok(())
    }

    /// Patches the `caBundle`, unless the Secret is a newer one meanwhile.
    async fn publish(&mut self) -> Result<Duration, CallError> {
        let (Some(stored), Seen::Present(configuration)) = (&self.stored, &self.seen.1) else {
            return Ok(MAX_SLEEP);
        };
        let secret = self.secret.get().await?;
        if secret.version() != self.seen.0.version() {
            object::tell(&self.secret_seen, secret);
            return Ok(Duration::ZERO);
        }
        if let Some(pause) = self.quarrel.pause(secret.version(), Instant::now()) {
            warn!(name = self.configuration.name, "something else keeps overwriting the caBundle");
            return Ok(pause);
        }
        let patch = publication::patch(configuration, stored.authorities());
        let written = self.configuration.patch(&patch).await;
        if took_effect(&self.configuration, &self.seen.1, written, &self.configuration_seen).await? {
            self.metrics.patches.inc();
            let authorities = stored.authorities().count();
            info!(name = self.configuration.name, authorities, "caBundle published");
        }
        Ok(Duration::ZERO)
    }
}

/// Tells of the object that a write led to. If it led to none because someone else's came first, tells of that one.
async fn took_effect(
    object: &Object,
    based_on: &Seen,
    written: Result<Seen, CallError>,
    seen: &watch::Sender<Seen>,
) -> Result<bool, CallError> {
    match written {
        Ok(written) => {
            object::tell_if_news(seen, written);
            Ok(true)
        }
        Err(error) if error.is_conflict() => {
            let newer = object.get().await?;
            if newer.version() == based_on.version() {
                return Err(error);
            }
            debug!(name = object.name, "another was first");
            object::tell(seen, newer);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
