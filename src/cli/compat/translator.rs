//! Arguments, one after the other, → ours and warnings.

use std::ffi::{OsStr, OsString};

use clap::{Arg, builder::ValueParser};

use super::go;
use super::{
    Translated,
    flags::{
        Foreign,
        Meaning::{
            Address, Always, DebugHandlers, Duration, Expiration, InCluster, Nothing, Port, Renamed, Switch,
            TlsMinVersion, Verbosity, Version,
        },
        OF_AWS,
    },
    split,
};
use crate::{
    cli::variables::MAY_BE_EMPTY,
    injection::{resolver::parse_bool, settings::TokenExpiration},
};

/// The longest that our own flags take.
const A_DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

pub(super) const IN_CLUSTER: &str = "no cluster signs certificates in this way any more, so that --tls-self-managed takes its place: it \
    keeps one in the Secret, which has to exist, and publishes it in the webhook configuration, for which it needs rights; \
    see docs/operate/certificates.md";

const DEBUG_HANDLERS: &str = "the pages are /debug/accounts and /debug/config of --admin-listen";

const EMPTY: &str = "it is empty, and counts as not given";

pub(super) const NO_COMPAT: &str = "flags of amazon-eks-pod-identity-webhook are taken, but what is not given has our own defaults: \
    give --compat=aws for its own, or --compat=none to have this left unsaid";

pub(super) struct Translator {
    args: Vec<OsString>,
    /// Foreign flags in our terms: ours, the one that was typed, the value.
    translated: Vec<(&'static str, &'static str, OsString)>,
    warnings: Vec<String>,
    /// The value of `--compat`, if it is given.
    compat: Option<OsString>,
    wants_version: bool,
    has_flag_of_aws: bool,
}

impl Translator {
    /// Begins with the program's name and the command.
    pub(super) fn new(args: Vec<OsString>, compat: Option<OsString>) -> Self {
        Self {
            args,
            translated: Vec::new(),
            warnings: Vec::new(),
            compat,
            wants_version: false,
            has_flag_of_aws: false,
        }
    }

    pub(super) fn is_aws(&self) -> bool {
        self.compat.as_ref().is_some_and(|compat| compat == "aws")
    }

    /// Takes a flag of ours, unless its value is Go's way of not giving one.
    pub(super) fn take_ours(&mut self, ours: &Arg, value: Option<OsString>) {
        let name = ours.get_long().unwrap_or_default();
        let is_empty = value.as_ref().is_some_and(|value| value.is_empty());
        if is_empty && !MAY_BE_EMPTY.contains(&name) {
            return self.warn(name, EMPTY);
        }
        let mut arg = OsString::from(format!("--{name}"));
        if let Some(value) = value {
            // Go has more words for true and false.
            let is_switch = ours.get_value_parser().type_id() == ValueParser::bool().type_id();
            let as_bool = value.to_str().filter(|_| is_switch).and_then(parse_bool);
            arg.push("=");
            arg.push(as_bool.map_or(value, |is_on| is_on.to_string().into()));
        }
        self.args.push(arg);
    }

    /// Takes the arguments after a `--`.
    pub(super) fn take_rest(&mut self, rest: impl Iterator<Item = OsString>) {
        if self.is_aws() {
            rest.for_each(|stray| self.take_stray(&stray));
        } else {
            self.args.push("--".into());
            self.args.extend(rest);
        }
    }

    /// Takes an argument that is not a known flag.
    pub(super) fn take_other(&mut self, arg: OsString) {
        if self.is_aws() && !arg.as_encoded_bytes().starts_with(b"-") {
            self.take_stray(&arg);
        } else {
            self.args.push(arg);
        }
    }

    /// Leaves out what belongs to no flag, at which the AWS webhook does not look.
    fn take_stray(&mut self, stray: &OsStr) {
        self.warnings.push(format!("{}: left out, since it belongs to no flag", stray.display()));
    }

