//! Fields of the cluster's objects, by JSON pointer; what is not there is empty.
//!
//! Out of line: in code that runs once, `value["a"]["b"]` all over is tens of kilobytes of the binary.

use serde_json::Value;

/// A text.
#[inline(never)]
pub fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A list.
#[inline(never)]
pub fn list<'v>(object: &'v Value, pointer: &str) -> &'v [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A number.
#[inline(never)]
pub fn number(object: &Value, pointer: &str) -> Option<u64> {
    object.pointer(pointer).and_then(Value::as_u64)
}

/// Whether a field is true; `None` where it is not there.
#[inline(never)]
pub fn flag(object: &Value, pointer: &str) -> Option<bool> {
    object.pointer(pointer).and_then(Value::as_bool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_fields_are_empty() {
        let object = serde_json::json!({"a": {"b": ["c"], "d": "e", "f": 1, "g": true}, "n": null});
        assert_eq!((text(&object, "/a/d"), text(&object, "/a/b/0"), text(&object, "/n/x")), ("e", "c", ""));
        assert_eq!((list(&object, "/a/b").len(), list(&object, "/n").len()), (1, 0));
        assert_eq!(
            (number(&object, "/a/f"), flag(&object, "/a/g"), flag(&object, "/x")),
            (Some(1), Some(true), None)
        );
    }
}
