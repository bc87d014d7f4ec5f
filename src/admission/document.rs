//! A parsed body, and the buffers of an admission.

use simd_json::{INPUT_PADDING, Node, Tape};

use super::{BadReview, json::Value, managed_fields::ManagedFields};
use crate::injection::warning::Warned;

/// How many spare bytes a body should have behind its end, to be parsed in place.
pub const PADDING: usize = INPUT_PADDING;

/// What the parser holds for each value: a node and some indices. Measured with `[0,0,…]` of 8 MiB.
const BYTES_PER_VALUE: usize = 40;

/// The buffers of one admission. Reused buffers save the parser its allocations.
pub struct Buffers {
    managed_fields: ManagedFields,
    parser: simd_json::Buffers,
    tape: Tape<'static>,
    /// Where the patch is written.
    pub(super) patch: Vec<u8>,
    /// Where the env entry of the session name is written.
    pub(super) session_name: Vec<u8>,
    /// Where the answer is written.
    pub(super) response: Vec<u8>,
    /// What it warns of.
    pub(super) warned: Warned,
    largest_body: usize,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            managed_fields: ManagedFields::default(),
            parser: simd_json::Buffers::default(),
            tape: Tape(Vec::new()),
            patch: Vec::new(),
            session_name: Vec::new(),
            response: Vec::new(),
            warned: Warned::default(),
            largest_body: 0,
        }
    }
}

/// How many bytes it may take to parse `body`, beside its own: all but the first value of an array or object stand behind
/// a comma, and those of objects behind a colon.
pub fn memory_to_parse(body: &[u8]) -> usize {
    // So many at once that a byte can count them: the compiler makes vector instructions of that.
    let in_chunk =
        |chunk: &[u8]| chunk.iter().map(|&byte| u8::from(byte == b',' || byte == b':')).sum::<u8>();
    let values: usize = body.chunks(224).map(|chunk| usize::from(in_chunk(chunk))).sum();
    values * BYTES_PER_VALUE
}

/// A parsed body.
#[derive(Debug)]
pub struct Document<'a>(Tape<'a>);

impl Document<'_> {
    /// About how many bytes it holds beside the body.
    pub fn memory(&self) -> usize {
        self.0.0.len() * BYTES_PER_VALUE
    }

    pub(super) fn root(&self) -> Value<'_> {
        Value::root(&self.0)
    }
}

impl Buffers {
    /// Parses `body` in place. Its contents are spent afterwards, whether or not it was JSON.
    pub fn parse<'b>(&mut self, body: &'b mut Vec<u8>) -> Result<Document<'b>, BadReview> {
        let len = body.len();
        self.largest_body = self.largest_body.max(len);
        let start = self.managed_fields.leave_out(body);
        body.resize(len + PADDING, 0);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        simd_json::fill_tape_padded(&mut body[start..], len - start, &mut self.parser, &mut tape)
            .map_err(|error| BadReview::NotJson(error.to_string()))?;
        Ok(Document(tape))
    }

    /// Replaces what `body` holds with the response that was written last. A request is nearly always longer than its
    /// response, so the body's memory serves again.
    pub fn take_response(&self, body: &mut Vec<u8>) {
        body.clear();
        body.extend_from_slice(&self.response);
    }

    /// What the response that was written last warns of.
    pub fn warned(&self) -> Warned {
        self.warned
    }

    /// How many bytes it holds, used or not.
    pub fn memory(&self) -> usize {
        let buffers = self.largest_body + 2 * size_of_val(self.parser.structural_indexes());
        let tape = self.tape.0.capacity() * size_of::<Node<'_>>();
        buffers + tape + self.patch.capacity() + self.session_name.capacity() + self.response.capacity()
    }

    /// Takes the tape of a document back.
    pub fn recycle(&mut self, document: Document<'_>) {
        self.tape = document.0.reset();
    }
}
