//! One connection, from its first byte to its end.

use std::{convert::Infallible, pin::pin, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tracing::debug;

use super::{
    drain::Drain,
    reply::Reply,
    timeouts::{Activity, TimedConnection},
};

/// How long a peer may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a TLS handshake.
    pub handshake: Duration,
    /// For a request's header, from its first byte.
    pub header: Duration,
    /// Between requests. kube-apiserver keeps idle connections for 90 s; closing one before it does loses a request.
    pub idle: Duration,
}

/// How long a connection that was opened just before the end may take to send the request it was opened for.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// What answers requests.
pub(super) trait Handler: Clone + Send + 'static {
    /// Answers one request.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Reply> + Send;
}

/// Serves requests until the peer goes, a timeout strikes or the drain closes the connection.
pub(super) async fn serve<IO>(io: IO, handler: impl Handler, timeouts: Timeouts, mut drain: Drain)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let activity = Activity::default();
    let io = TimedConnection::new(io, activity.clone(), timeouts.idle, timeouts.header);
    let (serving, draining) = (activity.clone(), drain.clone());
    let service = service_fn(move |request| {
        serving.begin_request();
        let (handler, serving, draining) = (handler.clone(), serving.clone(), draining.clone());
        async move {
            let mut reply = handler.handle(request).await;
            if draining.has_begun() {
                reply.close();
            }
            serving.end_request();
            Ok::<_, Infallible>(reply.into_response())
        }
    });
    let connection =
        http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let result = tokio::select! {
        // A request that has arrived is taken before the drain is looked at.
        biased;
        result = connection.as_mut() => result,
        () = drain.closing() => match first_request(&activity, connection.as_mut()).await {
            Some(result) => result,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = result {
        debug!(%error, "connection ended");
    }
}

/// Lets a connection that has had no request yet go on for a moment. Its one request is answered with
/// `Connection: close`, which ends it; the result is its end, or `None` if it has not ended.
async fn first_request<T>(activity: &Activity, connection: impl Future<Output = T>) -> Option<T> {
    if activity.had_request() { None } else { timeout(FIRST_REQUEST, connection).await.ok() }
}
