//! Opening the file: what it is, and making it where there is none.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};
use task_messenger_core::ids::RecordNumber;

use super::{
    ARCHIVE_FORMAT,
    error::Problem,
    rows::{integer, unsigned},
};
use crate::identity::StoreId;

/// What SQLite files are told apart by: "TMAR".
const APPLICATION_ID: i64 = 0x544d_4152;

/// A compromise: large enough for rows with a few KiB of output, small enough for commits of a few rows.
const PAGE_BYTES: u32 = 8192;

/// Pages that are written again and again, the index among them, stay in memory: KiB, negative by SQLite's convention.
const WRITER_CACHE: i64 = -16 * 1024;

/// The write-ahead log is carried over to the file at this size.
const LOG_PAGES: u32 = (16 << 20) / PAGE_BYTES;

/// How long another program's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

const STATEMENTS_KEPT: usize = 64;

const SCHEMA: &str = include_str!("schema.sql");

/// What was found where the archive is to be.
pub(super) enum Found {
    /// Nothing, or an empty file.
    Nothing,
    /// An archive.
    Archive { watermark: RecordNumber },
}

/// Opens the archive of `store` for writing. Where there is none it is made, with the watermark `anew`. A file that is
/// anything else is left as it is.
pub(super) fn open_writer(
    path: &Path,
    store: StoreId,
    anew: RecordNumber,
) -> Result<(Connection, RecordNumber), Problem> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    let found = look(&connection, Some(store))?;
    if connection.is_readonly("main")? {
        return Err(Problem::ReadOnly);
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    let watermark = match found {
        Found::Archive { watermark } => {
            configure(&connection)?;
            watermark
        }
        Found::Nothing => {
            prepare(&connection)?;
            configure(&connection)?;
            create(&mut connection, store, anew)?;
            anew
        }
    };
    Ok((connection, watermark))
}

/// Opens an archive for reading.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Problem> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    known(Connection::open_with_flags(path, flags)?)
}

/// A connection for reading, if it leads to an archive.
pub(super) fn known(connection: Connection) -> Result<Connection, Problem> {
    connection.busy_timeout(PATIENCE)?;
    match look(&connection, None)? {
        Found::Nothing => Err(Problem::Foreign),
        Found::Archive { .. } => Ok(connection),
    }
}

/// Says what the file is, changing nothing.
fn look(connection: &Connection, store: Option<StoreId>) -> Result<Found, Problem> {
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let things: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if things == 0 && application == 0 {
        return Ok(Found::Nothing);
    }
    if application != APPLICATION_ID {
        return Err(Problem::Foreign);
    }
    let damaged = |error: rusqlite::Error| match error.sqlite_error_code() {
        // The table or a column is missing, or the row.
        None | Some(ErrorCode::Unknown) => Problem::Damaged(error),
        _ => Problem::Sqlite(error),
    };
    let format: u32 =
        connection.query_row("SELECT format FROM meta WHERE id = 0", [], |row| row.get(0)).map_err(damaged)?;
    if format > ARCHIVE_FORMAT {
        return Err(Problem::Newer { found: format });
    }
    let (found, watermark) = connection
        .query_row("SELECT store, watermark FROM meta WHERE id = 0", [], |row| {
            Ok((row.get::<_, String>(0)?, unsigned(row, 1)?))
        })
        .map_err(damaged)?;
    match store {
        Some(expected) if expected.to_string() != found => Err(Problem::OtherStore { found, expected }),
        _ => Ok(Found::Archive { watermark: RecordNumber(watermark) }),
    }
}

/// Sets what must be set before there is anything in the file.
fn prepare(connection: &Connection) -> Result<(), Problem> {
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages > 0 {
        // Empty, but a file already: only this makes the settings true.
        connection.execute_batch("VACUUM")?;
    }
    Ok(())
}

fn configure(connection: &Connection) -> Result<(), Problem> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Problem::NotShared);
    }
    // What is committed is durable: watermarks and removals are relied on as soon as they are reported.
    // That includes the file's own name: the first sync of the log is followed by one of the directory.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_PAGES * PAGE_BYTES)?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

fn create(connection: &mut Connection, store: StoreId, watermark: RecordNumber) -> Result<(), Problem> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute(
        "INSERT INTO meta (id, format, store, watermark) VALUES (0, ?1, ?2, ?3)",
        params![ARCHIVE_FORMAT, store.to_string(), integer("the watermark", watermark.0)?],
    )?;
    Ok(transaction.commit()?)
}
