//! The listeners: connections, TLS and HTTP around the pure core.
//!
//! ```text
//! listen (accept, limits) → tls (handshake) → connection (timeouts, drain) ─┬─▶ mutate (body → core → reply)
//!                                                                           └─▶ admin (probes, metrics, debug)
//! ```

mod activity;
pub mod admin;
mod body;
mod closed;
mod connection;
pub mod debug;
mod handover;
pub mod listen;
mod memory;
pub mod mutate;
mod occupancy;
pub mod probe;
mod record;
mod reply;
mod scrape;
mod tracked_io;
mod turns;
mod waits;
pub mod workers;

pub use self::activity::{Protocol, Timeouts};
