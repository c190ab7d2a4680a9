//! The manager as a whole: opens its state, binds, works until it is told to stop.

use std::{net::SocketAddr, path::PathBuf, rc::Rc, sync::Arc};

use anyhow::{Context, Result};
use task_messenger_daemon::{
    config::Sources,
    http::Bound,
    local::LocalListener,
    logging::Logging,
    reload::{Hangups, Reloader},
    shutdown::Shutdown,
};
use task_messenger_protocol::messages::Limits;
use task_messenger_store::{
    archive::{Archive, ArchiveThread},
    blobs::Blobs,
    journal::Reader,
    thread::JournalThread,
};
use tokio::{sync::mpsc, task::LocalSet};
use tracing::info;

use crate::{
    config::{Config, Retain},
    disk::{self, Disk},
    doorkeeper::Doorkeeper,
    listen::{self, Gate},
    observation::About,
    owner::{Archiving, Counters, DELIVERIES, EVENTS, Event, History, Owner, Past, Shrinking},
    places::Places,
    reload::{self, ASKERS, Takers},
    session::Shared,
    state::{self, State},
    watch::Watch,
};

/// How long sessions may take to say goodbye.
const GOODBYE: std::time::Duration = std::time::Duration::from_secs(2);

/// What writing a small file takes of the disk, at most.
const SMALL_FILE: u64 = 64 << 10;

/// What a message that carries one value takes besides it, at most.
const MESSAGE_HEAD: u64 = 1 << 20;

/// This program and its version, as peers see it.
pub const SOFTWARE: &str = concat!("task-messenger-manager ", env!("CARGO_PKG_VERSION"));

/// Runs the manager until `shutdown`, on this thread. `config` is what was loaded from `sources`.
pub fn run(config: &Config, sources: Sources, logging: &Rc<Logging>, shutdown: Shutdown) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(config, sources, logging, shutdown))
}

