//! `mutate`: the core without a cluster, for manifests in a pipeline and for recorded requests.

mod field_types;
mod injector;
mod output;
mod pod_locations;

use std::{
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};

use self::{
    injector::{Accounts, Injector},
    output::Printed,
};
use crate::{
    accounts::{
        assignments::{Assignments, container_credentials_file},
        sources::manifests::{self, Loaded},
    },
    cli::MutateArgs,
    injection::{resolver::Resolver, settings::Settings},
    yaml::{self, Document, Parsed},
};

/// Reads, injects and prints. Nothing is printed unless every document could be read and injected.
pub fn run(args: MutateArgs) -> anyhow::Result<()> {
    let (file, text) = read(&args.file)?;
    let documents = parse(&file, &text)?;
    let container_credentials = args.injection.container.file().map(container_credentials_file::load);
    let container_credentials =
        container_credentials.transpose().context("--watch-container-credentials-config")?;
    let settings: Arc<Settings> = Arc::new(args.injection.into_settings());
    let mut assignments = Assignments::new(Arc::new(Resolver::new(Arc::clone(&settings))));
    if let Some(list) = container_credentials {
        assignments.set_container_credentials(Arc::new(list));
    }
    let (declared, origin) =
        declared(&file, &documents, &args.namespace, args.service_accounts.as_deref(), &assignments)?;
    let known = declared.resolve(&mut assignments);
    let known = known.map(|(namespace, name, account)| ((namespace, name), account)).collect();
    let accounts = Accounts { known, origin, is_strict: args.strict };

    let mut injector = Injector::new(settings, accounts, args.namespace);
    let mut printed = Vec::new();
    for (document, parsed) in &documents {
        let place = || format!("{file}, document {}, line {}", document.number, document.line);
        let mutated = injector.mutate(document, parsed).with_context(place)?;
        for (kind, message) in &mutated.messages {
            eprintln!("{kind}: {}: {message}", place());
        }
        printed.push(Printed::new(*document, parsed, &mutated, args.output).with_context(place)?);
    }
    super::print(&output::render(&text, &printed, args.output))
}

/// The accounts of the input and of `--service-accounts`, of which the input's stand, and where they are from.
fn declared(
    file: &str,
    documents: &[(Document<'_>, Parsed)],
    namespace: &str,
    service_accounts: Option<&Path>,
    assignments: &Assignments,
) -> anyhow::Result<(Loaded, String)> {
    let resolver = assignments.resolver();
    let input = manifests::declared_in(documents, resolver, namespace).with_context(|| file.to_owned())?;
    warn_of_refused(file, &input);
    let Some(path) = service_accounts else {
        return Ok((input, "the input (or give --service-accounts)".to_owned()));
    };
    let listed = manifests::load(path, resolver).context("--service-accounts")?;
    let path = path.display().to_string();
    warn_of_refused(&path, &listed);
    Ok((listed.with(input), format!("the input or in {path}")))
}

fn warn_of_refused(origin: &str, loaded: &Loaded) {
    for refused in loaded.mapping.refused() {
        eprintln!("warning: {origin}: malformed role mapping {refused}");
    }
}

fn parse<'a>(file: &str, text: &'a str) -> anyhow::Result<Vec<(Document<'a>, Parsed)>> {
    let documents = yaml::documents(text).into_iter();
    let parsed = documents.map(|document| {
        let parsed = document.parse().or_else(|error| {
            // Published charts repeat keys; a document that can't be read for another reason can't be read this way, either.
            let parsed = document.parse_repeated_keys().map_err(|_| anyhow!("{file}: {error}"))?;
            eprintln!("warning: {file}: {error}; the last one counts, as with kubectl");
            Ok::<_, anyhow::Error>(parsed)
        })?;
        Ok((document, parsed))
    });
    let parsed = parsed.collect::<anyhow::Result<Vec<_>>>()?;
    // Helm leaves comments of a template that is disabled.
    if parsed.is_empty() && text.trim().is_empty() {
        bail!("{file}: nothing in it");
    }
    Ok(parsed)
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
