//! Probes of this one process, on a Unix socket.
//!
//! While a process takes over the ports of another (`--reuse-port`), either may answer a probe of the admin port. A
//! socket in a folder of the pod belongs to one process.

use std::{
    io::{self, ErrorKind, Read},
    os::unix,
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    time::{sleep, timeout},
};

use crate::lifecycle::Readiness;

/// The answer of a process that is ready. Any other answer is the reason why it is not.
const READY: &str = "ready";

/// How long the other side may take.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The longest answer that is read.
const MAX_ANSWER: u64 = 1024;

/// A socket that answers whether this process is ready.
#[derive(Debug)]
pub struct ProbeSocket(UnixListener);

impl ProbeSocket {
    /// Binds the socket, in place of one that an earlier process left there.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if unix::net::UnixStream::connect(path).is_ok() {
            return Err(ErrorKind::AddrInUse.into());
        }
        match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            bound => bound,
        }
        .map(Self)
    }

    /// Answers for as long as the process lives.
    pub async fn serve(self, readiness: Arc<Readiness>) {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => answer(stream, &readiness).await,
                Err(_) => sleep(TIMEOUT).await,
            }
        }
    }
}

async fn answer(mut stream: UnixStream, readiness: &Readiness) {
    let answer = readiness.not_ready_reason().unwrap_or(READY);
    // A prober that has gone needs no answer.
    timeout(TIMEOUT, stream.write_all(answer.as_bytes())).await.ok();
}

/// Asks the process that listens there: why it is not ready, or `None` if it is.
pub fn ask(path: &Path) -> io::Result<Option<String>> {
    let stream = unix::net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    match &*answer {
        READY => Ok(None),
        "" => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(Some(answer)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::spawn_blocking;

    use super::*;
    use crate::lifecycle::{self, Phase};

    #[tokio::test]
    async fn a_process_answers_for_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("probe");
        let ask_now = || {
            let path = path.clone();
            async { spawn_blocking(move || ask(&path)).await.unwrap() }
        };
        assert_eq!(ask_now().await.unwrap_err().kind(), ErrorKind::NotFound);

        // An earlier process of the pod crashed.
        drop(unix::net::UnixListener::bind(&path).unwrap());
        assert_eq!(ask_now().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);

        let (announcer, drain) = lifecycle::channel();
        let readiness = Arc::new(Readiness::new(drain));
        let socket = ProbeSocket::bind(&path).unwrap();
        let serving = tokio::spawn(socket.serve(Arc::clone(&readiness)));
        assert_eq!(ask_now().await.unwrap().as_deref(), Some("the webhook's port is not open yet"));
        readiness.listening();
        assert_eq!(ask_now().await.unwrap(), None);
        announcer.announce(Phase::Draining);
        assert_eq!(ask_now().await.unwrap().as_deref(), Some("shutting down"));
        assert_eq!(ProbeSocket::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        serving.abort();
    }
}
