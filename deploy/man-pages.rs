//! `cargo run --example man-pages DIR` writes a page for the program and one for each command, from the definitions of the
//! flags. For who packages it; the program itself stays the smaller.

use std::{fs, io, path::PathBuf};

use clap::CommandFactory;
use eks_pod_identity_webhook::cli::Cli;

fn main() -> io::Result<()> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from);
    let dir = dir
        .ok_or_else(|| io::Error::other("want the folder to write to, such as /usr/local/share/man/man1"))?;
    fs::create_dir_all(&dir)?;
    clap_mangen::generate_to(Cli::command(), dir)
}
