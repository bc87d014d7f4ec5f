//! The report as Markdown, for a pull request.

use std::fmt;

use super::{
    report::Report,
    table::{MAX_DIFFERENCES, Rows},
};

/// Prints a report as Markdown.
pub(super) struct Markdown<'r>(pub(super) &'r Report);

impl fmt::Display for Markdown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        writeln!(f, "### Webhook comparison: {}\n", report.verdict().headline(report.sides.len()))?;
        for sentence in report.sentences() {
            writeln!(f, "- {}", escape(&sentence))?;
        }
        for side in &report.sides {
            let version =
                side.about.version.as_ref().map_or(String::new(), |version| format!(", version {version}"));
            writeln!(f, "- {}: `{}`{}", side.name, side.url, escape(&version))?;
        }
        writeln!(f, "- measured on {}\n", report.machine)?;
        let Rows { head, rows } = Rows::of(report);
        writeln!(f, "| {} |", head.join(" | "))?;
        writeln!(f, "| --- |{}", " ---: |".repeat(head.len() - 1))?;
        rows.iter().try_for_each(|row| writeln!(f, "| {} |", row.join(" | ")))?;
        self.write_differences(f)
    }
}

impl Markdown<'_> {
    fn write_differences(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differences = &self.0.verification.differences;
        if differences.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n| request | path | baseline | candidate |\n| --- | --- | --- | --- |")?;
        let all = differences.iter().flat_map(|(review, all)| all.iter().map(move |one| (review, one)));
        for (review, difference) in all.clone().take(MAX_DIFFERENCES) {
            let [baseline, candidate] = difference.texts().map(|text| escape(&text));
            writeln!(
                f,
                "| {} | {} | {baseline} | {candidate} |",
                escape(review),
                escape(difference.place())
            )?;
        }
        match all.skip(MAX_DIFFERENCES).count() {
            0 => Ok(()),
            more => writeln!(f, "\nand {more} more; `--output json` has them all"),
        }
    }
}

/// Text that Markdown prints as it is, also within a table.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' => escaped.push(' '),
            '\\' | '|' | '`' | '*' | '_' | '<' | '>' | '[' | ']' | '#' | '~' => {
                escaped.extend(['\\', character])
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_breaks_out_of_its_cell() {
        assert_eq!(escape("a|b\n<img> `c` [d](e)"), r"a\|b \<img\> \`c\` \[d\](e)");
    }
}
