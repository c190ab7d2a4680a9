//! Frames over streams that give and take as little as they like.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;
use crate::messages::{Outcomes, Ping};

const LIMIT: u64 = 4 * PART_BYTES as u64;

/// A stream that passes on pieces of the given lengths (over and over), and isn't ready between them.
struct Pieces {
    bytes: BytesMut,
    lengths: Vec<usize>,
    turn: usize,
    ready: bool,
}

impl Pieces {
    fn new(bytes: &[u8], lengths: &[usize]) -> Self {
        Self { bytes: bytes.into(), lengths: lengths.to_vec(), turn: 0, ready: false }
    }

    fn length(&mut self, most: usize, context: &Context<'_>) -> Poll<usize> {
        self.ready = !self.ready;
        if !self.ready {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.turn += 1;
        Poll::Ready(self.lengths[self.turn % self.lengths.len()].min(most))
    }
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = out.remaining().min(self.bytes.len());
        self.length(most, context).map(|length| {
            out.put_slice(&self.bytes.split_to(length));
            Ok(())
        })
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.length(bytes.len(), context).map(|length| {
            self.bytes.put_slice(&bytes[..length]);
            Ok(length)
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Asks for the next message, dropping the question whenever the stream isn't ready.
async fn next_impatiently(reader: &mut FrameReader<Pieces>) -> Result<Option<Bytes>, FrameError> {
    loop {
        tokio::select! {
            biased;
            message = reader.next() => return message,
            () = tokio::task::yield_now() => {}
        }
    }
}

async fn flush_impatiently(writer: &mut FrameWriter<Pieces>) {
    loop {
        tokio::select! {
            biased;
            flushed = writer.flush() => return flushed.unwrap(),
            () = tokio::task::yield_now() => {}
        }
    }
}

fn message(length: usize, number: u64) -> Outcomes {
    Outcomes { number, outcomes: Bytes::from(vec![number as u8; length]), ..Outcomes::default() }
}

/// What a test does with a writer.
#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    PushUrgent,
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..2_000).prop_map(Step::Push),
        2 => (PART_BYTES - 20..PART_BYTES + 20).prop_map(Step::Push),
        1 => (0..3 * PART_BYTES).prop_map(Step::Push),
        2 => Just(Step::PushUrgent),
        1 => Just(Step::Flush),
    ]
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1_usize..8, 1_000_usize..100_000], 1..6)
        // One large piece keeps a megabyte from taking a million turns.
        .prop_map(|mut lengths| {
            lengths.push(50_000);
            lengths
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_message_arrives_once_and_in_order_however_the_stream_is_cut(
        steps in prop::collection::vec(step(), 1..12),
        taken in pieces(),
        given in pieces(),
    ) {
        run(async move {
            let mut writer = FrameWriter::new(Pieces::new(&[], &taken));
            writer.set_limit(LIMIT);
            let (mut ordered, mut urgent) = (VecDeque::new(), VecDeque::new());
            for (number, step) in (1..).zip(steps) {
                match step {
                    Step::Push(length) => {
                        let message = message(length, number);
                        writer.push(&message).unwrap();
                        ordered.push_back(Bytes::from(message.encode_to_vec()));
                    }
                    Step::PushUrgent => {
                        let message = Ping { number: number << 40 };
                        writer.push_urgent(&message).unwrap();
                        urgent.push_back(Bytes::from(message.encode_to_vec()));
                    }
                    Step::Flush => flush_impatiently(&mut writer).await,
                }
            }
            flush_impatiently(&mut writer).await;
            assert_eq!(writer.buffered(), 0);

            let mut reader = FrameReader::new(Pieces::new(&writer.into_stream().bytes, &given));
            reader.set_limit(LIMIT);
            while let Some(found) = next_impatiently(&mut reader).await.unwrap() {
                if urgent.front() == Some(&found) {
                    urgent.pop_front();
                } else {
                    assert!(ordered.pop_front() == Some(found), "another message, or out of order");
                }
            }
            assert!(ordered.is_empty() && urgent.is_empty());
        });
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), given in pieces()) {
        run(async move {
            let mut reader = FrameReader::new(Pieces::new(&bytes, &given));
            while let Ok(Some(_)) = reader.next().await {}
        });
    }
}

