//! Handshakes with the replicas that trust only the `caBundle`, as kube-apiserver's do.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::checks::Handshake;
use crate::tls::self_managed::certificate::Certificate;

/// A handshake takes milliseconds where pods can be reached at all.
const TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn with_each(
    addresses: &[SocketAddr],
    server_name: &str,
    authorities: &[Certificate],
) -> Vec<(SocketAddr, Handshake)> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().map(|authority| authority.der().clone()));
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let handshakes = addresses.iter().map(async |&address| {
        let handshake = timeout(TIMEOUT, with(address, server_name, &connector)).await;
        (
            address,
            handshake.unwrap_or_else(|_| Handshake::Unreachable(format!("no answer within {TIMEOUT:?}"))),
        )
    });
    futures::future::join_all(handshakes).await
}

async fn with(address: SocketAddr, server_name: &str, connector: &TlsConnector) -> Handshake {
    let stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) => return Handshake::Unreachable(error.to_string()),
    };
    let name = match ServerName::try_from(server_name.to_owned()) {
        Ok(name) => name,
        Err(error) => return Handshake::Refused(error.to_string()),
    };
    match connector.connect(name, stream).await {
        Err(error) => Handshake::Refused(error.to_string()),
        Ok(stream) => {
            let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let leaf = leaf.ok_or_else(|| "no certificate".to_owned());
            match leaf.and_then(|leaf| Certificate::parse(leaf.clone().into_owned())) {
                Ok(certificate) => Handshake::Trusted(certificate),
                Err(why) => Handshake::Refused(why),
            }
        }
    }
}
