//! The preface of a connection, and its frames.

use super::input_reader::InputReader;
use crate::Target;
use bytes::BytesMut;
use grower_protocol::wire::{Correlation, FrameDecoder, PREFACE_LENGTH, Preface, encode_frame};

pub(super) const FRAME: Target = Target {
    name: "frame",
    about: "a preface and frames: any chunking gives the same frames, and a wrong length is refused before its bytes arrive",
    run,
    seeds,
    allocates: 1 << 20,
};

const LIMIT: usize = 32 << 10;

fn run(input: &[u8]) {
    let mut input = InputReader(input);
    let chunk = 1 + usize::from(input.byte());
    if let Some(preface) = input.0.first_chunk::<PREFACE_LENGTH>()
        && let Ok(theirs) = Preface::decode(*preface)
    {
        assert_eq!(theirs.encode(), *preface);
        let _ = Preface::OURS.agree(theirs);
    }
    assert_eq!(frames(input.0, input.0.len().max(1)), frames(input.0, chunk));
}

/// The frames that a decoder found in a stream.
#[derive(Debug, Default, PartialEq)]
struct Decoded {
    frames: Vec<(Correlation, Vec<u8>, Vec<u8>)>,
    error: Option<String>,
}

/// Decodes a stream that arrives in chunks.
fn frames(stream: &[u8], chunk: usize) -> Decoded {
    let decoder = FrameDecoder::new(LIMIT);
    let (mut unread, mut decoded) = (BytesMut::new(), Decoded::default());
    for received in stream.chunks(chunk) {
        unread.extend_from_slice(received);
        loop {
            match decoder.next_frame(&mut unread) {
                Ok(Some(frame)) => {
                    decoded.frames.push((frame.correlation, frame.message.to_vec(), frame.attachment.to_vec()));
                }
                Ok(None) => break,
                Err(error) => return Decoded { error: Some(error.to_string()), ..decoded },
            }
        }
        assert!(unread.len() <= LIMIT + 4 + chunk, "a frame over the limit was waited for");
    }
    decoded
}

fn seeds() -> Vec<Vec<u8>> {
    let mut two = vec![3];
    two.extend(encode_frame(Correlation(1), b"message", 0));
    two.extend(encode_frame(Correlation(2), b"", 4));
    two.extend(b"rest");
    let preface = [&[0][..], &Preface::OURS.encode()].concat();
    vec![two, preface]
}
