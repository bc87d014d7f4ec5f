//! Removes `managedFields`, which is half of a real request and is not read.

use memchr::{memchr2, memmem::Finder};

/// Finds the contents of `metadata.managedFields`. It is made once.
#[derive(Debug)]
pub(super) struct ManagedFields(Finder<'static>);

impl Default for ManagedFields {
    fn default() -> Self {
        Self(Finder::new(r#","managedFields":["#))
    }
}

impl ManagedFields {
    /// Removes them from `body` by moving the bytes before them up to their end. Returns where the body begins now. Nothing
    /// else changes in a body that is JSON; another body may become JSON.
    ///
    /// The pattern can't be part of a string, where its quotes would be escaped. The array holds no bracket, so the next
    /// one closes it. kube-apiserver writes the field as the last of the metadata, before the spec. Elsewhere it
    /// is not removed.
    pub(super) fn leave_out(&self, body: &mut [u8]) -> usize {
        let Some(start) = self.0.find(body).map(|position| position + self.0.needle().len()) else {
            return 0;
        };
        let Some(len) = memchr2(b'[', b']', &body[start..]) else { return 0 };
        if !body[start + len..].starts_with(br#"]},"spec":{"#) {
            return 0;
        }
        body.copy_within(..start, len);
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(body: &str) -> String {
        let mut bytes = body.as_bytes().to_vec();
        let start = ManagedFields::default().leave_out(&mut bytes);
        String::from_utf8(bytes.split_off(start)).unwrap()
    }

    #[test]
    fn the_contents_are_left_out_and_nothing_else() {
        let with = |fields: &str| {
            format!(r#"{{"metadata":{{"name":"a","managedFields":[{fields}]}},"spec":{{"x":[1]}},"y":[2]}}"#)
        };
        for fields in ["", "{}", r#"{"fieldsV1":{"f:spec":{"k:{\"name\":\"a\"}":{".":{}}}}},{"manager":"é"}"#]
        {
            assert_eq!(without(&with(fields)), with(""));
        }
    }

    #[test]
    fn uncertain_bytes_are_left_as_they_are() {
        for body in [
            "",
            r#"{"a":{"name":"a"},"spec":{}}"#,
            r#"{"a":{"b":1,"managedFields":["#,
            r#"{"a":{"b":1,"managedFields":[{}],"c":[]},"spec":{}}"#,
            r#"{"a":{"b":1,"managedFields":[{"c":[]},"spec":{}]},"spec":{}}"#,
            r#"{"a":{"b":1,"managedFields":[{"c]},":1}]},"spec":{}}"#,
            r#"{"a":{"b":1,"managedFields":[{"c":"]},\"spec\":{\""}]},"spec":{}}"#,
            r#"{"a":",\"managedFields\":[]},\"spec\":{\""}"#,
            r#"{"a":{"b":1,"managedFields":null},"spec":{}}"#,
        ] {
            assert_eq!(without(body), body);
        }
    }
}
