//! What it costs to be watched: tasks while a thousand HTTP connections do nothing or as little as they can. (What metrics
//! cost is too little for a rate to show; `metrics-profile` shows it.)

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use task_messenger_manager::config::Durability;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::Options;
use crate::{client::ClientProcess, fleet::Fleet, plan::Load, record::Watched, statistics::Spread};

const WORKERS: usize = 4;

/// Connections to the manager's HTTP side: half of them idle behind a request, half of them sending their request byte by
/// byte. Each is made again when the manager closes it.
const CONNECTIONS: usize = 1_000;

/// How often a slow one sends a byte.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn run(options: &Options) -> Result<Watched> {
    let fleet = Fleet::start(&options.directory.join("watched"), Durability::Strict, None, WORKERS).await?;
    let (mut quiet, mut crowded, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut tasks = 0;
    for round in 1..=options.rounds {
        eprintln!("watched: round {round} of {}", options.rounds);
        let (first, count) = alone(&fleet, options.alone).await?;
        tasks += count;
        let crowd = Crowd::gather(fleet.http()).await?;
        let (second, count) = alone(&fleet, options.alone).await?;
        tasks += count;
        crowd.check().await?;
        quiet.push(first);
        crowded.push(second);
        ratios.push(second / first);
    }
    fleet.stop().await?.check(tasks)?;
    let spread = |found: Vec<f64>| Spread::of(found).context("there was no round");
    Ok(Watched {
        connections: CONNECTIONS,
        quiet_p99: spread(quiet)?,
        crowded_p99: spread(crowded)?,
        crowded_to_quiet: spread(ratios)?,
    })
}

/// The p99 of tasks one after the other, in microseconds, and how many there were.
async fn alone(fleet: &Fleet, tasks: u32) -> Result<(f64, u64)> {
    let mut client = ClientProcess::start(fleet.credential(), WORKERS, Load::Alone { tasks }).await?;
    let alone = client.alone().await?;
    Ok((alone.streamed.p99, alone.tasks))
}

/// Connections that go on until this is dropped.
struct Crowd {
    address: SocketAddr,
    _all: JoinSet<()>,
}

impl Crowd {
    /// Makes all connections, and goes on when as many are there.
    async fn gather(address: SocketAddr) -> Result<Self> {
        let mut all = JoinSet::new();
        for number in 0..CONNECTIONS {
            all.spawn(async move {
                loop {
                    // It may be closed at any time: then there is another.
                    let _ = if number % 2 == 0 { idle(address).await } else { slow(address).await };
                }
            });
        }
        wait_for_all(address).await?;
        Ok(Self { address, _all: all })
    }

    /// An error if they don't come back any more: the manager closes them all at about the same time.
    async fn check(self) -> Result<()> {
        wait_for_all(self.address).await
    }
}

async fn wait_for_all(address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while established(address)? < CONNECTIONS * 9 / 10 {
        ensure!(Instant::now() < deadline, "{CONNECTIONS} HTTP connections could not be made");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// How many connections the manager's side of the port has, where the system tells; otherwise all.
fn established(address: SocketAddr) -> Result<usize> {
    if !cfg!(target_os = "linux") {
        return Ok(CONNECTIONS);
    }
    // proc(5): the local address in hexadecimal digits, the other one, and the state, 01 for an established connection.
    let port = format!(":{:04X}", address.port());
    let text = std::fs::read_to_string("/proc/net/tcp").context("/proc/net/tcp can't be read")?;
    let is_one = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some("01")
    };
    Ok(text.lines().filter(is_one).count())
}

async fn idle(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    // The answer, and then nothing until the manager closes.
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(())
}

async fn slow(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    for byte in b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: " {
        stream.write_all(&[*byte]).await?;
        sleep(PAUSE).await;
    }
    Ok(())
}
