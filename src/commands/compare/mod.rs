//! `compare`: two webhooks, or two versions of one, by recorded requests: do they give the same pods, and how fast.

mod answer;
mod client;
mod difference;
mod measurement;
mod replay;
mod report;
mod review;
mod table;
mod tls;
mod verification;

use std::{process::ExitCode, sync::Arc};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use self::{
    client::Side,
    replay::{Limit, Load},
    report::Report,
};
use crate::cli::{CompareArgs, CompareLoadArgs};

/// Asks both, compares, measures and prints. The exit code says what came of it.
pub fn run(args: CompareArgs) -> anyhow::Result<ExitCode> {
    super::block_on(Box::pin(compare(args)))
}

async fn compare(args: CompareArgs) -> anyhow::Result<ExitCode> {
    let reviews = review::load(&args.reviews).context("--reviews")?;
    let tls = Arc::new(tls::load(args.tls)?);
    let side = |(name, url)| Arc::new(Side { name, url, tls: Arc::clone(&tls) });
    let urls = [("baseline", args.baseline), ("candidate", args.candidate)];
    let sides: Vec<Arc<Side>> =
        urls.into_iter().filter_map(|(name, url)| url.map(|url| side((name, url)))).collect();

    let bar = progress_bar("comparing")?;
    bar.set_length(reviews.len() as u64);
    let verification = verification::verify(&sides, &reviews, &bar).await?;

    let max_ratio = args.load.max_ratio;
    let load = Load::from(args.load);
    let measured = replay::replay(&sides, reviews, load, progress_bar("measuring")?).await?;

    let report = Report { sides, verification, measured, load, max_ratio };
    super::print_report(&report, || report.to_json(), args.output)?;
    Ok(report.verdict().into())
}

/// A bar on standard error, which shows itself to people only.
fn progress_bar(what: &'static str) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg:>9} {wide_bar} {percent:>3}%")?;
    Ok(ProgressBar::no_length().with_style(style).with_message(what))
}

impl From<CompareLoadArgs> for Load {
    fn from(args: CompareLoadArgs) -> Self {
        let limit = args.count.map_or(Limit::Duration(args.duration), Limit::Count);
        Self { concurrency: args.concurrency.into(), warm_up: args.warm_up, limit }
    }
}
