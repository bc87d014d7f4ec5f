//! Typed access to a parsed document. `null` counts as absent, as it does for Kubernetes.
//!
//! simd-json has accessors of its own; these walk the tape without building a slice for every value, since the walk is
//! most of the cost of an admission after the parse.

use simd_json::{Node, StaticNode, Tape};

use super::BadReview;

/// A value: the tape from its own node on. What comes after it is not looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a>(&'a [Node<'a>]);

/// An array.
#[derive(Clone, Copy, Debug)]
pub(super) struct Array<'a> {
    len: usize,
    items: &'a [Node<'a>],
}

impl<'a> Value<'a> {
    /// The document's outermost value.
    pub(super) fn root(tape: &'a Tape<'a>) -> Self {
        Self(&tape.0)
    }

    pub(super) fn is_null(self) -> bool {
        matches!(self.0, [Node::Static(StaticNode::Null), ..] | [])
    }

    /// The text, if it is a string.
    pub(super) fn as_str(self) -> Option<&'a str> {
        match self.0 {
            [Node::String(text), ..] => Some(text),
            _ => None,
        }
    }
}

impl Array<'_> {
    pub(super) fn len(self) -> usize {
        self.len
    }
}

/// The elements of an array; none where it is absent.
pub(super) fn items(array: Option<Array<'_>>) -> impl Iterator<Item = Value<'_>> {
    let (mut left, mut rest) = array.map_or((0, &[][..]), |array| (array.len, array.items));
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        next(&mut rest)
    })
}

/// The fields of an object, in their order; none for `null`.
///
/// Callers match on every key, so of duplicates the last one counts, as it does for Go's decoder.
pub(super) fn fields<'a>(
    value: Value<'a>,
    path: &'static str,
) -> Result<impl Iterator<Item = (&'a str, Value<'a>)>, BadReview> {
    let (mut left, mut rest) = match value.0 {
        [Node::Object { len, .. }, fields @ ..] => (*len, fields),
        _ if value.is_null() => (0, &[][..]),
        _ => return Err(BadReview::Shape { path, want: "an object" }),
    };
    Ok(std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        Some((next(&mut rest)?.as_str()?, next(&mut rest)?))
    }))
}

/// Takes the value at the head of `rest`.
fn next<'a>(rest: &mut &'a [Node<'a>]) -> Option<Value<'a>> {
    let value = *rest;
    let nodes = match value.first()? {
        Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
        Node::String(_) | Node::Static(_) => 1,
    };
    *rest = value.get(nodes..)?;
    Some(Value(value))
}

/// An array; `None` for `null`.
pub(super) fn array<'a>(value: Value<'a>, path: &'static str) -> Result<Option<Array<'a>>, BadReview> {
    match value.0 {
        [Node::Array { len, .. }, items @ ..] => Ok(Some(Array { len: *len, items })),
        _ if value.is_null() => Ok(None),
        _ => Err(BadReview::Shape { path, want: "an array" }),
    }
}

/// A string; empty for `null`.
pub(super) fn string<'a>(value: Value<'a>, path: &'static str) -> Result<&'a str, BadReview> {
    match value.as_str() {
        None if !value.is_null() => Err(BadReview::Shape { path, want: "a string" }),
        text => Ok(text.unwrap_or_default()),
    }
}
