//! The API server as this program uses it: clients, one object by name, its clock, pauses after failures, errors in words.

pub mod backoff;
pub mod client;
pub mod clock;
pub mod fields;
pub mod object;
pub mod proxy;
pub mod root_cause;
