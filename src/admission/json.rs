//! Typed access to a parsed document. `null` counts as absent, as it does for Kubernetes.

use simd_json::prelude::*;

use super::BadReview;

/// A value on simd-json's tape.
pub(super) type Value<'a> = simd_json::tape::Value<'a, 'a>;

/// An array on the tape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Array<'a>(Value<'a>);

impl Array<'_> {
    pub(super) fn len(self) -> usize {
        self.0.as_array().map_or(0, |array| array.len())
    }
}

/// The elements of an array; none where it is absent.
pub(super) fn items<'a>(array: Option<Array<'a>>) -> impl Iterator<Item = Value<'a>> {
    array.and_then(|array| array.0.as_array()).into_iter().flat_map(|array| array.iter())
}

/// The fields of an object, in their order; none for `null`.
///
/// Callers match on every key, so of duplicates the last one counts, as it does for Go's decoder.
pub(super) fn fields<'a>(
    value: Value<'a>,
    path: &'static str,
) -> Result<impl Iterator<Item = (&'a str, Value<'a>)>, BadReview> {
    let object = match value.as_object() {
        None if !value.is_null() => return Err(BadReview::Shape { path, want: "an object" }),
        object => object,
    };
    Ok(object.into_iter().flat_map(|object| object.iter()))
}

/// An array; `None` for `null`.
pub(super) fn array<'a>(value: Value<'a>, path: &'static str) -> Result<Option<Array<'a>>, BadReview> {
    match value.value_type() {
        ValueType::Array => Ok(Some(Array(value))),
        ValueType::Null => Ok(None),
        _ => Err(BadReview::Shape { path, want: "an array" }),
    }
}

/// A string; empty for `null`.
pub(super) fn string<'a>(value: Value<'a>, path: &'static str) -> Result<&'a str, BadReview> {
    match value.into_string() {
        None if !value.is_null() => Err(BadReview::Shape { path, want: "a string" }),
        text => Ok(text.unwrap_or_default()),
    }
}
