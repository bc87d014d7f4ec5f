//! Accepting connections, within limits.

use std::{
    io,
    net::{self, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{
    activity::{Activity, Protocol, Timeouts},
    connection::{self, Handler},
    handover,
    occupancy::{Occupancy, Place},
    workers::Workers,
};
use crate::{lifecycle::Drain, metrics::HttpMetrics};

/// How many connections the kernel keeps for us: a burst while we are busy.
const BACKLOG: i32 = 1024;

/// The most bytes that the kernel keeps of what a peer has sent, and of what it does not read; it doubles both. Without
/// them each connection may have some megabytes.
const KERNEL_BUFFER: usize = 64 << 10;

/// The most bytes that a connection holds encrypted.
const TLS_BUFFER: usize = 16 << 10;

/// The pause after `accept` fails because descriptors or memory ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port that is ours, and does not take connections yet.
#[derive(Debug)]
pub struct Port(Socket);

impl Port {
    /// Binds a port. `[::]` takes IPv4 as well, and on a host without IPv6 becomes `0.0.0.0`. A shared port may be bound by
    /// other processes of the same user as well; the kernel spreads connections over those that listen.
    pub fn bind(address: SocketAddr, is_shared: bool) -> io::Result<Self> {
        match bind_exactly(address, is_shared) {
            Err(error) if address.ip().is_unspecified() && is_ipv6_missing(&error) => {
                bind_exactly(SocketAddr::from(([0, 0, 0, 0], address.port())), is_shared)
            }
            result => result,
        }
        .map(Self)
    }

    /// Its address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// Takes connections from now on.
    pub fn listen(self) -> io::Result<TcpListener> {
        self.0.listen(BACKLOG)?;
        TcpListener::from_std(self.0.into())
    }
}

fn bind_exactly(address: SocketAddr, is_shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    // Connections inherit them.
    socket.set_recv_buffer_size(KERNEL_BUFFER)?;
    socket.set_send_buffer_size(KERNEL_BUFFER)?;
    socket.bind(&address.into())?;
    Ok(socket)
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
    /// How many connections may be open; a further one takes the place of one that is idle.
    pub max_connections: usize,
    /// Which threads serve the connections; `None` for the one that accepts them.
    pub workers: Option<Workers>,
    /// When to stop.
    pub drain: Drain,
    /// Where connections are counted.
    pub metrics: HttpMetrics,
}

impl Listener {
    /// Accepts connections until the drain closes, then waits for those that are open.
    pub(super) async fn serve(self, handler: impl Handler) {
        let occupancy = Occupancy::new(self.max_connections);
        let connections = TaskTracker::new();
        let mut is_failing = false;
        let mut drain = self.drain.clone();
        // Begins to serve a connection once there is room for it, on one of the workers if there are any.
        let start = async |stream: net::TcpStream, peer: SocketAddr| {
            let activity = Activity::new();
            let place = occupancy.enter(peer.ip(), activity.clone()).await;
            let connection = self.connection(stream, place, activity, handler.clone());
            match self.workers.as_ref().and_then(Workers::assign) {
                None => connections.spawn(connection),
                Some((worker, assigned)) => connections.spawn_on(assigned.run(connection), worker),
            };
        };
        loop {
            let next = async {
                let Some((stream, peer)) = self.accept(&mut is_failing).await else { return };
                // Another runtime registers the socket anew.
                let Ok(stream) = stream.into_std() else { return };
                start(stream, peer).await;
            };
            // Connections that wait to be accepted are accepted before the drain is looked at: they would be reset
            // otherwise.
            tokio::select! {
                biased;
                () = next => {}
                () = drain.closing() => break,
            }
        }
        if let Err(error) = handover::take_no_more(&self.tcp).await {
            warn!(%error, "connections that begin now may be reset: this port can't be handed over");
        }
        for _ in 0..BACKLOG {
            let Some((stream, peer)) = handover::accept_established(&self.tcp) else { break };
            start(stream, peer).await;
        }
        drop(self);
        connections.close();
        connections.wait().await;
    }

    async fn accept(&self, is_failing: &mut bool) -> Option<(TcpStream, SocketAddr)> {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        match self.tcp.accept().await {
            Ok(accepted) => {
                *is_failing = false;
                Some(accepted)
            }
            // The peer's failure, not ours: on to the next.
            Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) => None,
            Err(error) => {
                // Only the first failure is logged; the metric shows how long they last.
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
        stream: net::TcpStream,
        place: Place,
        activity: Activity,
        handler: impl Handler,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (tls, timeouts, drain) = (self.tls.clone(), self.timeouts, self.drain.clone());
        let metrics = self.metrics.clone();
        async move {
            let _place = place;
            let _open = Open::count(&metrics);
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            stream.set_nodelay(true).ok();
            let closed = match tls {
                None => connection::serve(stream, Protocol::Http1, handler, activity, timeouts, drain).await,
                Some(tls) => match shake_hands(stream, &tls, &activity, timeouts, &metrics).await {
                    Some(stream) => {
                        let protocol = negotiated(&stream);
                        connection::serve(stream, protocol, handler, activity, timeouts, drain).await
                    }
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
    activity: &Activity,
    timeouts: Timeouts,
    metrics: &HttpMetrics,
) -> Option<TlsStream<TcpStream>> {
    let acceptor = TlsAcceptor::from(tls.load_full());
    let accept = acceptor.accept_with(stream, |session| session.set_buffer_limit(Some(TLS_BUFFER)));
    let shaken = tokio::select! {
        biased;
        shaken = timeout(timeouts.handshake, accept) => shaken,
        () = activity.evicted() => {
            metrics.handshakes_evicted.inc();
            debug!("TLS handshake broken off to make room");
            return None;
        }
    };
    match shaken {
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

/// The protocol that the peer chose.
fn negotiated(stream: &TlsStream<TcpStream>) -> Protocol {
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
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
        let listener = Port::bind("[::]:0".parse().unwrap(), false).unwrap().listen().unwrap();
        let port = listener.local_addr().unwrap().port();
        let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(("127.0.0.1", port)));
        assert!(accepted.is_ok() && connected.is_ok());
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_refused() {
        let taken = Port::bind("127.0.0.1:0".parse().unwrap(), false).unwrap().listen().unwrap();
        let address = taken.local_addr().unwrap();
        assert!(Port::bind(address, false).is_err() && Port::bind(address, true).is_err());
    }

    #[tokio::test]
    async fn a_shared_port_is_handed_over() {
        let first = Port::bind("127.0.0.1:0".parse().unwrap(), true).unwrap().listen().unwrap();
        let address = first.local_addr().unwrap();
        let second = Port::bind(address, true).unwrap();
        // Until the second one listens, it gets nothing.
        for _ in 0..20 {
            TcpStream::connect(address).await.unwrap();
            first.accept().await.unwrap();
        }
        let second = second.listen().unwrap();
        drop(first);
        TcpStream::connect(address).await.unwrap();
        second.accept().await.unwrap();
    }
}
