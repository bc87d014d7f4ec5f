//! All objects of a kind: listed in pages, or watched.

use bytes::BytesMut;
use kube::Client;
use serde::Deserialize;

use super::{
    call::{CallError, get, send},
    documents::{Documents, ListItems},
    watch::{WATCH_SECONDS, Watch},
};

/// How many objects the first page has. Nothing is known of their size yet.
const FIRST_PAGE: usize = 50;

/// The most objects that a page has.
const LARGEST_PAGE: usize = 5_000;

/// How large pages are, if objects are as large as in the page before.
const PAGE_BYTES: usize = 8 << 20;

/// A collection of the API server.
#[derive(Clone)]
pub struct Collection {
    /// The client.
    pub client: Client,
    /// Its path, such as `/api/v1/namespaces/n/secrets`.
    pub path: String,
    /// A selector, as a query such as `fieldSelector=metadata.name%3Dx`; may be empty.
    pub selector: String,
    /// How much of the objects is wanted.
    pub form: Form,
}

/// How much of objects is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// All of them.
    Whole,
    /// Their metadata.
    Metadata,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug)]
pub enum WatchFrom<'v> {
    /// With the objects that exist, and a bookmark that says when all of them have been sent (WatchList,
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>). Without a version this is a
    /// consistent read.
    InitialEvents,
    /// After this version.
    Version(&'v str),
    /// With the objects that exist; nothing says when all of them have been sent.
    Present,
}

impl Collection {
    /// Starts a watch.
    pub async fn watch(&self, from: WatchFrom<'_>) -> Result<Watch, CallError> {
        let from = match from {
            WatchFrom::InitialEvents => {
                "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
                    .to_owned()
            }
            WatchFrom::Version(version) => format!("&resourceVersion={version}&allowWatchBookmarks=true"),
            WatchFrom::Present => String::new(),
        };
        let query = format!("watch=true&timeoutSeconds={WATCH_SECONDS}{from}");
        let response = send(&self.client, get(&self.uri(&query), self.form.of_event())?).await?;
        Ok(Watch::of(Documents::of(response.into_body())))
    }

    /// Lists in pages. Asks for the first one.
    pub async fn list(&self) -> Result<Items, CallError> {
        let page = self.page(FIRST_PAGE, "").await?;
        Ok(Items { collection: self.clone(), page, count: 0, version: String::new() })
    }

    async fn page(&self, limit: usize, after: &str) -> Result<Documents<ListItems>, CallError> {
        let query = format!("limit={limit}&continue={after}");
        let response = send(&self.client, get(&self.uri(&query), self.form.of_list())?).await?;
        Ok(Documents::of(response.into_body()))
    }

    fn uri(&self, query: &str) -> String {
        let separator = if self.selector.is_empty() { "" } else { "&" };
        format!("{}?{query}{separator}{}", self.path, self.selector)
    }
}

impl Form {
    fn of_event(self) -> &'static str {
        match self {
            Self::Whole => "application/json",
            Self::Metadata => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        }
    }

    fn of_list(self) -> &'static str {
        match self {
            Self::Whole => "application/json",
            Self::Metadata => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        }
    }
}

/// The objects of a list, page by page.
pub struct Items {
    collection: Collection,
    page: Documents<ListItems>,
    /// How many objects the page has had so far.
    count: usize,
    version: String,
}

impl Items {
    /// The next object; `None` after the last. May be dropped while it waits, and called again.
    pub async fn next(&mut self) -> Result<Option<BytesMut>, CallError> {
        loop {
            if let Some(item) = self.page.next().await? {
                self.count += 1;
                return Ok(Some(item));
            }
            let ListMeta { resource_version, next } = ListMeta::of(self.page.framer().list())?;
            if self.version.is_empty() {
                self.version = resource_version;
            }
            if next.is_empty() {
                return Ok(None);
            }
            let limit = limit(self.count, self.page.received());
            self.page = self.collection.page(limit, &next).await?;
            self.count = 0;
        }
    }

    /// The version to watch from, once the last object has been read. It is that of the first page: a watch from there misses
    /// nothing, even where later pages are not of the same version.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// How many objects the next page has, after one with so many objects and bytes.
fn limit(objects: usize, bytes: usize) -> usize {
    (PAGE_BYTES * objects / bytes.max(1)).clamp(1, LARGEST_PAGE)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

impl ListMeta {
    fn of(list: &[u8]) -> Result<Self, CallError> {
        #[derive(Deserialize)]
        struct List {
            metadata: ListMeta,
        }
        let list: Result<List, _> = serde_json::from_slice(list);
        Ok(list.map_err(|error| CallError::Unreadable(format!("not a list: {error}")))?.metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_the_size_of_objects() {
        assert_eq!(limit(50, 50 * 1_000), LARGEST_PAGE);
        assert_eq!(limit(5_000, 5_000 * 10_000), 838);
        assert_eq!(limit(50, 50 * 1_600_000), 5);
        assert_eq!(limit(1, 20 << 20), 1);
        assert_eq!(limit(0, 300), 1);
    }
}
