//! One address for all replicas, as a Service is: connections go to those that are ready, one after the other.
//!
//! As under kube-proxy, a connection stays where it went, and one that goes to a replica that has just died fails.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

use crate::support::{daemon::Daemon, eventually};

/// How often readiness is looked at. A kubelet takes seconds; what matters is that it is less than the drain delay.
const PROBE_EVERY: Duration = Duration::from_millis(20);

pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    backends: Arc<Mutex<Backends>>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Default)]
struct Backends {
    all: Vec<Backend>,
    turn: usize,
}

struct Backend {
    address: SocketAddr,
    admin: SocketAddr,
    is_ready: bool,
}

impl Backends {
    fn next(&mut self) -> Option<SocketAddr> {
        self.turn += 1;
        let ready: Vec<_> = self.all.iter().filter(|backend| backend.is_ready).collect();
        Some(ready.get(self.turn % ready.len().max(1))?.address)
    }
}

impl Balancer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let backends = Arc::<Mutex<Backends>>::default();
        let tasks = [
            tokio::spawn(forward(listener, Arc::clone(&backends))),
            tokio::spawn(probe(Arc::clone(&backends))),
        ];
        Self { address, backends, tasks }
    }

    fn backends(&self) -> MutexGuard<'_, Backends> {
        self.backends.lock().unwrap()
    }

    /// Knows of a replica from now on, and sends it connections whenever it is ready.
    pub(crate) fn add(&self, replica: &Daemon) {
        let Daemon { address, admin, .. } = *replica;
        self.backends().all.push(Backend { address, admin, is_ready: false });
    }

    /// Forgets a replica.
    pub(crate) fn remove(&self, replica: &Daemon) {
        self.backends().all.retain(|backend| backend.address != replica.address);
    }

    /// Whether connections go to this replica.
    pub(crate) fn sends_to(&self, replica: &Daemon) -> bool {
        self.backends().all.iter().any(|backend| backend.address == replica.address && backend.is_ready)
    }

    /// Waits until connections go to a replica, or don't any more.
    pub(crate) async fn sees(&self, replica: &Daemon, is_ready: bool) {
        let what = format!("the replica at {} is ready: {is_ready}", replica.address);
        eventually(&what, || self.sends_to(replica) == is_ready).await;
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn forward(listener: TcpListener, backends: Arc<Mutex<Backends>>) {
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let next = backends.lock().unwrap().next();
        tokio::spawn(async move {
            let Some(backend) = next else { return };
            let Ok(mut server) = TcpStream::connect(backend).await else { return };
            for stream in [&client, &server] {
                stream.set_nodelay(true).ok();
            }
            copy_bidirectional(&mut client, &mut server).await.ok();
        });
    }
}

async fn probe(backends: Arc<Mutex<Backends>>) {
    loop {
        let probed: Vec<_> = backends.lock().unwrap().all.iter().map(|backend| backend.admin).collect();
        for admin in probed {
            let is_ready = is_ready(admin).await;
            let mut backends = backends.lock().unwrap();
            if let Some(backend) = backends.all.iter_mut().find(|backend| backend.admin == admin) {
                backend.is_ready = is_ready;
            }
        }
        sleep(PROBE_EVERY).await;
    }
}

async fn is_ready(admin: SocketAddr) -> bool {
    let get = async {
        let mut stream = TcpStream::connect(admin).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await?;
        Ok::<_, std::io::Error>(response.starts_with(b"HTTP/1.1 200"))
    };
    get.await.unwrap_or(false)
}
