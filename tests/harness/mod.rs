//! The harness of tests that need what not every machine has: a control plane, root. A test that does not run is reported as
//! `ignored`, with the reason, and never as `ok`. Arguments and output are libtest's.

use std::{future::Future, pin::Pin, process::ExitCode};

use libtest_mimic::{Arguments, Completion, Trial};
use tokio::runtime::Builder;

/// Why a test does not run here.
#[derive(Clone, Debug)]
pub(crate) struct Skipped(pub(crate) String);

/// How a test ends that may find out that it can't run here. A failure is a panic.
pub(crate) type Outcome = Result<(), Skipped>;

/// A test, made by [`tests!`].
#[derive(Clone, Copy)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn() -> Pin<Box<dyn Future<Output = Outcome>>>,
    pub(crate) on_demand: bool,
}

/// What a test's function returns: nothing, or an [`Outcome`].
pub(crate) trait Returned {
    fn outcome(self) -> Outcome;
}

impl Returned for () {
    fn outcome(self) -> Outcome {
        Ok(())
    }
}

impl Returned for Outcome {
    fn outcome(self) -> Outcome {
        self
    }
}

/// The tests of a module, as `&[Test]`. Those listed after `on_demand:` run with `--ignored` only.
macro_rules! tests {
    ($($name:ident),* $(,)? $(; on_demand: $($slow:ident),+ $(,)?)?) => {
        &[
            $($crate::harness::test!($name, false),)*
            $($($crate::harness::test!($slow, true),)+)?
        ]
    };
}

macro_rules! test {
    ($name:ident, $on_demand:literal) => {
        $crate::harness::Test {
            name: concat!(module_path!(), "::", stringify!($name)),
            run: || Box::pin(async { $crate::harness::Returned::outcome($name().await) }),
            on_demand: $on_demand,
        }
    };
}

pub(crate) use {test, tests};

/// Runs the tests that the arguments ask for, each in a runtime of its own, or ignores all of them.
pub(crate) fn run(modules: &[&[Test]], runtime: fn() -> Builder, required: Result<(), Skipped>) -> ExitCode {
    let trials = modules.iter().copied().flatten().map(|&test| {
        let required = required.clone();
        let name = test.name.split_once("::").map_or(test.name, |(_crate, name)| name);
        let trial = Trial::ignorable_test(name, move || {
            let outcome = required.and_then(|()| {
                let runtime = runtime().enable_all().build().expect("a runtime");
                runtime.block_on((test.run)())
            });
            Ok(match outcome {
                Ok(()) => Completion::Completed,
                Err(Skipped(why)) => Completion::ignored_with(why),
            })
        });
        trial.with_ignored_flag(test.on_demand)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
