//! Accepting connections, within limits.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{
    connection::{self, Handler},
    timeouts::Timeouts,
};
use crate::{lifecycle::Drain, metrics::HttpMetrics};

/// How many connections the kernel keeps for us: a burst while we are busy.
const BACKLOG: i32 = 1024;

/// The pause after `accept` fails for want of descriptors or memory, which only time can bring back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds a listener. `[::]` takes IPv4 as well, and on a host without IPv6 becomes `0.0.0.0`.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = match bind_exactly(address) {
        Err(error) if address.ip().is_unspecified() && is_ipv6_missing(&error) => {
            bind_exactly(SocketAddr::from(([0, 0, 0, 0], address.port())))?
        }
        result => result?,
    };
    TcpListener::from_std(listener)
}

fn bind_exactly(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// EAFNOSUPPORT where the kernel has no IPv6, EADDRNOTAVAIL where it is switched off.
fn is_ipv6_missing(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// A listener and the limits of its connections.
#[derive(Debug)]
pub struct Listener {
    /// The bound socket.
    pub tcp: TcpListener,
    /// The newest TLS configuration; `None` for a plain listener.
    pub tls: Option<Arc<ArcSwap<ServerConfig>>>,
    /// How long peers may take.
    pub timeouts: Timeouts,
    /// How many connections may be open; further ones wait to be accepted.
    pub max_connections: usize,
    /// When to stop.
    pub drain: Drain,
    /// Where connections are counted.
    pub metrics: HttpMetrics,
}

impl Listener {
    /// Accepts connections until the drain closes, then waits for those that are open.
    pub(super) async fn serve(self, handler: impl Handler) {
        let permits = Arc::new(Semaphore::new(self.max_connections));
        let connections = TaskTracker::new();
        let mut is_failing = false;
        let mut drain = self.drain.clone();
        loop {
            let next = async {
                let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
                Some((self.accept(&mut is_failing).await?, permit))
            };
            // What waits to be accepted is accepted before the drain is looked at: it would be reset otherwise.
            let accepted = tokio::select! {
                biased;
                accepted = next => accepted,
                () = drain.closing() => break,
            };
            if let Some((stream, permit)) = accepted {
                connections.spawn(self.connection(stream, permit, handler.clone()));
            }
        }
        drop(self);
        connections.close();
        connections.wait().await;
    }

    async fn accept(&self, is_failing: &mut bool) -> Option<TcpStream> {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        match self.tcp.accept().await {
            Ok((stream, _)) => {
                *is_failing = false;
                Some(stream)
            }
            // The peer's failure, not ours: on to the next.
            Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) => None,
            Err(error) => {
                // The beginning is told; how long it lasts, the metric tells.
                if !std::mem::replace(is_failing, true) {
                    warn!(%error, "can't accept connections");
                }
                self.metrics.accept_errors.inc();
                sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
        handler: impl Handler,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (tls, timeouts, drain) = (self.tls.clone(), self.timeouts, self.drain.clone());
        let metrics = self.metrics.clone();
        async move {
            let _permit = permit;
            let _open = Open::count(&metrics);
            stream.set_nodelay(true).ok();
            let closed = match tls {
                None => connection::serve(stream, handler, timeouts, drain).await,
                Some(tls) => match shake_hands(stream, &tls, timeouts, &metrics).await {
                    Some(stream) => connection::serve(stream, handler, timeouts, drain).await,
                    None => return,
                },
            };
            metrics.closed(closed);
        }
    }
}

async fn shake_hands(
    stream: TcpStream,
    tls: &ArcSwap<ServerConfig>,
    timeouts: Timeouts,
    metrics: &HttpMetrics,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    let acceptor = TlsAcceptor::from(tls.load_full());
    match timeout(timeouts.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            metrics.handshakes_ok.inc();
            Some(stream)
        }
        Ok(Err(error)) => {
            metrics.handshakes_failed.inc();
            debug!(%error, "TLS handshake failed");
            None
        }
        Err(_) => {
            metrics.handshakes_timed_out.inc();
            debug!("TLS handshake took too long");
            None
        }
    }
}

/// Counts a connection as open until it is dropped.
struct Open<'a>(&'a HttpMetrics);

impl<'a> Open<'a> {
    fn count(metrics: &'a HttpMetrics) -> Self {
        metrics.connections.inc();
        metrics.connections_open.inc();
        Self(metrics)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections_open.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_unspecified_address_takes_ipv4_with_or_without_ipv6() {
        let listener = bind("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(("127.0.0.1", port)));
        assert!(accepted.is_ok() && connected.is_ok());
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_refused() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(bind(taken.local_addr().unwrap()).is_err());
    }
}
