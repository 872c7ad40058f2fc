//! Reads several values out of one input.

/// The rest of an input.
#[derive(Clone, Copy)]
pub(super) struct InputReader<'a>(pub(super) &'a [u8]);

impl<'a> InputReader<'a> {
    /// The next byte; 0 once there are none.
    pub(super) fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    /// The next number of two bytes.
    pub(super) fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// As many bytes as the next number says, or all that are left.
    pub(super) fn chunk(&mut self) -> &'a [u8] {
        let length = self.number().min(self.0.len());
        self.0.split_off(..length).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The input from which [`InputReader::chunk`] reads these chunks.
pub(super) fn encode_chunks<T: AsRef<[u8]>>(chunks: &[T]) -> Vec<u8> {
    let chunks = chunks.iter().map(AsRef::as_ref);
    chunks.flat_map(|chunk| [&(chunk.len() as u16).to_be_bytes()[..], chunk].concat()).collect()
}
