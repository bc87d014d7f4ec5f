//! Closing a port that another process shares.
//!
//! The kernel gives each new connection to one of the sockets that listen on a port. What a socket has been given and has
//! not accepted is reset when it closes. So a process that leaves first takes no further connections, and then accepts
//! what it has been given.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use socket2::SockRef;
use tokio::net::TcpListener;

/// How long connections that have begun may take to be established: on one node, some microseconds.
const ESTABLISHED_WITHIN: Duration = Duration::from_millis(10);

/// Takes no further connections, and waits for those that have begun. They can then be accepted without waiting. Does
/// nothing to a port that is not shared: its clients are refused at once, which is better than to wait.
pub(super) async fn take_no_more(tcp: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(tcp);
    if !socket.reuse_port()? {
        return Ok(());
    }
    #[cfg(target_os = "linux")]
    socket.attach_filter(&filter::NO_FIRST_PACKETS)?;
    tokio::time::sleep(ESTABLISHED_WITHIN).await;
    Ok(())
}

/// The next established connection, by the kernel: the runtime may not know of it yet.
pub(super) fn accept_established(tcp: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    let (socket, peer) = SockRef::from(tcp).accept().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((socket.into(), peer.as_socket()?))
}

#[cfg(target_os = "linux")]
mod filter {
    use socket2::SockFilter;

    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;

    const FLAGS_OFFSET: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;

    /// Drops a packet that begins a connection (SYN without ACK), and nothing else. The peer sends it again after a second,
    /// and the kernel gives it to a socket that still listens. A classic BPF program: see socket(7), SO_ATTACH_FILTER. It
    /// starts at the TCP header. Connections inherit it; they don't get such packets.
    pub(super) const NO_FIRST_PACKETS: [SockFilter; 5] = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_OFFSET),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::{super::listen::Port, *};

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn connections_that_begin_later_go_to_the_other_process() {
        let first = Port::bind("127.0.0.1:0".parse().unwrap(), true).unwrap().listen().unwrap();
        let address = first.local_addr().unwrap();
        let second = Port::bind(address, true).unwrap().listen().unwrap();
        let connect = || (0..32).map(|_| tokio::spawn(TcpStream::connect(address))).collect::<Vec<_>>();

        let before = futures::future::join_all(connect()).await;
        assert!(before.iter().all(|connected| connected.as_ref().unwrap().is_ok()));
        take_no_more(&first).await.unwrap();
        let taken = std::iter::from_fn(|| accept_established(&first)).count();
        assert!(taken > 0, "32 connections are spread over two sockets");

        let after = connect();
        // Each of them begins before this task goes on.
        tokio::task::yield_now().await;
        assert!(accept_established(&first).is_none());
        drop(first);
        for _ in taken..64 {
            second.accept().await.unwrap();
        }
        for connected in futures::future::join_all(after).await {
            connected.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_port_of_its_own_is_closed_without_a_pause() {
        let port = Port::bind("127.0.0.1:0".parse().unwrap(), false).unwrap().listen().unwrap();
        let address = port.local_addr().unwrap();
        take_no_more(&port).await.unwrap();
        TcpStream::connect(address).await.unwrap();
        assert!(accept_established(&port).is_some());
        assert!(accept_established(&port).is_none());
    }
}
