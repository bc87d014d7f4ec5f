//! The API server as this program uses it: clients, calls and their errors in words, collections, watches, one object by name, its
//! clock, and pauses after failures.

pub mod backoff;
pub mod call;
pub mod client;
pub mod clock;
pub mod collection;
pub mod documents;
pub mod fields;
pub mod object;
pub mod proxy;
pub mod root_cause;
pub mod watch;
