//! A line for each target: name, figure, target, ok or short. Together they are a Markdown table.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::process::ExitCode;

/// One target and what was measured.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) figure: String,
    pub(crate) target: String,
    pub(crate) ok: bool,
}

/// What was printed so far.
pub(crate) struct Summary {
    short: usize,
}

impl Summary {
    /// Prints the head of the table.
    pub(crate) fn begin() -> Self {
        println!("| what | figure | target | |\n| --- | --- | --- | --- |");
        Self { short: 0 }
    }

    pub(crate) fn line(&mut self, line: Line) {
        let Line { name, figure, target, ok } = line;
        self.short += usize::from(!ok);
        let verdict = match (ok, &*target) {
            (_, "") => "",
            (true, _) => "ok",
            (false, _) => "short",
        };
        println!("| {name} | {figure} | {target} | {verdict} |");
    }

    /// Prints what has no target.
    pub(crate) fn note(&mut self, name: String, figure: String) {
        println!("| {name} | {figure} | | |");
    }

    /// Success if every target was met.
    pub(crate) fn end(self) -> ExitCode {
        if self.short == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
