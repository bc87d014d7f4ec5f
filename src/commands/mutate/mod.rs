//! `mutate`: the core without a cluster, for manifests in a pipeline and for recorded requests.

mod injector;

use std::{
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};

use self::injector::{Injector, Kind, Mutated};
use crate::{
    accounts::{
        assignments::{Assignments, container_credentials_file},
        sources::manifests,
    },
    admission::Webhook,
    cli::{MutateArgs, Output},
    injection::resolver::Resolver,
    yaml::{self, Document},
};

/// Reads, injects and prints. Nothing is printed unless everything could be read and answered.
pub fn run(args: MutateArgs) -> anyhow::Result<()> {
    let container_credentials = args.injection.container.file().map(container_credentials_file::load);
    let container_credentials =
        container_credentials.transpose().context("--watch-container-credentials-config")?;
    let settings = Arc::new(args.injection.into_settings());
    let mut assignments = Assignments::new(Arc::new(Resolver::new(Arc::clone(&settings))));
    let loaded =
        manifests::load(&args.service_accounts, assignments.resolver()).context("--service-accounts")?;
    for refused in loaded.mapping.refused() {
        eprintln!("warning: {}: malformed role mapping {refused}", args.service_accounts.display());
    }
    if let Some(list) = container_credentials {
        assignments.set_container_credentials(Arc::new(list));
    }
    let (file, text) = read(&args.file)?;

    let accounts_path = args.service_accounts.display().to_string();
    let mut injector = Injector::new(
        Webhook::new(settings),
        loaded.resolve(&mut assignments),
        accounts_path,
        args.namespace,
    );
    let mut printed = Vec::new();
    for document in yaml::documents(&text) {
        let (number, line) = (document.number, document.line);
        // A document that can't be parsed knows the line within it.
        let parsed = document.parse().with_context(|| file.clone())?;
        let place = || format!("{file}, document {number}, line {line}");
        let is_json = parsed.is_json;
        let mutated = injector.mutate(&document, parsed).with_context(place)?;
        for warning in &mutated.warnings {
            eprintln!("warning: {}: {warning}", place());
        }
        printed.push(print(&document, is_json, &mutated, args.output).with_context(place)?);
    }
    if printed.is_empty() {
        bail!("{file}: no documents in it");
    }
    super::print(&join(&printed))
}

fn read(path: &Path) -> anyhow::Result<(String, String)> {
    let mut bytes = Vec::new();
    let name = if path == "-" { "standard input".to_owned() } else { path.display().to_string() };
    if path == "-" {
        io::stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
    }
    .with_context(|| format!("{name}: can't read it"))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&c| c == b'\n').count();
        anyhow!("{name}, line {line}: not UTF-8")
    })?;
    Ok((name, text))
}

/// A document as it is to be printed.
struct Printed {
    text: String,
    /// Whether a marker has to part it from its neighbours.
    is_separated: bool,
}

fn print(
    document: &Document<'_>,
    is_json: bool,
    mutated: &Mutated,
    output: Option<Output>,
) -> anyhow::Result<Printed> {
    let verbatim = || document.text.to_owned();
    let is_unchanged = mutated.patch.0.is_empty();
    let text = match (output, &mutated.kind) {
        (Some(Output::Patch), _) => serde_json::to_string(&mutated.patch)?,
        (None, Kind::Review { answer }) => answer.clone(),
        // Whatever was not changed is printed as it was written, comments and all.
        (None, Kind::Manifest) if is_unchanged => verbatim(),
        (Some(Output::Yaml), Kind::Manifest) if is_unchanged && !is_json => verbatim(),
        (None, Kind::Manifest) if is_json => serde_json::to_string_pretty(&mutated.value)?,
        (Some(Output::Json), _) => serde_json::to_string_pretty(&mutated.value)?,
        (Some(Output::Yaml) | None, _) => serde_saphyr::to_string(&mutated.value)?,
    };
    let is_separated = match (output, &mutated.kind) {
        (Some(Output::Yaml), _) => true,
        (Some(Output::Patch | Output::Json), _) | (None, Kind::Review { .. }) => false,
        (None, Kind::Manifest) => !is_json || document.is_separated,
    };
    Ok(Printed { text, is_separated })
}

fn join(printed: &[Printed]) -> String {
    let mut out = String::new();
    for (index, document) in printed.iter().enumerate() {
        if index > 0 && (document.is_separated || printed[index - 1].is_separated) {
            // Directives may only follow the end of a document.
            out.push_str(if document.text.starts_with('%') { "...\n" } else { "---\n" });
        }
        // The blank lines at the end of a document may belong to a block scalar (`|+`).
        out.push_str(&document.text);
        if !document.text.ends_with('\n') {
            out.push('\n');
        }
    }
    out
}
