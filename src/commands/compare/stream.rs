//! Bytes to and from a webhook, whether it is called directly or through a port-forward.

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection.
pub(super) type Stream = Box<dyn Duplex>;

/// Both directions of a connection.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin> Duplex for IO {}
