//! `completions`: what a shell knows is what the program takes.

use std::{
    fs,
    process::{Command, Output},
};

use clap::CommandFactory;
use eks_pod_identity_webhook::cli::Cli;

use crate::support::daemon::{command, stderr, stdout};

fn run(args: &[&str]) -> Output {
    let output = command(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    output
}

/// The paths of all commands, such as `oidc verify`, with their flags.
fn commands() -> Vec<(String, Vec<String>)> {
    fn walk(command: &clap::Command, path: &str, all: &mut Vec<(String, Vec<String>)>) {
        for sub in command.get_subcommands() {
            let path = format!("{path} {}", sub.get_name());
            let flags = sub.get_arguments().filter_map(|arg| arg.get_long().map(ToOwned::to_owned));
            all.push((path.trim().to_owned(), flags.collect()));
            walk(sub, &path, all);
        }
    }
    let mut all = Vec::new();
    walk(&Cli::command(), "", &mut all);
    all
}

#[test]
fn completions_of_every_shell_have_every_flag() {
    for shell in ["bash", "fish", "zsh"] {
        let output = run(&["completions", shell]);
        for (path, flags) in commands() {
            for flag in flags {
                assert!(stdout(&output).contains(&flag), "{shell}: {path} --{flag}");
            }
        }
    }
}

/// By the function that the script registers, as bash calls it when tab is pressed.
#[test]
fn bash_completes_commands_flags_and_values() {
    let script = tempfile::NamedTempFile::new().unwrap();
    fs::write(script.path(), run(&["completions", "bash"]).stdout).unwrap();
    let complete = r#"
        source "$0"
        words=(eks-pod-identity-webhook "$@")
        read -ra registered <<< "$(complete -p eks-pod-identity-webhook)"
        for index in "${!registered[@]}"; do
            [[ ${registered[index]} == -F ]] && function=${registered[index + 1]}
        done
        COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1))
        "$function" "${words[0]}" "${words[COMP_CWORD]}" "${words[COMP_CWORD - 1]}"
        echo "${COMPREPLY[*]}"
    "#;
    for (words, completed) in [
        (&["comp"][..], "compare completions"),
        (&["serve", "--aws-r"], "--aws-region"),
        (&["trust-policy", "--aws-"], "--aws-account-id --aws-partition"),
        (&["trust-policy", "--output", ""], "json terraform cloudformation"),
        (&["oidc", "v"], "verify"),
        (&["oidc", "verify", "--ca"], "--ca-file"),
        (&["completions", "z"], "zsh"),
    ] {
        let output =
            Command::new("bash").args(["-euc", complete]).arg(script.path()).args(words).output().unwrap();
        assert_eq!(stdout(&output).trim(), completed, "{words:?}: {}", stderr(&output));
    }
}
