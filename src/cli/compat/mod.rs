//! The flags of other webhooks, so that their manifests start this program: each is written as one of our own before
//! anything is parsed, or left out with a warning that says why. `docs/migrating.md` lists them.
//!
//! They are not among the definitions beside this file: those document what a new user needs.

mod flags;
pub(super) mod go;
mod translator;

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use clap::{Arg, Command, CommandFactory};

use self::{
    flags::{Foreign, all},
    translator::Translator,
};
use super::Cli;

/// The program's name in the image of the AWS webhook. Started by this name, this program has that webhook's defaults.
const AWS_PROGRAM: &str = "webhook";

/// The flags that are taken and are not ours, without dashes.
pub fn foreign_flags() -> impl Iterator<Item = &'static str> {
    all().map(|foreign| foreign.name)
}

/// The command line, with our own flags.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Translated {
    pub(super) args: Vec<OsString>,
    pub(super) warnings: Vec<String>,
}

/// Adds what the name of the program implies to the arguments of a command that injects: its name, the command, its flags.
/// `compat` is the variable `COMPAT`.
pub(super) fn with_implied(mut args: Vec<OsString>, compat: Option<&OsStr>) -> Vec<OsString> {
    let program = args.first().and_then(|program| Path::new(program).file_name());
    if program.is_some_and(|name| name == AWS_PROGRAM) && compat.is_none() && compat_of(&args).is_none() {
        args.insert(2, "--compat=aws".into());
    }
    args
}

/// The value of the last `--compat`, if one is given.
fn compat_of(args: &[OsString]) -> Option<OsString> {
    let mut said = args.iter().enumerate().filter_map(|(index, arg)| match split(arg)? {
        ("compat", value) => value.or_else(|| args.get(index + 1).cloned()),
        _ => None,
    });
    said.rfind(|value| !value.is_empty())
}

/// Translates the arguments of `serve`: the program's name, the command, its flags. `compat` is the variable `COMPAT`.
/// An error says what is wrong with a value.
pub(super) fn translate(args: Vec<OsString>, compat: Option<OsString>) -> Result<Translated, String> {
    let command = Cli::command();
    let ours: Vec<&Arg> =
        command.find_subcommand("serve").into_iter().flat_map(Command::get_arguments).collect();
    let compat = compat_of(&args).or(compat);
    let mut args = args.into_iter();
    let mut translator = Translator::new(args.by_ref().take(2).collect(), compat);
    while let Some(arg) = args.next() {
        if let Some((foreign, value)) = foreign(&arg) {
            let value = match value {
                Some(value) => value,
                None if !foreign.takes_value => "true".into(),
                None => args.next().ok_or_else(|| format!("--{} wants a value", foreign.name))?,
            };
            translator.take(foreign, value)?;
        } else if let Some((flag, value)) = one_of(&ours, &arg) {
            let wants_one = flag.get_action().takes_values() && !flag.is_require_equals_set();
            let value = if wants_one { value.or_else(|| args.next()) } else { value };
            translator.take_ours(flag, value);
        } else if arg == "--" {
            translator.take_rest(args.by_ref());
        } else {
            translator.take_other(arg);
        }
    }
    Ok(translator.finish())
}

/// The foreign flag that an argument is, in pflag's spelling or in Go's, and the value that it carries.
fn foreign(arg: &OsStr) -> Option<(&'static Foreign, Option<OsString>)> {
    let text = arg.to_str();
    // pflag's short flag, the only one: -v=4, -v4, and -v 4 as any other.
    if let Some(level) = text.and_then(|text| text.strip_prefix("-v")).filter(|level| !level.is_empty()) {
        let level = level.strip_prefix('=').unwrap_or(level);
        if level.bytes().all(|c| c.is_ascii_digit()) {
            return Some((all().find(|foreign| foreign.name == "v")?, Some(level.into())));
        }
    }
    let (name, value) = split(arg)?;
    Some((all().find(|foreign| foreign.name == name)?, value))
}

/// The name of a flag, and the value after its `=`, which may be a path that is not UTF-8.
fn split(arg: &OsStr) -> Option<(&str, Option<OsString>)> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = arg.as_bytes();
    let bytes = bytes.strip_prefix(b"--").or_else(|| bytes.strip_prefix(b"-"))?;
    let (name, value) = match bytes.iter().position(|&c| c == b'=') {
        Some(end) => (&bytes[..end], Some(OsString::from_vec(bytes[end + 1..].to_vec()))),
        None => (bytes, None),
    };
    std::str::from_utf8(name).ok().map(|name| (name, value))
}

