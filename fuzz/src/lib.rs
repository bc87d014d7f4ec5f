//! The targets' entry points: the checks that the suite runs on the committed corpus.

#[path = "../../tests/checks/mod.rs"]
mod checks;

macro_rules! entry_points {
    ($($name:ident),*) => {$(
        /// See `tests/checks`.
        pub fn $name(input: &[u8]) {
            checks::$name(input);
        }
    )*};
}

entry_points!(review, core, manifests, annotations, http, http2, sync);
