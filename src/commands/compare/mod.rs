//! `compare`: two webhooks, or two versions of one, by recorded requests: do they give the same pods, and how fast.

mod about;
mod answer;
mod client;
mod connection;
mod difference;
mod installed;
mod live_pods;
mod machine;
mod markdown;
mod measurement;
mod page;
mod plot;
mod replay;
mod report;
mod review;
mod sides;
mod stream;
mod table;
mod tls;
mod verification;

use std::{fs, process::ExitCode};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use self::{
    machine::Machine,
    markdown::Markdown,
    replay::{Limit, Load},
    report::Report,
};
use super::cluster::Clusters;
use crate::{
    cli::{CompareArgs, CompareForm, CompareLoadArgs},
    server::Protocol,
};

/// Asks both, compares, measures and prints. The exit code says what came of it.
pub fn run(args: CompareArgs) -> anyhow::Result<ExitCode> {
    super::block_on(Box::pin(compare(args)))
}

async fn compare(args: CompareArgs) -> anyhow::Result<ExitCode> {
    let (trust, mut clusters) = (args.tls, Clusters::new(args.cluster));
    let reviews = match (args.reviews, args.from_cluster) {
        (Some(path), _) => review::load(&path).context("--reviews")?,
        (None, max) => {
            let max = max.unwrap_or_default().into();
            live_pods::load(clusters.client().await?, max).await.context("--from-cluster")?
        }
    };
    let max_ratio = args.load.max_ratio;
    let load = Load::from(args.load);
    let mut sides = Vec::new();
    for (name, side) in [("baseline", args.baseline.into()), ("candidate", args.candidate.into())] {
        sides.extend(sides::find(name, side, &trust, load.protocol, &mut clusters).await?);
    }

    let bar = progress_bar("comparing")?;
    bar.set_length(reviews.len() as u64);
    let verification = verification::verify(&sides, &reviews, &bar).await?;

    let measured = replay::replay(&sides, reviews, load, progress_bar("measuring")?).await?;

    let report = Report { sides, machine: Machine::this(), verification, measured, load, max_ratio };
    if let Some(path) = &args.report {
        let page = page::render(&report)?;
        fs::write(path, page).with_context(|| format!("--report: can't write {}", path.display()))?;
    }
    super::print(&match args.output {
        CompareForm::Text => report.to_string(),
        CompareForm::Json => format!("{:#}\n", report.to_json()),
        CompareForm::Markdown => Markdown(&report).to_string(),
    })?;
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
        let protocol = if args.http2 { Protocol::Http2 } else { Protocol::Http1 };
        Self { protocol, concurrency: args.concurrency.into(), warm_up: args.warm_up, limit }
    }
}