/// The flag of ours that an argument is, in our spelling or in Go's (`-listen`), and the value that it carries.
fn one_of<'a>(ours: &[&'a Arg], arg: &OsStr) -> Option<(&'a Arg, Option<OsString>)> {
    let (name, value) = split(arg)?;
    Some((ours.iter().find(|flag| flag.get_long() == Some(name))?, value))
}

#[cfg(test)]
mod tests {
    use super::{
        flags::{Meaning::Nothing, STDERR},
        translator::{IN_CLUSTER, NO_COMPAT},
        *,
    };

    fn translated(line: &str) -> (Vec<String>, Vec<String>) {
        let args = with_implied(line.split(' ').map(OsString::from).collect(), None);
        let Translated { args, warnings } = translate(args, None).unwrap();
        let mut args: Vec<String> = args.into_iter().skip(2).map(|arg| arg.into_string().unwrap()).collect();
        args.sort();
        (args, warnings)
    }

    fn args(line: &str) -> Vec<String> {
        translated(line).0
    }

    #[test]
    fn flags_are_written_as_ours() {
        for (typed, ours) in [
            ("--port=443", "--listen=[::]:443"),
            ("--port 443", "--listen=[::]:443"),
            ("-port=443", "--listen=[::]:443"),
            ("--metrics-port 0", "--admin-listen=[::]:0"),
            ("--tls-cert=/a=b", "--tls-cert-file=/a=b"),
            ("--aws-default-region=", "--aws-region="),
            ("--sts-regional-endpoint", "--sts-regional-endpoints=true"),
            ("--sts-regional-endpoint=F", "--sts-regional-endpoints=false"),
            ("--service-account-lookup-grace-period=1m30s", "--lookup-grace=1m 30s"),
            ("--service-account-lookup-grace-period 0", "--lookup-grace=0s"),
            ("--service-account-lookup-grace-period=48h", "--lookup-grace=1day"),
            ("--tls-min-version=VersionTLS13", "--tls-min-version=1.3"),
            ("--tls-min-version=1.2", "--tls-min-version=1.2"),
            ("--tls-min-version=1.0", "--tls-min-version=1.2"),
            ("-v=2", "--log-level=info"),
            ("-v 3", "--log-level=debug"),
            ("-v5", "--log-level=debug"),
            ("--v=5", "--log-level=debug"),
            ("-token-audience=a", "--token-audience=a"),
            ("--listen-addr=:8443", "--listen=[::]:8443"),
            ("--listen-addr=127.0.0.1:8443", "--listen=127.0.0.1:8443"),
            ("--port=1 --port=2", "--listen=[::]:2"),
            ("--listen-addr=localhost:1", "--listen=127.0.0.1:1"),
            ("--in-cluster --in-cluster=false", "--tls-self-managed=false"),
            ("--enable-debugging-handlers --enable-debugging-handlers=f", "--debug-endpoints=false"),
            ("--watch-config-map=True", "--watch-config-map=true"),
            ("-watch-config-map=0", "--watch-config-map=false"),
        ] {
            assert_eq!(args(&format!("program serve {typed}")), [ours], "{typed}");
        }
        for typed in
            ["--version --version=false", "--logtostderr", "--compose-role-arn=false", "--one_output=0"]
        {
            assert_eq!(args(&format!("program serve {typed}")), [""; 0], "{typed}");
        }
    }

    #[test]
    fn our_own_flags_pass_unchanged() {
        for line in
            ["--listen=[::]:1 --annotation-prefix=a.b", "--no-such-flag", "-x", "-1", "-- --port=1", "false"]
        {
            let args: Vec<OsString> =
                format!("program serve {line}").split(' ').map(OsString::from).collect();
            assert_eq!(
                translate(args.clone(), None),
                Ok(Translated { args, warnings: Vec::new() }),
                "{line}"
            );
        }
    }

    #[test]
    fn ours_counts_where_both_are_given() {
        for line in ["--port=1 --listen=a:2", "--listen a:2 --port 1", "-listen=a:2 --port=1"] {
            let (args, warnings) = translated(&format!("program serve --compat=none {line}"));
            assert!(!args.iter().any(|arg| arg.contains("[::]:1")), "{args:?}");
            assert_eq!(warnings, ["--port: left out, since --listen is given as well"]);
        }
    }

    #[test]
    fn flags_without_a_meaning_are_warned_of() {
        for foreign in all().filter(|foreign| matches!(foreign.meaning, Nothing(_))) {
            let (args, warnings) = translated(&format!("program serve --compat=aws --{} x", foreign.name));
            let args: Vec<_> = args.into_iter().filter(|arg| arg != "x").collect();
            assert_eq!(args, ["--compat=aws"], "{}", foreign.name);
            assert!(warnings[0].starts_with(&format!("--{}: ", foreign.name)), "{warnings:?}");
        }
        assert_eq!(translated("program serve --logtostderr=false").1, [format!("--logtostderr: {STDERR}")]);
    }