async fn serve(config: &Config, sources: Sources, logging: &Rc<Logging>, mut shutdown: Shutdown) -> Result<()> {
    let hangups = Hangups::listen(None).context("signals can't be listened to")?;
    // Bound first: whoever finds the port taken has touched nothing.
    let listeners = listen::bind(&config.listen)?;
    let http = config.http.as_ref().map(Bound::bind).transpose()?;
    let watch = Watch::start()?;
    // What shows the manager's own certificate waits for it.
    let (early, late) = match http {
        Some(http) if http.wants_own_certificate() => (None, Some(http)),
        http => (http, None),
    };
    if let Some(http) = early {
        http.serve(None, watch.health.clone(), watch.metrics())?;
    }
    let listening = listeners.iter().map(tokio::net::TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let (state, local) = loop {
        match open(config, &listening).await {
            Ok(opened) => break opened,
            Err(error) if disk::found_full(&error) => {
                if !disk::wait_for_room(&config.state_directory()?, &error, &mut shutdown, &watch.service).await {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
    };
    let tokens = state::token_maker(config, &state.trust, &listening);
    let disk = Disk::new(state.store.room.clone(), state.directory.clone());
    // A value that is there stays deliverable, whatever the limits are now.
    let message_bytes = config.limits.message.0.max(state.largest_value + MESSAGE_HEAD);
    let archive_file = state.archive_file();
    let (engine, store, archive, identity, lock) = state.into_parts();
    if let Some(http) = late {
        http.serve(Some(&identity), watch.health.clone(), watch.metrics())?;
    }

    let (done, progress) = mpsc::unbounded_channel();
    let on_done = Box::new(move |result| {
        // Nobody listens only when the owner has ended.
        let _ = done.send(result);
    });
    let journal = JournalThread::spawn(store.writer, store.allocator, on_done)
        .context("the journal's thread can't be started")?;
    watch.journal(journal.watch());
    let (events, inbox) = mpsc::channel(EVENTS);
    let counters = Arc::<Counters>::default();
    let about =
        About { software: SOFTWARE.to_owned(), store: store.id.0, durability: config.durability.name().to_owned() };
    let (blobs, reader, watched) = (store.blobs.clone(), store.reader.clone(), events.clone());
    let (values, large_values, sender) = (reader, blobs.clone(), events.clone());
    let shared = Rc::new(Shared {
        events,
        reader: store.reader,
        blobs: store.blobs,
        disk: disk.clone(),
        limits: Limits {
            payload_bytes: config.limits.payload.0,
            outcome_bytes: config.limits.outcome.0,
            message_bytes,
            template_bytes: config.limits.template.0,
        },
        silence: config.link.silence.0,
        store: store.id.0,
        software: SOFTWARE.to_owned(),
        counters: counters.clone(),
    });
    let takers = Takers {
        logging: logging.clone(),
        places: Places::new(config.link.connections),
        doorkeeper: Doorkeeper::new(config.link.handshakes_per_address),
        service: watch.service.clone(),
    };
    let gate = Gate {
        shared,
        tls: identity.server_config()?,
        handshake_timeout: config.link.handshake_timeout.0,
        places: takers.places.clone(),
        doorkeeper: takers.doorkeeper.clone(),
        shutdown: shutdown.clone(),
        counters: counters.clone(),
    };
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        accepting.spawn_local(listen::listen(listener, gate.clone()));
    }
    accepting.spawn_local(listen::listen_locally(local, gate));
    info!(?listening, durability = config.durability.name(), addresses = ?tokens.addresses, "the manager is ready");

    let reloader = Reloader::new(sources, config.clone(), &watch.health);
    let (reloads, askers) = mpsc::channel(ASKERS);
    accepting.spawn_local(reload::serve(reloader, hangups, askers, watched.clone(), takers));
    accepting.spawn_local(disk.clone().watch(watched, watch.roomy.clone()));
    let shrinking = Shrinking::new(store.shrinker, blobs, &store.recovered, &engine);
    let forgets_fetched = config.retain == Some(Retain::None);
    let past = past(config, archive, archive_file, values, large_values, sender)?;
    let (watching, asked) = watch.owner(counters);
    let owner = Owner::new(
        engine,
        store.front,
        disk,
        shrinking,
        past,
        journal,
        tokens,
        about,
        watching,
        reloads,
        forgets_fetched,
    );
    // Beside the sessions: what one hands over is taken in the same round, without asking the system for news in between.
    tokio::task::spawn_local(owner.run(inbox, progress, asked, shutdown))
        .await
        .context("the owner of the state ended")??;
    // The owner has let go of every session: each says goodbye and ends.
    let farewell = async { while accepting.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GOODBYE, farewell).await;
    drop(lock);
    info!("the manager has stopped");
    Ok(())
}

/// Starts the archive's thread.
fn past(
    config: &Config,
    archive: Archive,
    file: PathBuf,
    journal: Reader,
    blobs: Blobs,
    events: mpsc::Sender<Event>,
) -> Result<Past> {
    let reader = archive.reader();
    let kept = reader.totals_by_owner().context("what is in the archive can't be counted")?;
    let (news, archived) = mpsc::unbounded_channel();
    let on_event = Box::new(move |event| {
        // Nobody listens only when the owner has ended.
        let _ = news.send(event);
    });
    let thread = ArchiveThread::spawn(archive, on_event).context("the archive's thread can't be started")?;
    let (delivered, fetched) = mpsc::channel(DELIVERIES);
    let history = History::new(reader.clone(), blobs, delivered);
    let closed = config.retain == Some(Retain::None);
    let archiving = Archiving::new(thread, archived, fetched, reader.clone(), journal, kept, config.bounds(), closed);
    Ok(Past::new(archiving, history, reader, file, events))
}

/// Opens the state, and makes what tells others where the manager is.
async fn open(config: &Config, listening: &[SocketAddr]) -> Result<(State, LocalListener)> {
    let state = State::open(config)?;
    let local = LocalListener::bind(&state.directory, "manager").await?;
    let room = &state.store.room;
    room.within(SMALL_FILE, disk::found_full, || state::write_listening(&state.directory, listening))?;
    Ok((state, local))
}
