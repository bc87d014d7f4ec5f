//! The answer of an API server to the call that reads all ServiceAccounts: by streaming, or as a page.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::pending,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use eks_pod_identity_webhook::{
    accounts::{assignments::Assignments, cache::Cache, sources::watch},
    injection::{annotation_keys::MAX_SUSPECTS, resolver::Resolver},
    metrics::Metrics,
};
use futures::{StreamExt, stream};
use http_body_util::StreamBody;
use hyper::{Request, Response, StatusCode, body::Frame};
use kube::{Client, client::Body};
use serde_json::{Map, Value};

type Names = (String, String);
type Annotations = Vec<(String, String)>;

/// Made once: that takes longer than a sync.
static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// With any input, accounts count as known only when all of them have arrived; then each has what its annotations give. The
/// first byte says how the answer comes: its lowest bit in which form, the others in pieces of how many bytes.
pub(crate) fn sync(input: &[u8]) {
    let Some((&head, body)) = input.split_first() else { return };
    let is_page = head & 1 == 1;
    let cache = after(body, is_page, 1 << (head >> 1).min(15));
    let reference = if is_page { page(body) } else { events(body) };
    let Ok(Reference { accounts, is_synced }) = reference else { return };
    assert_eq!(cache.is_synced(), is_synced);
    if !is_synced {
        return;
    }
    let mut assignments = assignments();
    for ((namespace, name), annotations) in accounts {
        let expected = annotations.map(|annotations| {
            let annotations = annotations.iter().map(|(key, value)| (&**key, &**value));
            format!("{:?}", assignments.resolve(&namespace, &name, annotations).unwrap())
        });
        let found = cache.look_up(&namespace, &name).map(|account| format!("{account:?}"));
        assert_eq!(found, expected, "{namespace}/{name}");
    }
}

fn assignments() -> Assignments {
    Assignments::new(Arc::new(Resolver::new(Arc::default())))
}

/// What is known after the API server has sent this, and nothing more.
fn after(body: &[u8], is_page: bool, piece: usize) -> Arc<Cache> {
    let pieces: Vec<_> = body.chunks(piece).map(Bytes::copy_from_slice).collect();
    let frames = stream::iter(pieces).map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let mut answers = match is_page {
        // Streaming is refused, and the accounts are listed in pages.
        true => vec![(StatusCode::OK, frames.boxed()), (StatusCode::BAD_REQUEST, stream::empty().boxed())],
        // A watch stays open.
        false => vec![(StatusCode::OK, frames.chain(stream::pending()).boxed())],
    };
    let service = tower::service_fn(move |_: Request<Body>| {
        let answer = answers.pop();
        async move {
            let Some((status, frames)) = answer else { return pending().await };
            let mut response = Response::new(StreamBody::new(frames));
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        }
    });
    // Time stands still while anything can be done, and then jumps to the next timeout.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let (cache, writer) = Cache::new(METRICS.accounts.clone());
        let follow = watch::follow(Client::new(service, "default"), assignments(), writer);
        tokio::time::timeout(Duration::from_secs(2), follow).await.ok();
        cache
    })
}

struct Reference {
    /// Every account that was named, and its annotations if it exists.
    accounts: BTreeMap<Names, Option<Annotations>>,
    is_synced: bool,
}

/// Why the reference makes no claim: the text is not as a JSON library writes it (the program skips what it does not need, and
/// does not mind if that is malformed), or a limit of the program may count.
struct Unclear;

