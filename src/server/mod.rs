//! The listeners: connections, TLS and HTTP around the pure core.
//!
//! ```text
//! listen (accept, limits) → tls (handshake) → connection (timeouts, drain) ─┬─▶ mutate (body → core → reply)
//!                                                                           └─▶ admin (probes, metrics, debug)
//! ```

pub mod admin;
mod body;
mod connection;
pub mod debug;
mod limits;
pub mod listen;
pub mod mutate;
mod reply;
mod scrape;
mod timeouts;

pub use self::timeouts::Timeouts;
