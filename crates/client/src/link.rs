//! The task that keeps the link to the manager up.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
pub(crate) use task_messenger_protocol::link::Stream;
use task_messenger_protocol::{
    credential::ClientCredential,
    link::{self, Connected, LinkError},
    messages::{Hello, Ping, Pong, Reason, from_manager::Message, hello::Credential},
    secret::random_bytes,
};
use tokio::time::{Instant, sleep_until, timeout};

use crate::{ClientOptions, Error, LinkStatus, client::STEADY, state::Shared};

/// When the manager doesn't say how long a silence may last.
const SILENCE: Duration = Duration::from_secs(30);

/// How long saying goodbye may take.
const CLOSING: Duration = Duration::from_secs(1);

/// The future of an attempt.
type Attempt = Pin<Box<dyn Future<Output = Result<Connected, LinkError>> + Send>>;

/// A way to the manager.
pub struct Connector {
    hello: Hello,
    attempt: Box<dyn FnMut(Hello) -> Attempt + Send>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// Over the network, with what `login` has kept.
    pub fn of_credential(credential: &ClientCredential, options: &ClientOptions) -> Self {
        let (addresses, trust) = (credential.addresses.clone(), credential.trust.clone());
        let attempt = move |hello: Hello| -> Attempt {
            let (addresses, trust) = (addresses.clone(), trust.clone());
            Box::pin(async move { link::connect(&addresses, &trust, &hello).await })
        };
        Self { hello: credential.hello(&options.software), attempt: Box::new(attempt) }
    }

    /// Over streams that `dial` makes, such as the manager's local socket.
    pub fn of_streams<F>(
        credential: Credential,
        options: &ClientOptions,
        mut dial: impl FnMut() -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Stream, LinkError>> + Send + 'static,
    {
        let attempt = move |hello: Hello| -> Attempt {
            let dialled = dial();
            Box::pin(async move { link::greet(dialled.await?, &hello).await })
        };
        Self { hello: link::hello(&options.software, &[], credential), attempt: Box::new(attempt) }
    }

    /// Over this stream, and no other after it.
    pub(crate) fn once(stream: Stream, credential: Credential, options: &ClientOptions) -> Self {
        let mut stream = Some(stream);
        Self::of_streams(credential, options, move || {
            let stream = stream.take();
            async move { stream.ok_or(LinkError::NoAddress) }
        })
    }

    pub(crate) async fn connect(&mut self) -> Result<Connected, LinkError> {
        let connected = (self.attempt)(self.hello.clone()).await?;
        // From now on only this store will do.
        self.hello.store = Bytes::copy_from_slice(&connected.welcome.store);
        Ok(connected)
    }
}

/// Keeps the link up until nobody is left who uses it, or until it can't be.
pub(crate) async fn run(shared: Arc<Shared>, mut connector: Connector, options: ClientOptions, first: Connected) {
    let mut connected = first;
    let mut attempts = 0;
    loop {
        let began = Instant::now();
        let Err(error) = serve(&shared, connected).await else { return };
        shared.lock().disconnected();
        if began.elapsed() >= STEADY {
            attempts = 0;
        }
        match connect_again(&shared, &mut connector, &options, error, &mut attempts).await {
            Ok(Some(again)) => connected = again,
            Ok(None) => return,
            Err(error) => {
                let error = Error::from(error);
                shared.lock().fail(&error);
                shared.status.send_replace(LinkStatus::Ended(error));
                return;
            }
        }
        shared.lock().connected(&connected.welcome);
        shared.status.send_replace(LinkStatus::Up);
    }
}

/// A new link; `None` when nobody is left who would use it; an error when there can be none.
async fn connect_again(
    shared: &Shared,
    connector: &mut Connector,
    options: &ClientOptions,
    mut error: LinkError,
    attempts: &mut u32,
) -> Result<Option<Connected>, LinkError> {
    let lost = Instant::now();
    loop {
        let late = options.give_up_after.is_some_and(|limit| lost.elapsed() >= limit);
        if late || is_final(&error) {
            return Err(error);
        }
        shared.status.send_replace(LinkStatus::Down { reason: error.to_string(), attempts: *attempts });
        let until = Instant::now() + backoff(options, *attempts);
        *attempts += 1;
        let again = async {
            sleep_until(until).await;
            connector.connect().await
        };
        tokio::select! {
            connected = again => match connected {
                Ok(connected) => return Ok(Some(connected)),
                Err(next) => error = next,
            },
            () = abandoned(shared) => return Ok(None),
        }
    }
}

/// Returns when nobody is left who uses the link.
async fn abandoned(shared: &Shared) {
    while !shared.lock().abandoned {
        shared.work.notified().await;
    }
}

/// Whether another attempt can't help.
fn is_final(error: &LinkError) -> bool {
    let our_fault = matches!(error, LinkError::Goodbye { reason: Reason::Protocol, .. });
    our_fault || !error.retry_can_help()
}

/// A random part of a wait that doubles with each attempt.
fn backoff(options: &ClientOptions, attempts: u32) -> Duration {
    let doubled = options.backoff_first.saturating_mul(1_u32.checked_shl(attempts).unwrap_or(u32::MAX));
    let longest = doubled.min(options.backoff_longest);
    // Without random numbers the whole wait is a safe choice.
    let part = random_bytes::<4>().map_or(1.0, |bytes| f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX));
    longest.mul_f64(part)
}

/// Carries messages both ways until the link is cut (an error) or nobody uses it any more.
async fn serve(shared: &Shared, connected: Connected) -> Result<(), LinkError> {
    let Connected { mut reader, mut writer, welcome, .. } = connected;
    let silence = match welcome.silence_milliseconds {
        0 => SILENCE,
        milliseconds => Duration::from_millis(milliseconds.into()),
    };
    let mut next_ping = Instant::now() + silence / 3;
    let mut pings = 0;
    let mut unflushed = false;
    loop {
        let now = Instant::now();
        if now >= reader.heard() + silence {
            return Err(LinkError::TimedOut { what: "hearing from the manager", limit: silence });
        }
        if now >= next_ping {
            pings += 1;
            writer.push_urgent(Ping { number: pings })?;
            next_ping = now + silence / 3;
        }
        let mut timer = next_ping.min(reader.heard() + silence);
        {
            let mut state = shared.lock();
            if state.abandoned {
                break;
            }
            state.fill(&mut writer, now);
            timer = state.next_resume().map_or(timer, |at| at.min(timer));
        }
        unflushed |= writer.buffered() > 0;
        tokio::select! {
            flushed = writer.flush(), if unflushed => {
                flushed?;
                unflushed = false;
            }
            message = reader.next() => {
                let heard = reader.heard();
                let mut next = Some(message?.ok_or(LinkError::Closed)?);
                while let Some(message) = next {
                    match message {
                        Message::Ping(ping) => writer.push_urgent(Pong { number: ping.number })?,
                        Message::Goodbye(goodbye) => {
                            return Err(LinkError::Goodbye { reason: goodbye.reason(), text: goodbye.text });
                        }
                        message => shared.lock().handle(message, heard),
                    }
                    next = reader.try_next()?;
                }
            }
            () = shared.work.notified() => {}
            () = sleep_until(timer) => {}
        }
    }
    // Nobody waits for anything: a connection that doesn't close in time is dropped.
    let _ = timeout(CLOSING, writer.close()).await;
    Ok(())
}