/// A list's items are known if all of them and the list's metadata can be read.
fn page(body: &[u8]) -> Result<Reference, Unclear> {
    let list = json(body)?;
    let fields = list.as_object().ok_or(Unclear)?;
    let arrays: Vec<_> = fields.values().filter_map(Value::as_array).collect();
    let ([items], Some(metadata)) = (&arrays[..], list["metadata"].as_object()) else { return Err(Unclear) };
    let is_whole = metadata.get("continue").is_none_or(|next| next == "");
    let is_list = metadata
        .get("resourceVersion")
        .is_some_and(|version| version.as_str().is_some_and(|it| !it.is_empty()));
    if !is_whole || !is_list || !items.iter().all(Value::is_object) {
        return Err(Unclear);
    }
    let mut accounts = BTreeMap::new();
    for item in items.iter() {
        let Some(account) = account(item)?.filter(Account::is_named) else {
            return Ok(Reference { accounts, is_synced: false });
        };
        accounts.insert(account.names, Some(account.annotations));
    }
    Ok(Reference { accounts, is_synced: true })
}

/// Accounts are known with the bookmark that ends the initial events; later events count up to the first that can't be read.
fn events(body: &[u8]) -> Result<Reference, Unclear> {
    let mut reference = Reference { accounts: BTreeMap::new(), is_synced: false };
    let whole = body.iter().rposition(|byte| *byte == b'\n').map_or(&[][..], |end| &body[..end]);
    for line in whole.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty())
    {
        let event = json(line)?;
        let (Some(kind), Some(object)) = (event["type"].as_str(), event["object"].as_object()) else {
            return Err(Unclear);
        };
        if object.contains_key("code") || object.contains_key("message") || kind == "ERROR" {
            return Err(Unclear);
        }
        let Some(account) = account(&event["object"])? else { return Ok(reference) };
        let is_named = account.is_named();
        match kind {
            "ADDED" | "MODIFIED" if is_named => {
                reference.accounts.insert(account.names, Some(account.annotations));
            }
            "DELETED" if is_named => {
                reference.accounts.insert(account.names, None);
            }
            "BOOKMARK" => {
                let ends =
                    |(key, value): &(String, String)| key == "k8s.io/initial-events-end" && value == "true";
                reference.is_synced |= account.annotations.iter().any(ends);
            }
            _ => return Ok(reference),
        }
        // A version to go on from is needed once the watch has begun.
        if reference.is_synced && kind != "BOOKMARK" && account.version.is_empty() {
            return Ok(reference);
        }
        if kind == "BOOKMARK" && account.version.is_empty() {
            return Err(Unclear);
        }
    }
    Ok(reference)
}

struct Account {
    names: Names,
    version: String,
    annotations: Annotations,
}

impl Account {
    fn is_named(&self) -> bool {
        !self.names.0.is_empty() && !self.names.1.is_empty()
    }
}

/// `None` if it can't be read.
fn account(object: &Value) -> Result<Option<Account>, Unclear> {
    let nothing = Map::new();
    let metadata = match &object["metadata"] {
        Value::Null => &nothing,
        Value::Object(metadata) => metadata,
        _ => return Ok(None),
    };
    let text = |field: &str| match metadata.get(field) {
        None | Some(Value::Null) => Some(String::new()),
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => None,
    };
    let (Some(namespace), Some(name), Some(version)) =
        (text("namespace"), text("name"), text("resourceVersion"))
    else {
        return Ok(None);
    };
    let annotations = match metadata.get("annotations") {
        None | Some(Value::Null) => &nothing,
        Some(Value::Object(annotations)) => annotations,
        Some(_) => return Ok(None),
    };
    // The API server takes no namespace with a slash, and the program relies on that.
    if annotations.len() > MAX_SUSPECTS || namespace.contains('/') {
        return Err(Unclear);
    }
    let annotations = annotations.iter().map(|(key, value)| match value {
        Value::Null => Ok((key.clone(), String::new())),
        Value::String(value) => Ok((key.clone(), value.clone())),
        _ => Err(Unclear),
    });
    Ok(Some(Account {
        names: (namespace, name),
        version,
        annotations: annotations.collect::<Result<_, _>>()?,
    }))
}

fn json(text: &[u8]) -> Result<Value, Unclear> {
    let value: Value = serde_json::from_slice(text).map_err(|_| Unclear)?;
    if value.to_string().as_bytes() == text { Ok(value) } else { Err(Unclear) }
}
