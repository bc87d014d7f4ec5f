//! The JSON documents in an answer, one at a time as they arrive.
//!
//! An answer may be larger than the memory of the process: only the document that is arriving is kept.

mod lines;
mod list_items;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;

pub use self::{lines::Lines, list_items::ListItems};
use super::call::CallError;

/// How large one document may be. etcd stores 1.5 MiB, and JSON writes some characters in six bytes.
const MAX_BYTES: usize = 16 << 20;

/// A buffer that has grown beyond this is not kept for the next document.
const KEPT_BYTES: usize = 64 << 10;

/// Finds documents in the pieces of an answer.
pub trait Framer {
    /// Takes the next piece, once `next` has found nothing more in the last one.
    fn push(&mut self, piece: Bytes);

    /// The next document that is complete.
    fn next(&mut self) -> Option<BytesMut>;

    /// How many bytes are kept of a document that is not complete.
    fn pending(&self) -> usize;
}

/// The documents of an answer.
#[derive(Debug)]
pub struct Documents<F> {
    body: Body,
    framer: F,
    received: usize,
}

impl<F: Framer + Default> Documents<F> {
    pub(super) fn of(body: Body) -> Self {
        Self { body, framer: F::default(), received: 0 }
    }

    /// The next document; `None` at the end of the answer. May be dropped while it waits, and called again.
    pub async fn next(&mut self) -> Result<Option<BytesMut>, CallError> {
        loop {
            if let Some(document) = self.framer.next() {
                return Ok(Some(document));
            }
            if self.framer.pending() > MAX_BYTES {
                return Err(CallError::Unreadable(format!("an object of more than {MAX_BYTES} bytes")));
            }
            match self.body.frame().await.transpose()? {
                Some(frame) => {
                    if let Ok(piece) = frame.into_data() {
                        self.received += piece.len();
                        self.framer.push(piece);
                    }
                }
                None if self.framer.pending() > 0 => {
                    return Err(CallError::EndedMidway);
                }
                None => return Ok(None),
            }
        }
    }

    /// How many bytes of the answer have arrived.
    pub(super) fn received(&self) -> usize {
        self.received
    }

    pub(super) fn framer(&self) -> &F {
        &self.framer
    }
}

/// Takes what a buffer holds, and leaves one that is not large.
fn take(buffer: &mut BytesMut) -> BytesMut {
    let document = buffer.split();
    if document.len() > KEPT_BYTES {
        *buffer = BytesMut::new();
    }
    document
}
