//! The listeners: connections, TLS and HTTP around the pure core.
//!
//! ```text
//! listen (accept, limits) → tls (handshake) → connection (timeouts, drain) ─┬─▶ mutate (the webhook's port)
//!                                                                           └─▶ admin (probes, metrics)
//! ```

pub mod admin;
mod connection;
pub mod drain;
pub mod listen;
pub mod mutate;
mod reply;
mod timeouts;
pub mod tls;

pub use self::timeouts::Timeouts;
