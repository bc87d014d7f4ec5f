//! A variable that is set to nothing is one that is not set: templates of manifests and shells make them so.

use clap::{Arg, Command, builder::Resettable};

/// The flags to which nothing is a value of its own.
pub(super) const MAY_BE_EMPTY: [&str; 2] = ["aws-region", "as-service-account"];

/// The definitions without such variables.
pub(super) fn without_empty(command: Command) -> Command {
    command
        .mut_args(|arg| if is_set_to_nothing(&arg) { arg.env(Resettable::Reset) } else { arg })
        .mut_subcommands(without_empty)
}

fn is_set_to_nothing(arg: &Arg) -> bool {
    let variable = arg.get_env().and_then(std::env::var_os);
    let may_be = arg.get_long().is_some_and(|flag| MAY_BE_EMPTY.contains(&flag));
    variable.is_some_and(|value| value.is_empty()) && !may_be
}
