//! Takes an input apart: most targets want several things out of one stretch of bytes.

/// What is left of an input.
#[derive(Clone, Copy)]
pub(super) struct Pieces<'a>(pub(super) &'a [u8]);

impl<'a> Pieces<'a> {
    /// The next byte; 0 once there are none.
    pub(super) fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    /// The next number of two bytes.
    pub(super) fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// As many bytes as the next number says, or all that are left.
    pub(super) fn piece(&mut self) -> &'a [u8] {
        let length = self.number().min(self.0.len());
        self.0.split_off(..length).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The input that gives these pieces.
pub(super) fn joined<T: AsRef<[u8]>>(pieces: &[T]) -> Vec<u8> {
    let pieces = pieces.iter().map(AsRef::as_ref);
    pieces.flat_map(|piece| [&(piece.len() as u16).to_be_bytes()[..], piece].concat()).collect()
}
