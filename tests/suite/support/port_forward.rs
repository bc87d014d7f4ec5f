//! An API server that knows one installed webhook, and forwards ports of its pod as a kubelet does.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use base64_simd::STANDARD;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
    },
};

use super::server::Server;

pub(crate) const NAMESPACE: &str = "webhooks";
pub(crate) const SERVICE: &str = "webhook";

/// The ports that the pod says it has; each leads to an address of the test.
const PORT: u16 = 8443;
const ADMIN_PORT: u16 = 9090;

/// A webhook and its objects: a configuration, a Service, two pods of which one is ready.
pub(crate) struct Installed {
    pub(crate) objects: HashMap<&'static str, Value>,
    ports: HashMap<u16, SocketAddr>,
}

impl Installed {
    pub(crate) fn new(server: &Server, admin: SocketAddr) -> Self {
        let client = json!({
            "caBundle": STANDARD.encode_to_string(server.ca.pem()),
            "service": {"namespace": NAMESPACE, "name": SERVICE, "path": "/mutate"},
        });
        let other = json!({"clientConfig": {"url": "https://elsewhere.example.com"}});
        let pod = |name: &str, ready: &str| {
            json!({
                "metadata": {"name": name},
                "spec": {"containers": [{"ports": [
                    {"name": "webhook", "containerPort": PORT}, {"name": "admin", "containerPort": ADMIN_PORT},
                ]}]},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            })
        };
        let service = json!({"spec": {
            "selector": {"app.kubernetes.io/name": "webhook"},
            "ports": [{"port": 443, "targetPort": "webhook"}],
        }});
        let objects = HashMap::from([
            (
                "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
                json!({"items": [{"webhooks": [other, {"clientConfig": client}]}]}),
            ),
            ("/api/v1/namespaces/webhooks/services/webhook", service),
            (
                "/api/v1/namespaces/webhooks/pods?labelSelector=app.kubernetes.io/name%3Dwebhook",
                json!({"items": [pod("starting", "False"), pod("ready", "True")]}),
            ),
        ]);
        let live = json!({"metadata": {"name": "web", "namespace": "payments", "uid": "u"}, "spec": {
            "serviceAccountName": "api",
            "containers": [{"name": "app", "env": [{"name": "PASSWORD", "value": "secret"}]}],
        }});
        let mut objects = objects;
        objects.insert(
            "/api/v1/pods",
            json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [live]}),
        );
        Self { objects, ports: HashMap::from([(PORT, server.address), (ADMIN_PORT, admin)]) }
    }

    /// Serves the objects and forwards the ports until the test ends.
    pub(crate) async fn serve(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let installed = Arc::new(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&installed).answer(stream));
            }
        });
        address
    }

    /// One request for each connection, distinguished by its first bytes.
    async fn answer(self: Arc<Self>, stream: TcpStream) {
        let mut head = [0; 256];
        let len = stream.peek(&mut head).await.unwrap();
        let text = String::from_utf8_lossy(&head[..len]).into_owned();
        match text.strip_prefix("GET /api/v1/namespaces/webhooks/pods/ready/portforward?") {
            Some(_) => self.forward(stream).await,
            None => self.object(stream, text.split(' ').nth(1).unwrap_or_default()).await,
        }
    }

    async fn object(&self, mut stream: TcpStream, path: &str) {
        let object = self.objects.get(path).or_else(|| self.objects.get(path.split('?').next()?));
        let (status, body) = match object {
            Some(object) => ("200 OK", object.to_string()),
            None => {
                ("404 Not Found", json!({"kind": "Status", "code": 404, "message": "not found"}).to_string())
            }
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.read_buf(&mut Vec::with_capacity(4096)).await.ok();
        stream.write_all(answer.as_bytes()).await.ok();
        stream.shutdown().await.ok();
    }

    /// `v4.channel.k8s.io`: each message begins with a channel, 0 for the port's bytes and 1 for errors, and the first
    /// message of a channel is the port.
    async fn forward(&self, stream: TcpStream) {
        let mut port = 0;
        #[allow(clippy::result_large_err, reason = "the library's callback")]
        let accept = |request: &Request, mut response: Response| {
            let query = request.uri().query().unwrap_or_default();
            port = query.split('&').find_map(|pair| pair.strip_prefix("ports=")?.parse().ok()).unwrap();
            response.headers_mut().insert("Sec-WebSocket-Protocol", "v4.channel.k8s.io".parse().unwrap());
            Ok(response)
        };
        let mut socket = accept_hdr_async(stream, accept).await.unwrap();
        let [low, high] = u16::to_le_bytes(port);
        for channel in [0, 1] {
            socket.send(Message::binary(vec![channel, low, high])).await.unwrap();
        }
        let pod = TcpStream::connect(self.ports[&port]).await.unwrap();
        copy(socket, pod).await;
    }
}

async fn copy(socket: WebSocketStream<TcpStream>, pod: TcpStream) {
    let (mut to_client, mut from_client) = socket.split();
    let (mut from_pod, mut to_pod) = pod.into_split();
    let upstream = async {
        while let Some(Ok(message)) = from_client.next().await {
            let Message::Binary(bytes) = message else { continue };
            if to_pod.write_all(&bytes[1..]).await.is_err() {
                break;
            }
        }
    };
    let downstream = async {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(len @ 1..) = from_pod.read(&mut bytes).await {
            let message = [&[0], &bytes[..len]].concat();
            if to_client.send(Message::binary(message)).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = upstream => {}
        () = downstream => {}
    }
}
