//! What the program can do, one file each.

pub mod compare;
pub mod mutate;
pub mod serve;