    #[test]
    fn empty_foreign_flags_are_ignored() {
        for foreign in all().filter(|foreign| foreign.name != "aws-default-region") {
            let (args, warnings) = translated(&format!("program serve --{}=", foreign.name));
            assert_eq!(args, [""; 0], "{}", foreign.name);
            assert_eq!(warnings[0], format!("--{}: it is empty, and counts as not given", foreign.name));
        }
        let lines =
            ["--token-audience=", "--kubeconfig= --token-audience=", "--token-audience ", "-token-audience="];
        for line in lines {
            let (args, warnings) = translated(&format!("program serve {line}"));
            assert_eq!(args, [""; 0], "{line}");
            assert_eq!(warnings.last().unwrap(), "--token-audience: it is empty, and counts as not given");
        }
        assert_eq!(args("program serve --aws-region="), ["--aws-region="]);
        for (line, stray) in [("--debug-endpoints false", "false"), ("a", "a"), ("-- --port=1", "--port=1")] {
            let (_, warnings) = translated(&format!("webhook serve {line}"));
            assert_eq!(warnings, [format!("{stray}: left out, since it belongs to no flag")]);
        }
    }

    #[test]
    fn certificates_signed_by_the_cluster_are_self_managed() {
        let (args, warnings) = translated("webhook serve --in-cluster --tls-secret=s --service-name=n");
        assert_eq!(
            args,
            ["--compat=aws", "--tls-secret-name=s", "--tls-self-managed=true", "--tls-service-name=n"]
        );
        assert_eq!(warnings, [format!("--in-cluster: {IN_CLUSTER}")]);
    }

    #[test]
    fn the_name_of_the_program_implies_the_defaults_of_the_aws_webhook() {
        let implied = |line: &str, compat: Option<&str>| {
            with_implied(line.split(' ').map(OsString::from).collect(), compat.map(OsStr::new))
                .join(OsStr::new(" "))
        };
        assert_eq!(implied("/webhook serve", None), "/webhook serve --compat=aws");
        assert_eq!(implied("webhook audit -n a", None), "webhook audit --compat=aws -n a");
        assert_eq!(implied("/webhook serve --compat=", None), "/webhook serve --compat=aws --compat=");
        for line in ["/webhook serve --compat none", "/webhook mutate --compat=aws", "/webhooks serve"] {
            assert_eq!(implied(line, None), line);
        }
        assert_eq!(implied("/webhook serve", Some("none")), "/webhook serve");
    }

    #[test]
    fn flags_alone_do_not_change_the_defaults_and_that_is_said() {
        assert_eq!(translated("program serve --in-cluster=false").1, [NO_COMPAT]);
        for line in ["--compat=aws --in-cluster=false", "--compat=none --port=1", "-v=4", "--listen-addr=:1"]
        {
            assert_eq!(translated(&format!("program serve {line}")).1, [""; 0], "{line}");
        }
    }

    #[test]
    fn lifetimes_out_of_range_are_brought_into_it_for_the_aws_webhook() {
        assert_eq!(args("webhook serve --token-expiration=60"), ["--compat=aws", "--token-expiration=600"]);
        assert_eq!(args("program serve --token-expiration=60"), ["--token-expiration=60"]);
        assert_eq!(
            args("webhook serve --token-expiration 7200"),
            ["--compat=aws", "--token-expiration=7200"]
        );
    }

    #[test]
    fn values_that_mean_nothing_are_refused_by_the_name_that_was_typed() {
        for (flag, want) in [
            ("--port=https", "--port https: want a port, 0 to 65535"),
            ("--port", "--port wants a value"),
            ("--in-cluster=no", "--in-cluster no: want true or false"),
            ("-v=debug", "--v debug: want a number"),
            (
                "--service-account-lookup-grace-period=100",
                "--service-account-lookup-grace-period 100: want a duration such as 100ms or 1m30s, or 0",
            ),
        ] {
            let args = ["program", "serve", flag].map(OsString::from).to_vec();
            assert_eq!(translate(args, None), Err(want.to_owned()));
        }
    }

    #[test]
    fn the_version_is_all_that_is_wanted_if_it_is_wanted() {
        let args = ["webhook", "serve", "--in-cluster=false", "--version"].map(OsString::from).to_vec();
        let translated = translate(args, None).unwrap();
        assert_eq!(translated.args, ["webhook", "--version"]);
    }
}
