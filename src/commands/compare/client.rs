//! One caller of one webhook, which keeps its connection as kube-apiserver does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::{
    connection::{Connection, Reply},
    sides::Side,
};

/// How long connecting and a request may each take: kube-apiserver's default for a webhook.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends reviews to a side, one after the other.
pub(super) struct Client {
    side: Arc<Side>,
    connection: Option<Connection>,
}

/// What came back, and how long it took from the first byte sent to the last one read.
pub(super) struct Exchange {
    pub(super) reply: anyhow::Result<Reply>,
    pub(super) time: Duration,
}

impl Client {
    pub(super) fn new(side: Arc<Side>) -> Self {
        Self { side, connection: None }
    }

    /// Sends a review and awaits the reply. A request that fails is not sent again, as kube-apiserver does not; the
    /// next one opens a new connection. The error is that none can be opened.
    pub(super) async fn ask(&mut self, review: Bytes) -> anyhow::Result<Exchange> {
        let mut kept = self.connection.take();
        // One that the server has closed between two requests costs nobody a request.
        if let Some(connection) = &mut kept
            && !matches!(timeout(TIMEOUT, connection.is_ready()).await, Ok(true))
        {
            kept = None;
        }
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await.with_context(|| self.side.to_string())?,
        };
        let start = Instant::now();
        let reply = timeout(TIMEOUT, connection.exchange(&self.side.url, review)).await;
        let time = start.elapsed();
        let reply = reply.with_context(|| format!("no answer within {TIMEOUT:?}")).flatten();
        if reply.is_ok() {
            self.connection = Some(connection);
        }
        Ok(Exchange { reply, time })
    }

    /// A new connection. Some attempts are made, since one that meets a restart says little about the webhook.
    async fn connect(&self) -> anyhow::Result<Connection> {
        let attempt = || async {
            timeout(TIMEOUT, Connection::open(&self.side))
                .await
                .with_context(|| format!("not within {TIMEOUT:?}"))
                .flatten()
        };
        let pauses =
            ExponentialBuilder::default().with_min_delay(Duration::from_millis(100)).with_max_times(3);
        attempt.retry(pauses).sleep(sleep).await.context("can't connect")
    }
}
