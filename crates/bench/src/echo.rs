//! A plain TCP echo over loopback: what the way there and back costs by itself.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::Child,
};

use crate::{exit_code, process, statistics::percentile};

const MESSAGE_BYTES: usize = 100;
/// Messages under way at a time, as many as tasks.
const UNDER_WAY: usize = 10_000;
const WRITE_BYTES: usize = 64 * 1024;

/// The echo as a process of its own. It ends when this is dropped.
pub(crate) struct Echo {
    stream: TcpStream,
    _server: Child,
}

/// What was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EchoFigures {
    /// One message there and back, the median, in microseconds.
    pub(crate) p50_microseconds: f64,
    /// Messages a second with many under way.
    pub(crate) messages_per_second: f64,
}

impl Echo {
    pub(crate) async fn start() -> Result<Self> {
        let mut server = process::piped(["echo"])?;
        let stdout = server.stdout.take().context("the echo has no output")?;
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address).await?;
        let stream = TcpStream::connect(address.trim()).await.context("the echo can't be reached")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, _server: server })
    }

    /// Measures both for this long each.
    pub(crate) async fn measure(&mut self, time: Duration) -> Result<EchoFigures> {
        let mut message = [7_u8; MESSAGE_BYTES];
        let mut times = Vec::new();
        let start = Instant::now();
        while start.elapsed() < time {
            let began = Instant::now();
            self.stream.write_all(&message).await?;
            self.stream.read_exact(&mut message).await?;
            times.push(began.elapsed());
        }
        let p50_microseconds = percentile(&mut times, 0.5);
        Ok(EchoFigures { p50_microseconds, messages_per_second: self.pipelined(time).await? })
    }

    async fn pipelined(&mut self, time: Duration) -> Result<f64> {
        let (mut reader, mut writer) = self.stream.split();
        let start = Instant::now();
        let (sent, received) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let room = tokio::sync::Notify::new();
        let over = std::cell::Cell::new(false);
        let write = async {
            let bytes = vec![7_u8; WRITE_BYTES];
            while start.elapsed() < time {
                if sent.get() - received.get() + WRITE_BYTES > UNDER_WAY * MESSAGE_BYTES {
                    room.notified().await;
                    continue;
                }
                writer.write_all(&bytes).await?;
                sent.set(sent.get() + WRITE_BYTES);
            }
            // What is written behind the end wakes the reader for the last time.
            over.set(true);
            sent.set(sent.get() + WRITE_BYTES);
            writer.write_all(&bytes).await
        };
        let read = async {
            let mut bytes = vec![0_u8; WRITE_BYTES];
            while !over.get() || received.get() < sent.get() {
                let count = reader.read(&mut bytes).await?;
                if count == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                received.set(received.get() + count);
                room.notify_one();
            }
            Ok(())
        };
        tokio::try_join!(write, read).context("the echo failed")?;
        Ok(received.get() as f64 / MESSAGE_BYTES as f64 / start.elapsed().as_secs_f64())
    }
}

/// The process that echoes: prints its address, serves one connection, and ends with it.
pub(crate) fn serve() -> ExitCode {
    let served = async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut bytes = vec![0_u8; WRITE_BYTES];
        loop {
            let count = stream.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            stream.write_all(&bytes[..count]).await?;
        }
    };
    exit_code(crate::block_on(served))
}
