//! What the pages say leads somewhere: links, anchors, flags and the chart's values.

use std::{
    collections::{BTreeMap, HashMap},
    fs, iter,
    path::{Path, PathBuf},
};

use clap::CommandFactory;
use eks_pod_identity_webhook::cli::{Cli, foreign_flags};

/// Flags that stand alone in the pages' prose, and are other programs'.
const FLAGS_OF_OTHERS: &[&str] = &[
    "admission-control-config-file",
    "api-audiences",
    "bench",
    "force-conflicts",
    "labels",
    "locked",
    "provenance",
    "rounds",
    "set",
    "set-json",
    "threshold",
    "thumbprint-list",
];

#[test]
fn links_between_pages_lead_somewhere() {
    for (page, text) in pages() {
        for link in links(&prose(&text)).filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() {
                let headings = anchors(&prose(&fs::read_to_string(&target).unwrap()));
                assert!(headings.contains(&anchor.to_owned()), "{}: {link}: {headings:?}", page.display());
            }
        }
    }
}

#[test]
fn every_flag_in_the_pages_exists() {
    let command = Cli::command();
    let commands = command.get_subcommands().flat_map(|sub| iter::once(sub).chain(sub.get_subcommands()));
    let flags: Vec<&str> =
        commands.flat_map(|command| command.get_arguments()).filter_map(|arg| arg.get_long()).collect();
    for (page, text) in pages() {
        for code in code_spans(&prose(&text), &page) {
            let Some(rest) = code.strip_prefix("--") else { continue };
            let flag = rest.split(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c)).next().unwrap();
            let known = flag.is_empty()
                || flags.contains(&flag)
                || FLAGS_OF_OTHERS.contains(&flag)
                || foreign_flags().any(|foreign| foreign == flag);
            assert!(known, "{}: `--{flag}` is not a flag of any command", page.display());
        }
    }
}

/// Wherever a page says `helm install … --set a.b=c`.
#[test]
fn every_chart_value_that_the_pages_set_exists() {
    let chart = root().join("deploy/helm/eks-pod-identity-webhook/values.yaml");
    let values: serde_json::Value = serde_saphyr::from_str(&fs::read_to_string(chart).unwrap()).unwrap();
    for (page, text) in pages() {
        for option in ["--set ", "--set-string "] {
            for rest in text.split(option).skip(1) {
                let assignment = rest.trim_start_matches(['\'', '"']);
                let (path, _) =
                    assignment.split_once('=').unwrap_or_else(|| panic!("{}: {rest}", page.display()));
                // A dot within a name, such as an annotation's, is escaped; such names are free.
                let path = path.split("\\.").next().unwrap();
                let pointer = format!("/{}", path.replace('.', "/"));
                let parent = pointer.rsplit_once('/').unwrap().0;
                let exists = values.pointer(&pointer).is_some()
                    || values.pointer(parent).is_some_and(|map| *map == serde_json::json!({}));
                assert!(exists, "{}: {path} is no value of the chart", page.display());
            }
        }
    }
}

/// The site is built strictly by `.ci/lint`, which fails late; this fails at once.
#[test]
fn every_page_of_docs_is_in_the_navigation() {
    let site = fs::read_to_string(root().join("mkdocs.yml")).unwrap();
    let docs = root().join("docs");
    for page in pages().keys().filter_map(|page| page.strip_prefix(&docs).ok()) {
        let page = page.to_str().unwrap();
        let listed = site.lines().any(|line| line.trim_start().starts_with("- ") && line.ends_with(page));
        assert!(listed, "docs/{page} is not in mkdocs.yml's `nav`");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page of the repository, by its path.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut pages = BTreeMap::new();
    let mut folders = ["docs", "deploy", "benches", "tests"].map(|name| root().join(name)).to_vec();
    let top = ["README.md", "CHANGELOG.md", "SECURITY.md"].map(|name| root().join(name));
    let mut paths = top.to_vec();
    while let Some(folder) = folders.pop() {
        paths.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
        folders.extend(paths.extract_if(.., |path| path.is_dir()));
    }
    for path in paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(&path).unwrap();
        pages.insert(path, text);
    }
    pages
}

/// A page without its blocks of code.
fn prose(page: &str) -> String {
    let mut in_block = false;
    let lines = page.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn links(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap())
}

/// The anchors that GitHub gives to a page's headings.
fn anchors(prose: &str) -> Vec<String> {
    let mut seen = HashMap::new();
    let headings = prose
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    headings
        .map(|heading| {
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
            let anchor = kept.collect::<String>().to_lowercase().replace(' ', "-");
            let before = seen.entry(anchor.clone()).and_modify(|count| *count += 1).or_insert(0);
            if *before == 0 { anchor } else { format!("{anchor}-{before}") }
        })
        .collect()
}

/// What stands between backticks, paragraph by paragraph.
fn code_spans<'a>(prose: &'a str, page: &Path) -> Vec<&'a str> {
    let paragraphs = prose.split("\n\n");
    paragraphs
        .flat_map(|paragraph| {
            let parts: Vec<&str> = paragraph.split('`').collect();
            assert!(parts.len() % 2 == 1, "{}: a backtick too many: {paragraph}", page.display());
            parts.into_iter().skip(1).step_by(2)
        })
        .collect()
}
