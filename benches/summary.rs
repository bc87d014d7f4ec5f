//! A line for each target: name, figure, target, ok or missed. Together they are a Markdown table.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::process::ExitCode;

/// One target and what was measured.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) figure: String,
    pub(crate) target: String,
    pub(crate) ok: bool,
}

/// The table as far as it was printed.
pub(crate) struct Summary {
    missed: usize,
}

impl Summary {
    /// Prints the head of the table.
    pub(crate) fn begin() -> Self {
        println!("| what | figure | target | |\n| --- | --- | --- | --- |");
        Self { missed: 0 }
    }

    pub(crate) fn line(&mut self, line: Line) {
        let Line { name, figure, target, ok } = line;
        self.missed += usize::from(!ok);
        let verdict = match (ok, &*target) {
            (_, "") => "",
            (true, _) => "ok",
            (false, _) => "missed",
        };
        println!("| {name} | {figure} | {target} | {verdict} |");
    }

    /// Prints a figure without a target.
    pub(crate) fn note(&mut self, name: String, figure: String) {
        println!("| {name} | {figure} | | |");
    }

    /// Success if every target was met.
    pub(crate) fn end(self) -> ExitCode {
        if self.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
