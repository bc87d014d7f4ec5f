//! Checks of any input. The fuzz targets (`fuzz/`) call these with inputs of their own, the suite
//! with the committed corpus.

pub(crate) mod admission;
mod http;
mod manifests;
mod reference;
mod shape;
mod sync;

pub(crate) use self::{
    admission::{annotations, core, review},
    http::{http, http2},
    manifests::manifests,
    sync::sync,
};
