//! What the program can do, one file each, and what they share.

mod cluster;
pub mod compare;
mod logging;
pub mod mutate;
pub mod serve;
