//! The events of a watch: one on each line.

use bytes::{Bytes, BytesMut};

use super::{Framer, KEPT_BYTES};

/// Lines that are not empty, without their line feeds.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: BytesMut,
    /// How far the buffer holds no line feed.
    searched: usize,
}

impl Framer for Lines {
    fn push(&mut self, piece: Bytes) {
        self.buffer.extend_from_slice(&piece);
    }

    fn next(&mut self) -> Option<BytesMut> {
        loop {
            let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
                self.searched = self.buffer.len();
                return None;
            };
            let mut line = self.buffer.split_to(self.searched + at + 1);
            self.searched = 0;
            line.truncate(line.trim_ascii_end().len());
            if line.len() > KEPT_BYTES {
                self.buffer = BytesMut::from(&*self.buffer);
            }
            if !line.is_empty() {
                return Some(line);
            }
        }
    }

    fn pending(&self) -> usize {
        self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_in_pieces_of_any_size() {
        let text = format!("first\r\n\n{}\nlast", "x".repeat(3 * KEPT_BYTES));
        for size in [1, 2, 7, 1000, text.len()] {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                lines.push(Bytes::copy_from_slice(piece));
                found.extend(std::iter::from_fn(|| lines.next()).map(|line| line.len()));
            }
            assert_eq!((found, lines.pending()), (vec![5, 3 * KEPT_BYTES], 4), "{size}");
        }
    }
}
