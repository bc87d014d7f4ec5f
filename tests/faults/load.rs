//! Calls as kube-apiserver makes them, and a look at every answer.
//!
//! As in kube-apiserver, an answer with `Retry-After` is asked for again within the timeout, up to ten times, and a POST
//! whose connection fails is not sent again: `failurePolicy` decides about that pod. It counts as failed here, and is then
//! created anew, as a controller does.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    reviews::Review,
    support::{
        client::{Client, Handshake, Response, request},
        eventually,
    },
};

/// The webhook's `timeoutSeconds`, and how often client-go tries within it.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_RETRIES: usize = 10;

/// Requests under way at once.
const CALLERS: usize = 8;

/// What a caller does between two calls, so that a closed loop leaves some of the machine to others.
const PAUSE: Duration = Duration::from_millis(1);

/// A pod that is not answered for so long is lost.
const LOST: Duration = Duration::from_secs(20);

/// A connection is kept for so many calls, so that new ones are opened all the while.
const CALLS_ON_A_CONNECTION: u64 = 20;

/// Where calls go, and whom they trust.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The `caBundle`, which may change.
    pub(crate) trusted: Arc<Mutex<String>>,
}

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    callers: Vec<JoinHandle<()>>,
}

/// What came of the calls.
pub(crate) struct Tally {
    /// Pods that were answered, all of them rightly.
    pub(crate) pods: u64,
    /// Answers of 503 with `Retry-After`, which were asked again.
    pub(crate) retries: u64,
    /// Calls without an answer, of which `failurePolicy` decides.
    pub(crate) failures: Vec<String>,
    /// Microseconds from the first call for a pod to the answer.
    latencies: Histogram<u64>,
    begun: Instant,
}

impl Load {
    /// Calls for each of these reviews in turn, until it is ended.
    pub(crate) fn on(target: &Target, reviews: Vec<Review>) -> Self {
        let (stop, tally) = (Arc::<AtomicBool>::default(), Arc::new(Mutex::new(Tally::new())));
        let reviews = Arc::new(reviews);
        let callers = (0..CALLERS).map(|number| {
            let mut caller = Caller::new(target);
            let (stop, tally, reviews) = (Arc::clone(&stop), Arc::clone(&tally), Arc::clone(&reviews));
            tokio::spawn(async move {
                let first = number * reviews.len() / CALLERS;
                let reviews = reviews.iter().cycle().skip(first);
                for review in reviews.take_while(|_| !stop.load(Ordering::Relaxed)) {
                    caller.create(review, &tally).await;
                    sleep(PAUSE).await;
                }
            })
        });
        Self { callers: callers.collect(), stop, tally }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap()
    }

    /// Waits until so many more pods are answered.
    pub(crate) async fn goes_on(&self, pods: u64) {
        let enough = self.tally().pods + pods;
        eventually("answers", || self.tally().pods >= enough || self.has_ended()).await;
        assert!(!self.has_ended(), "a caller ended");
    }

    fn has_ended(&self) -> bool {
        self.callers.iter().any(JoinHandle::is_finished)
    }

    /// How many pods are answered.
    pub(crate) fn pods(&self) -> u64 {
        self.tally().pods
    }

    /// How many calls have failed.
    pub(crate) fn failures(&self) -> usize {
        self.tally().failures.len()
    }

    /// Ends it once each pod that was begun is answered.
    pub(crate) async fn end(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.expect("every pod is answered rightly");
        }
        Arc::into_inner(self.tally).expect("the callers have ended").into_inner().unwrap()
    }
}

impl Tally {
    pub(crate) fn new() -> Self {
        let latencies = Histogram::new(3).unwrap();
        Self { pods: 0, retries: 0, failures: Vec::new(), latencies, begun: Instant::now() }
    }

    /// None of the calls was left to `failurePolicy`.
    pub(crate) fn none_failed(self, fault: &str, figures: &str) {
        self.print(fault, figures);
        assert!(self.failures.is_empty(), "{fault}: {:?}", self.failures);
    }

