//! What the program can do, one file each.

pub mod mutate;
pub mod serve;
