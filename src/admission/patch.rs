//! The JSON Patch (RFC 6902), which only adds single elements.
//!
//! Nothing that the pod has is written again, so a field that this program has never heard of survives. An element is
//! appended where there is an array, and the array is added where there is none, since `add` under a missing or null
//! parent makes kube-apiserver reject the pod under either failure policy.

use crate::injection::render;

/// Where an array of the pod is, as a JSON pointer in parts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path {
    /// `/spec/volumes`
    Volumes,
    /// `/spec/<list>/<index>/<field>`
    OfContainer { list: &'static str, index: usize, field: &'static str },
}

/// The labels that a pod has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Labels {
    /// Not even metadata, as in a template of `mutate`'s.
    #[default]
    NoMetadata,
    /// Metadata without labels.
    None,
    /// Labels.
    Some,
}

/// A patch under construction, in a buffer that is used again for the next.
#[derive(Debug)]
pub(super) struct Patch<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Patch<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        out.clear();
        Self { out }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// How many bytes it has so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Adds `values`, each rendered JSON, to the end of the array at `path`; `exists` says whether the array exists.
    pub(super) fn append<'v>(
        &mut self,
        path: Path,
        exists: bool,
        values: impl IntoIterator<Item = &'v [u8]>,
    ) {
        if exists {
            for value in values {
                self.begin_add(path);
                self.out.extend_from_slice(br#"/-","value":"#);
                self.out.extend_from_slice(value);
                self.out.push(b'}');
            }
        } else {
            self.add_array(path, values);
        }
    }

    /// Adds `values`, each rendered JSON, to the beginning of the array at `path`; `exists` says whether the array exists.
    pub(super) fn prepend<'v>(
        &mut self,
        path: Path,
        exists: bool,
        values: impl IntoIterator<Item = &'v [u8]>,
    ) {
        if exists {
            for (place, value) in values.into_iter().enumerate() {
                self.begin_add(path);
                self.out.push(b'/');
                self.out.extend_from_slice(itoa::Buffer::new().format(place).as_bytes());
                self.out.extend_from_slice(br#"","value":"#);
                self.out.extend_from_slice(value);
                self.out.push(b'}');
            }
        } else {
            self.add_array(path, values);
        }
    }

    /// Adds a label that the pod does not have.
    pub(super) fn add_label(&mut self, labels: Labels, key: &str, value: &str) {
        self.out.push(if self.out.is_empty() { b'[' } else { b',' });
        self.out.extend_from_slice(br#"{"op":"add","path":"/metadata"#);
        let label = |out: &mut Vec<u8>| {
            out.push(b'{');
            render::string(out, key);
            out.push(b':');
            render::string(out, value);
            out.push(b'}');
        };
        let out = &mut *self.out;
        match labels {
            Labels::Some => {
                out.extend_from_slice(b"/labels/");
                out.extend_from_slice(key.replace('~', "~0").replace('/', "~1").as_bytes());
                out.extend_from_slice(br#"","value":"#);
                render::string(out, value);
            }
            Labels::None => {
                out.extend_from_slice(br#"/labels","value":"#);
                label(out);
            }
            Labels::NoMetadata => {
                out.extend_from_slice(br#"","value":{"labels":"#);
                label(out);
                out.push(b'}');
            }
        }
        out.push(b'}');
    }

    /// Completes the patch. An empty one stays empty.
    pub(super) fn finish(self) {
        if !self.out.is_empty() {
            self.out.push(b']');
        }
    }

    fn add_array<'v>(&mut self, path: Path, values: impl IntoIterator<Item = &'v [u8]>) {
        let mut values = values.into_iter();
        let Some(first) = values.next() else { return };
        self.begin_add(path);
        self.out.extend_from_slice(br#"","value":["#);
        self.out.extend_from_slice(first);
        for value in values {
            self.out.push(b',');
            self.out.extend_from_slice(value);
        }
        self.out.extend_from_slice(b"]}");
    }

    /// Writes an operation as far as the array's path, whose string is left open.
    fn begin_add(&mut self, path: Path) {
        self.out.push(if self.out.is_empty() { b'[' } else { b',' });
        self.out.extend_from_slice(br#"{"op":"add","path":"/spec/"#);
        match path {
            Path::Volumes => self.out.extend_from_slice(b"volumes"),
            Path::OfContainer { list, index, field } => {
                self.out.extend_from_slice(list.as_bytes());
                self.out.push(b'/');
                self.out.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
                self.out.push(b'/');
                self.out.extend_from_slice(field.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(build: impl FnOnce(&mut Patch<'_>)) -> String {
        let mut out = b"left over".to_vec();
        let mut patch = Patch::new(&mut out);
        build(&mut patch);
        patch.finish();
        String::from_utf8(out).unwrap()
    }

    const VALUES: [&[u8]; 2] = [b"1", b"2"];

    #[test]
    fn elements_are_appended_one_by_one() {
        assert_eq!(
            patch(|patch| patch.append(Path::Volumes, true, VALUES)),
            r#"[{"op":"add","path":"/spec/volumes/-","value":1},{"op":"add","path":"/spec/volumes/-","value":2}]"#
        );
    }

    #[test]
    fn a_missing_array_is_added_whole() {
        let path = Path::OfContainer { list: "containers", index: 10, field: "env" };
        assert_eq!(
            patch(|patch| patch.append(path, false, VALUES)),
            r#"[{"op":"add","path":"/spec/containers/10/env","value":[1,2]}]"#
        );
    }

    #[test]
    fn elements_are_prepended_in_their_order() {
        assert_eq!(
            patch(|patch| patch.prepend(Path::Volumes, true, VALUES)),
            r#"[{"op":"add","path":"/spec/volumes/0","value":1},{"op":"add","path":"/spec/volumes/1","value":2}]"#
        );
        assert_eq!(
            patch(|patch| patch.prepend(Path::Volumes, false, VALUES)),
            r#"[{"op":"add","path":"/spec/volumes","value":[1,2]}]"#
        );
    }

    #[test]
    fn a_label_is_added_to_what_there_is() {
        for (labels, operation) in [
            (Labels::Some, r#"{"op":"add","path":"/metadata/labels/a.b~1c","value":"d"}"#),
            (Labels::None, r#"{"op":"add","path":"/metadata/labels","value":{"a.b/c":"d"}}"#),
            (Labels::NoMetadata, r#"{"op":"add","path":"/metadata","value":{"labels":{"a.b/c":"d"}}}"#),
        ] {
            assert_eq!(patch(|patch| patch.add_label(labels, "a.b/c", "d")), format!("[{operation}]"));
        }
    }

    #[test]
    fn nothing_to_add_is_no_patch() {
        assert_eq!(patch(|patch| patch.append(Path::Volumes, false, [])), "");
        assert_eq!(patch(|patch| patch.append(Path::Volumes, true, [])), "");
    }
}