    /// Takes a flag of another webhook.
    pub(super) fn take(&mut self, foreign: &'static Foreign, value: OsString) -> Result<(), String> {
        let name = foreign.name;
        let may_be_empty = matches!(foreign.meaning, Renamed(ours) if MAY_BE_EMPTY.contains(&&ours[2..]));
        if value.is_empty() && !may_be_empty {
            self.warn(name, EMPTY);
            return Ok(());
        }
        let text = value.to_str().unwrap_or_default();
        let refused = |want: &str| format!("--{name} {}: want {want}", value.display());
        match foreign.meaning {
            Renamed(ours) => self.give(ours, name, &value),
            Port(ours) => {
                let port: u16 = text.parse().map_err(|_| refused("a port, 0 to 65535"))?;
                self.give(ours, name, format!("[::]:{port}"));
            }
            Address(ours) => {
                let address = go::address(text).ok_or_else(|| refused("an address such as :8443"))?;
                self.give(ours, name, address.to_string());
            }
            Duration(ours) => {
                let duration = go::duration(text);
                let duration = duration.ok_or_else(|| refused("a duration such as 100ms or 1m30s, or 0"))?;
                self.give(ours, name, humantime::format_duration(duration.min(A_DAY)).to_string());
            }
            Verbosity => {
                let level: i64 = text.parse().map_err(|_| refused("a number"))?;
                // From 3 on the AWS webhook logs a line for each pod, as we do at debug.
                self.give("--log-level", name, if level < 3 { "info" } else { "debug" });
            }
            Expiration => self.give_expiration(name, &value),
            TlsMinVersion => self.give_tls_version(name, text),
            Nothing(why) if foreign.takes_value => self.warn(name, why),
            _ => {
                let is_on = parse_bool(text).ok_or_else(|| refused("true or false"))?;
                self.take_switch(foreign, is_on);
            }
        }
        let is_ours_too = matches!(foreign.meaning, Expiration | TlsMinVersion);
        self.has_flag_of_aws |= OF_AWS.iter().any(|of_aws| of_aws.name == name) && !is_ours_too;
        Ok(())
    }

    /// Off is given like on: it counts over an earlier flag and over a variable.
    fn take_switch(&mut self, foreign: &'static Foreign, is_on: bool) {
        let name = foreign.name;
        let (ours, why) = match foreign.meaning {
            Switch(ours) => (ours, None),
            InCluster => ("--tls-self-managed", Some(IN_CLUSTER)),
            DebugHandlers => ("--debug-endpoints", Some(DEBUG_HANDLERS)),
            Version => return self.wants_version = is_on,
            Always(otherwise) if !is_on => return self.warn(name, otherwise),
            Nothing(why) if is_on => return self.warn(name, why),
            _ => return,
        };
        if let Some(why) = why.filter(|_| is_on) {
            self.warn(name, why);
        }
        self.give(ours, name, is_on.to_string());
    }

    /// Takes the last of several, as pflag does.
    fn give(&mut self, ours: &'static str, name: &'static str, value: impl Into<OsString>) {
        self.translated.retain(|(before, ..)| *before != ours);
        self.translated.push((ours, name, value.into()));
    }

    fn give_expiration(&mut self, name: &'static str, value: &OsStr) {
        let within = value.to_str().filter(|_| self.is_aws()).and_then(TokenExpiration::from_annotation);
        let within = within.map(|within| OsString::from(within.to_string()));
        if let Some(within) = within.as_ref().filter(|within| *within != value) {
            let (value, within) = (value.display(), within.display());
            self.warn(
                name,
                &format!("{value} is outside of the lifetimes that Kubernetes accepts; {within} is used"),
            );
        }
        self.give("--token-expiration", name, within.unwrap_or_else(|| value.to_owned()));
    }

    fn give_tls_version(&mut self, name: &'static str, text: &str) {
        let version = text.strip_prefix("VersionTLS1").map_or(text.to_owned(), |minor| format!("1.{minor}"));
        let is_too_old = matches!(&*version, "1.0" | "1.1");
        if is_too_old {
            self.warn(name, "nothing older than 1.2 is spoken");
        }
        self.give("--tls-min-version", name, if is_too_old { "1.2".to_owned() } else { version });
    }

    fn warn(&mut self, name: &str, why: &str) {
        self.warnings.push(format!("--{name}: {why}"));
    }

    pub(super) fn finish(mut self) -> Translated {
        if self.wants_version {
            let args = self.args.into_iter().take(1).chain(["--version".into()]).collect();
            return Translated { args, warnings: Vec::new() };
        }
        if self.has_flag_of_aws && self.compat.is_none() {
            self.warnings.push(NO_COMPAT.to_owned());
        }
        for (ours, name, value) in std::mem::take(&mut self.translated) {
            if self.args.iter().any(|arg| split(arg).is_some_and(|(typed, _)| typed == &ours[2..])) {
                self.warn(name, &format!("left out, since {ours} is given as well"));
            } else {
                let mut arg = OsString::from(format!("{ours}="));
                arg.push(value);
                // Behind the command, before what a `--` may end.
                self.args.insert(self.args.len().min(2), arg);
            }
        }
        Translated { args: self.args, warnings: self.warnings }
    }
}
