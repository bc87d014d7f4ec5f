//! The items of a list: the objects in the array of the outermost object.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Framer, take};

/// Items, and the list without them.
#[derive(Debug, Default)]
pub struct ListItems {
    piece: Bytes,
    /// How much of the piece has been taken.
    taken: usize,
    in_string: bool,
    is_escaped: bool,
    parts: Parts,
}

#[derive(Debug, Default)]
struct Parts {
    /// How many objects and arrays are open.
    depth: usize,
    /// Whether the second of them is an array, that of the items.
    in_items: bool,
    item: BytesMut,
    list: BytesMut,
}

impl ListItems {
    /// The list without its items, once all of it has arrived.
    pub(in crate::kube) fn list(&self) -> &[u8] {
        &self.parts.list
    }

    /// Takes all up to the end of a string, an escape, or the piece.
    fn take_string(&mut self) {
        let rest = &self.piece[self.taken..];
        let end = match std::mem::take(&mut self.is_escaped) {
            true => 1,
            false => match memchr::memchr2(b'"', b'\\', rest) {
                None => rest.len(),
                Some(at) => {
                    self.is_escaped = rest[at] == b'\\';
                    self.in_string = self.is_escaped;
                    at + 1
                }
            },
        };
        self.parts.keep(&rest[..end]);
        self.taken += end;
    }
}

impl Framer for ListItems {
    fn push(&mut self, piece: Bytes) {
        (self.piece, self.taken) = (piece, 0);
    }

    fn next(&mut self) -> Option<BytesMut> {
        while let Some(&byte) = self.piece.get(self.taken) {
            if self.in_string {
                self.take_string();
                continue;
            }
            self.taken += 1;
            self.in_string = byte == b'"';
            let is_complete = match byte {
                b'{' | b'[' => {
                    self.parts.open(byte);
                    false
                }
                b'}' | b']' => self.parts.close(byte),
                _ => {
                    self.parts.keep(&[byte]);
                    false
                }
            };
            if is_complete {
                return Some(take(&mut self.parts.item));
            }
        }
        None
    }

    fn pending(&self) -> usize {
        let Parts { depth, item, list, .. } = &self.parts;
        item.len() + if *depth > 0 { list.len() } else { 0 }
    }
}

impl Parts {
    fn open(&mut self, bracket: u8) {
        let opens_items = self.depth == 1 && bracket == b'[';
        self.depth += 1;
        self.keep(&[bracket]);
        self.in_items |= opens_items;
    }

    /// Whether that completes an item.
    fn close(&mut self, bracket: u8) -> bool {
        let is_complete = self.in_items && self.depth == 3;
        self.in_items &= self.depth > 2;
        self.keep(&[bracket]);
        self.depth = self.depth.saturating_sub(1);
        is_complete
    }

    /// Keeps bytes of an item or of the list. What separates items is left out.
    fn keep(&mut self, bytes: &[u8]) {
        match (self.in_items, self.depth) {
            (true, 0..=2) => {}
            (true, _) => self.item.put_slice(bytes),
            (false, _) => self.list.put_slice(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_in_pieces_of_any_size() {
        let items = [r#"{"a":"]}\"{[\\","b":[{"c":[]},1]}"#, "{}", r#"{"é":{}}"#];
        let list = r#"{"kind":"L","metadata":{"continue":"t[","x":{"y":[{}]}},"items":["#;
        let text = format!("{list}{} ,\n{},{}]}}\n", items[0], items[1], items[2]);
        for size in [1, 2, 3, 7, text.len()] {
            let (mut framer, mut found) = (ListItems::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                framer.push(Bytes::copy_from_slice(piece));
                found.extend(
                    std::iter::from_fn(|| framer.next()).map(|item| String::from_utf8(item.into()).unwrap()),
                );
            }
            assert_eq!((found, framer.pending()), (items.map(str::to_owned).to_vec(), 0), "{size}");
            assert_eq!(framer.list(), format!("{list}]}}\n").as_bytes());
        }
    }
}
