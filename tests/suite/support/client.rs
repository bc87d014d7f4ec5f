//! A client that writes bytes and reads bytes, over real TLS sockets.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::aws_lc_rs, time_provider::TimeProvider,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{pki::Pair, within};

/// How a client shakes hands.
#[derive(Default)]
pub(crate) struct Handshake<'a> {
    pub(crate) version: Option<&'static SupportedProtocolVersion>,
    pub(crate) client_cert: Option<&'a Pair>,
    /// The name that the certificate must be for; `localhost` by default.
    pub(crate) server_name: Option<&'a str>,
    /// What time the client thinks it is.
    pub(crate) now: Option<SystemTime>,
    /// Whether it speaks HTTP/2.
    pub(crate) http2: bool,
}

/// A clock that stands still.
#[derive(Debug)]
struct Standing(SystemTime);

impl TimeProvider for Standing {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap()))
    }
}

pub(crate) struct Client {
    pub(crate) stream: TlsStream<TcpStream>,
    buffered: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, ca_pem: &str) -> Self {
        Self::try_connect(address, ca_pem, Handshake::default()).await.unwrap()
    }

    pub(crate) async fn try_connect(
        address: SocketAddr,
        ca_pem: &str,
        handshake: Handshake<'_>,
    ) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(authority.unwrap()).unwrap();
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clock = Arc::new(Standing(handshake.now.unwrap_or_else(SystemTime::now)));
        let builder = ClientConfig::builder_with_details(provider, clock);
        let builder = match handshake.version {
            Some(version) => builder.with_protocol_versions(&[version]),
            None => builder.with_safe_default_protocol_versions(),
        };
        let builder = builder.unwrap().with_root_certificates(roots);
        let mut config = match handshake.client_cert {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        let http2 = handshake.http2.then(|| b"h2".to_vec());
        config.alpn_protocols = http2.into_iter().chain([b"http/1.1".to_vec()]).collect();
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let name = handshake.server_name.unwrap_or("localhost").to_owned();
        let name = ServerName::try_from(name).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        Ok(Self { stream, buffered: Vec::new() })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends a review and awaits the answer.
    pub(crate) async fn mutate(&mut self, body: &[u8]) -> Response {
        self.send(&request("POST", "/mutate?timeout=10s", body)).await;
        self.response().await
    }

    pub(crate) async fn response(&mut self) -> Response {
        within("a response", self.try_response()).await.expect("the connection ended without a response")
    }

    /// The next response; `None` if the connection ends first.
    pub(crate) async fn try_response(&mut self) -> Option<Response> {
        let head_end = loop {
            if let Some(position) = find(&self.buffered, b"\r\n\r\n") {
                break position + 4;
            }
            self.read_more().await?;
        };
        let head = String::from_utf8(self.buffered[..head_end].to_vec()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_lowercase(), value.to_owned())
        });
        let headers: Vec<_> = headers.collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
        while self.buffered.len() < head_end + length {
            self.read_more().await?;
        }
        let rest = self.buffered.split_off(head_end + length);
        let body = std::mem::replace(&mut self.buffered, rest).split_off(head_end);
        Some(Response { status, headers, body })
    }

    /// Whether the server ends the connection, without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        assert!(self.buffered.is_empty(), "{:?}", String::from_utf8_lossy(&self.buffered));
        within("the end of the connection", self.read_more()).await.is_none()
    }

    async fn read_more(&mut self) -> Option<()> {
        let mut chunk = vec![0; 64 * 1024];
        match self.stream.read(&mut chunk).await {
            Ok(0) | Err(_) => None,
            Ok(count) => {
                self.buffered.extend_from_slice(&chunk[..count]);
                Some(())
            }
        }
    }
}

/// A request as kube-apiserver writes it.
pub(crate) fn request(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
