//! The reference pages list every flag, annotation and metric.

use std::collections::{BTreeMap, BTreeSet};

use clap::CommandFactory;
use eks_pod_identity_webhook::{
    admission::Outcome,
    cli::{Cli, foreign_flags},
    injection::{
        annotation::{Annotation, Place},
        warning::WarningKind,
    },
    metrics::Metrics,
};

#[test]
fn the_reference_pages_list_every_flag_with_its_default() {
    let command = Cli::command();
    let of = |name: &str| command.find_subcommand(name).unwrap().get_arguments();
    let [serve, compare, mutate] = [
        include_str!("../../docs/reference/flags.md"),
        include_str!("../../docs/reference/compare.md"),
        include_str!("../../docs/reference/mutate.md"),
    ];
    for (command, page) in [("serve", serve), ("compare", compare)] {
        for arg in of(command) {
            let flag = arg.get_long().unwrap();
            let row = page.lines().find(|line| line.starts_with(&format!("| `--{flag}` |")));
            let row = row.unwrap_or_else(|| panic!("--{flag} is not on the page of {command}"));
            for default in arg.get_default_values() {
                assert!(row.contains(&format!("`{}`", default.to_str().unwrap())), "--{flag}: {row}");
            }
        }
    }
    // The injection flags that `mutate` shares with `serve` are on the page of `serve`.
    for arg in of("mutate") {
        let flag = arg.get_long().unwrap();
        let listed = [mutate, serve].iter().any(|page| page.contains(&format!("`--{flag}`")));
        assert!(listed, "--{flag} is on neither page");
    }
}

#[test]
fn the_page_on_annotations_lists_each_with_its_place_and_variables() {
    let page = include_str!("../../docs/reference/annotations.md");
    for &annotation in Annotation::ALL {
        let place = match annotation.place() {
            Place::Accounts => "ServiceAccount",
            Place::Pods => "pod, then ServiceAccount",
        };
        let row = format!("| `eks.amazonaws.com/{}` | {place} |", annotation.name());
        assert!(page.contains(&row), "not on the page: {row}");
        for variable in annotation.variables() {
            let name = variable.name();
            let is_listed =
                page.lines().any(|line| line.starts_with("| `AWS_") && line.contains(&format!("`{name}`")));
            assert!(is_listed, "{name} is not on the page");
        }
    }
}

/// Commands whose flags have a page of their own.
#[test]
fn the_pages_of_commands_list_every_flag_with_its_variable_and_default() {
    let command = Cli::command();
    let [trust_policy, oidc, audit, doctor] = [
        include_str!("../../docs/reference/trust-policy.md"),
        include_str!("../../docs/reference/oidc.md"),
        include_str!("../../docs/reference/audit.md"),
        include_str!("../../docs/reference/doctor.md"),
    ];
    for (path, page) in [
        (&["trust-policy"][..], trust_policy),
        (&["oidc", "generate"], oidc),
        (&["oidc", "verify"], oidc),
        (&["audit"], audit),
        (&["doctor"], doctor),
    ] {
        let command = path.iter().fold(&command, |command, name| command.find_subcommand(name).unwrap());
        for arg in command.get_arguments() {
            let (flag, env) = (arg.get_long().unwrap(), arg.get_env().unwrap().to_str().unwrap());
            let row = page.lines().find(|line| line.starts_with(&format!("| `--{flag}` | `{env}` |")));
            let row = row.unwrap_or_else(|| panic!("--{flag} is not on the page of {path:?}"));
            for default in arg.get_default_values() {
                assert!(row.contains(&format!("`{}`", default.to_str().unwrap())), "--{flag}: {row}");
            }
        }
    }
}

#[test]
fn the_page_on_migrating_lists_every_flag_of_other_webhooks() {
    let page = include_str!("../../docs/migrating.md");
    let listed = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let listed: BTreeSet<&str> = listed.flat_map(|cell| cell.split('`').step_by(2)).map(str::trim).collect();
    for flag in foreign_flags() {
        assert!(listed.contains(flag), "{flag} is in no table of docs/migrating.md");
    }
}

#[test]
fn the_page_on_metrics_lists_each_with_its_labels_and_a_query() {
    let exposition = String::from_utf8(Metrics::with_namespaces(1).render()).unwrap();
    let page = include_str!("../../docs/reference/metrics.md");
    let sections: BTreeMap<&str, &str> =
        page.split("\n### `").skip(1).filter_map(|section| section.split_once('`')).collect();
    let defined: BTreeSet<&str> =
        exposition.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(sections.keys().copied().collect::<BTreeSet<_>>(), defined);
    for (name, section) in sections {
        let labels: BTreeSet<&str> = exposition.lines().flat_map(|line| labels_of(line, name)).collect();
        let listed = section.lines().find_map(|line| line.strip_prefix("Labels: "));
        let listed: BTreeSet<&str> =
            listed.into_iter().flat_map(|list| list.split('`').skip(1).step_by(2)).collect();
        assert_eq!(listed, labels, "{name}");
        let (_, query) = section.split_once("```promql\n").unwrap_or_else(|| panic!("{name} has no query"));
        assert!(query.split("```").next().unwrap().contains(name), "{name}: {query}");
    }
    for outcome in Outcome::ALL {
        let row = format!("| `{}` | `{}` |", outcome.as_str(), outcome.reason());
        assert!(page.contains(&row), "{row}");
    }
    for kind in WarningKind::ALL {
        assert!(page.contains(&format!("`{}`", kind.as_str())), "{kind:?}");
    }
}

/// The names of the labels in a line of an exposition, if it is one of this metric.
fn labels_of<'a>(line: &'a str, metric: &str) -> Vec<&'a str> {
    let Some((series, labels)) = line.split_once('}').and_then(|(head, _)| head.split_once('{')) else {
        return Vec::new();
    };
    let is_of_metric = ["", "_bucket", "_sum", "_count"].iter().any(|end| series == format!("{metric}{end}"));
    let names =
        labels.split(',').filter_map(|label| Some(label.split_once('=')?.0)).filter(|&name| name != "le");
    if is_of_metric { names.collect() } else { Vec::new() }
}

#[test]
fn the_readme_names_the_sdks_that_are_tested() {
    let readme = include_str!("../../README.md");
    let python = include_str!("../e2e/sdks/requirements.txt");
    for (sdk, file, before) in [
        ("boto3", python, "boto3=="),
        ("AWS CLI", python, "awscli=="),
        ("JavaScript", include_str!("../e2e/sdks/package.json"), "\"@aws-sdk/client-sts\": \""),
        ("Rust", include_str!("../e2e/sdks/rust/Cargo.lock"), "name = \"aws-sdk-sts\"\nversion = \""),
        ("Go", include_str!("../e2e/sdks/go/go.mod"), "github.com/aws/aws-sdk-go-v2 v"),
    ] {
        let (_, rest) = file.split_once(before).unwrap();
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap();
        let tested = format!("{sdk} {}", &rest[..end]);
        assert!(readme.contains(&tested), "the README does not name {tested}");
    }
}