#[test]
fn a_ping_passes_between_the_parts_of_a_large_message() {
    run(async {
        let mut writer = FrameWriter::new(Pieces::new(&[], &[PART_BYTES + HEADER_BYTES]));
        writer.set_limit(LIMIT);
        writer.push(&message(3 * PART_BYTES, 1)).unwrap();
        writer.push(&message(1, 2)).unwrap();
        // The stream isn't ready every other time: after two, one part is written and the next is in the buffer.
        {
            let mut flush = std::pin::pin!(writer.flush());
            for _ in 0..2 {
                assert!(flush.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
        }
        writer.push_urgent(&Ping { number: 9 }).unwrap();
        writer.flush().await.unwrap();
        let mut reader = FrameReader::new(Pieces::new(&writer.into_stream().bytes, &[usize::MAX]));
        reader.set_limit(LIMIT);
        assert_eq!(Ping::decode(reader.next().await.unwrap().unwrap()).unwrap().number, 9);
        for number in [1, 2] {
            assert_eq!(Outcomes::decode(reader.next().await.unwrap().unwrap()).unwrap().number, number);
        }
        assert!(reader.next().await.unwrap().is_none());
    });
}

#[test]
fn what_was_received_with_a_message_is_there_without_waiting() {
    run(async {
        let mut writer = FrameWriter::new(Pieces::new(&[], &[usize::MAX]));
        for number in 1..=100 {
            writer.push(&message(5, number)).unwrap();
        }
        writer.flush().await.unwrap();
        let mut reader = FrameReader::new(Pieces::new(&writer.into_stream().bytes, &[usize::MAX]));
        assert!(reader.try_next().unwrap().is_none());
        assert!(reader.next().await.unwrap().is_some());
        let more = std::iter::from_fn(|| reader.try_next().unwrap()).count();
        assert_eq!(more, 99);
    });
}

fn frame(length: u32, kind: Kind, body: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes()[..], &[kind as u8], body].concat()
}

fn first_error(bytes: &[u8], limit: u64) -> (FrameError, usize) {
    run(async {
        let mut reader = FrameReader::new(Pieces::new(bytes, &[usize::MAX]));
        reader.set_limit(limit);
        loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("no error"),
                Err(error) => return (error, reader.memory()),
            }
        }
    })
}

#[test]
fn an_overlong_message_is_refused_before_anything_is_allocated_for_it() {
    let stranger = frame(STRANGER_BYTES as u32 + 2, Kind::Whole, &[]);
    let (error, memory) = first_error(&stranger, STRANGER_BYTES);
    assert!(matches!(error, FrameError::TooLong { length: 16_385, limit: STRANGER_BYTES }), "{error}");
    assert!(memory < 64 * 1024, "{memory}");

    let (error, memory) = first_error(&frame(u32::MAX, Kind::Whole, &[]), u64::MAX);
    assert!(matches!(error, FrameError::TooLong { .. }), "a frame is never longer than a part: {error}");
    assert!(memory < 128 * 1024, "{memory}");

    // Parts that each fit, but add up to more.
    let part = frame(PART_BYTES as u32 + 1, Kind::Part, &vec![0; PART_BYTES]);
    let parts = [&part[..], &part, &part].concat();
    let (error, memory) = first_error(&parts, 2 * PART_BYTES as u64 + 5);
    assert!(matches!(error, FrameError::TooLong { .. }), "{error}");
    assert!(memory < 5 * PART_BYTES, "{memory}");
    let mut writer = FrameWriter::new(Pieces::new(&[], &[1]));
    assert!(matches!(writer.push(&message(20_000, 1)), Err(FrameError::TooLong { .. })));
    assert_eq!(writer.buffered(), 0);
}

#[test]
fn what_is_no_frame_is_refused() {
    for bytes in [&[0, 0, 0, 0, 0][..], &[0, 0, 0, 1, 3], &frame(1, Kind::LastPart, &[]), b"GET / HTTP/1.1\r\n\r\n"] {
        let (error, _) = first_error(bytes, STRANGER_BYTES);
        assert!(matches!(error, FrameError::Malformed { .. } | FrameError::TooLong { .. }), "{error}");
    }
    for bytes in [&[0, 0, 0][..], &frame(9, Kind::Whole, b"half"), &frame(2, Kind::Part, b"x")] {
        assert!(matches!(first_error(bytes, STRANGER_BYTES).0, FrameError::Truncated));
    }
}

#[tokio::test]
async fn what_the_stream_holds_back_is_not_flushed() {
    let (near, mut far) = tokio::io::duplex(16);
    let mut writer = FrameWriter::new(tokio::io::BufWriter::new(near));
    writer.push(&Outcomes { outcomes: vec![7; 100].into(), ..Outcomes::default() }).unwrap();
    tokio::select! {
        biased;
        flushed = writer.flush() => panic!("nobody has read: {flushed:?}"),
        () = std::future::ready(()) => {}
    }
    assert_eq!((writer.buffered(), writer.is_flushed()), (0, false));
    let mut received = vec![0; 100];
    let (flushed, read) = tokio::join!(writer.flush(), tokio::io::AsyncReadExt::read_exact(&mut far, &mut received));
    flushed.unwrap();
    read.unwrap();
    assert!(writer.is_flushed());
}