    pub(crate) fn print(&self, fault: &str, figures: &str) {
        let milliseconds = |micros: u64| micros as f64 / 1000.0;
        let quantile = |quantile| milliseconds(self.latencies.value_at_quantile(quantile));
        println!(
            "{fault}: {} pods in {:.1} s, 0 wrong, 0 lost, {} calls failed, {} retried; \
             {:.1} ms median, {:.1} p99, {:.1} longest; {figures}",
            self.pods,
            self.begun.elapsed().as_secs_f64(),
            self.failures.len(),
            self.retries,
            quantile(0.5),
            quantile(0.99),
            milliseconds(self.latencies.max()),
        );
    }
}

/// Calls one after the other, on a connection that is kept alive.
pub(crate) struct Caller {
    target: Target,
    connection: Option<Client>,
    calls: u64,
}

impl Caller {
    pub(crate) fn new(target: &Target) -> Self {
        Self { target: target.clone(), connection: None, calls: 0 }
    }

    /// Calls until a pod is answered; each call that fails is counted.
    pub(crate) async fn create(&mut self, review: &Review, tally: &Mutex<Tally>) {
        let begun = Instant::now();
        let answer = loop {
            let failure = match timeout(TIMEOUT, self.call(&review.body, tally)).await {
                Ok(Ok(answer)) => break answer,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer within the timeout".to_owned(),
            };
            self.connection = None;
            tally.lock().unwrap().failures.push(failure);
            assert!(
                begun.elapsed() < LOST,
                "{} is never answered: {:?}",
                review.name,
                tally.lock().unwrap().failures
            );
            sleep(PAUSE).await;
        };
        let is_right = review.answers.contains(&answer);
        assert!(is_right, "a wrong answer for {}: {}", review.name, String::from_utf8_lossy(&answer));
        let mut tally = tally.lock().unwrap();
        tally.pods += 1;
        tally.latencies.record(begun.elapsed().as_micros() as u64).unwrap();
    }

    /// One call, with the retries that are part of it.
    async fn call(&mut self, body: &[u8], tally: &Mutex<Tally>) -> io::Result<Vec<u8>> {
        for _ in 0..=MAX_RETRIES {
            let response = self.exchange(body).await?;
            match (response.status, response.header("retry-after")) {
                (200, _) => return Ok(response.body),
                (429 | 500.., Some(seconds)) => {
                    tally.lock().unwrap().retries += 1;
                    sleep(Duration::from_secs(seconds.parse().unwrap())).await;
                }
                (status, _) => return Err(io::Error::other(format!("{status}: {}", response.text()))),
            }
        }
        Err(io::Error::other("503 again and again"))
    }

    async fn exchange(&mut self, body: &[u8]) -> io::Result<Response> {
        self.calls += 1;
        if self.calls.is_multiple_of(CALLS_ON_A_CONNECTION) {
            self.connection = None;
        }
        let mut client = match self.idle().await {
            Some(client) => client,
            None => self.connect().await?,
        };
        client.stream.write_all(&request("POST", "/mutate?timeout=10s", body)).await?;
        client.stream.flush().await?;
        let ended = || io::Error::other("the connection ended without an answer");
        let response = client.try_response().await.ok_or_else(ended)?;
        self.connection = (response.header("connection") != Some("close")).then_some(client);
        Ok(response)
    }

    async fn connect(&self) -> io::Result<Client> {
        let trusted = self.target.trusted.lock().unwrap().clone();
        Client::try_connect(self.target.address, &trusted, Handshake::default()).await
    }

    /// The connection, unless it was closed meanwhile: Go's client reads all the while, and would know.
    async fn idle(&mut self) -> Option<Client> {
        let mut client = self.connection.take()?;
        futures::poll!(std::pin::pin!(client.stream.read_u8())).is_pending().then_some(client)
    }
}
