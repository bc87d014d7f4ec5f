//! The README lists what there is.

use clap::CommandFactory;
use eks_pod_identity_webhook::{admission::Outcome, cli::Cli, metrics::Metrics};

fn readme() -> &'static str {
    include_str!("../../README.md")
}

#[test]
fn the_readme_lists_every_flag_with_its_default() {
    let command = Cli::command();
    let of = |name: &str| command.find_subcommand(name).unwrap().get_arguments();
    for arg in of("serve").chain(of("compare")) {
        let flag = arg.get_long().unwrap();
        let row = readme().lines().find(|line| line.starts_with(&format!("| `--{flag}` |")));
        let row = row.unwrap_or_else(|| panic!("--{flag} is not in the README's table"));
        for default in arg.get_default_values() {
            assert!(row.contains(&format!("`{}`", default.to_str().unwrap())), "--{flag}: {row}");
        }
    }
    for arg in of("mutate") {
        let flag = arg.get_long().unwrap();
        assert!(readme().contains(&format!("`--{flag}`")), "--{flag}");
    }
}

#[test]
fn the_readme_lists_every_metric_and_reason() {
    let exposition = String::from_utf8(Metrics::new().render()).unwrap();
    let metrics = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE pod_identity_webhook_"));
    for metric in metrics.map(|rest| rest.split(' ').next().unwrap()) {
        assert!(readme().contains(&format!("`{metric}`")), "{metric}");
    }
    for outcome in Outcome::ALL {
        for label in [outcome.as_str(), outcome.reason()] {
            assert!(readme().contains(&format!("`{label}`")), "{label}");
        }
    }
}
