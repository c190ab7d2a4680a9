//! Shows how everything is again and again, and when the manager can't be asked.

use std::{
    future::Future,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::Result;
use console::Term;
use jiff::tz::TimeZone;
use task_messenger_client::{Client, LinkStatus};
use task_messenger_daemon::say::say;
use tokio::{sync::watch::Receiver, time::MissedTickBehavior};

use super::{Picture, Shape, document, now, render};
use crate::{failure::output_error, format, printer::Printer};

/// How often it is looked at whether the manager can be asked.
const LOOK: Duration = Duration::from_millis(250);

/// An answer that takes longer is told to be missing.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shows until Ctrl-C.
pub async fn watch(client: Client, printer: Printer, every: Duration) -> Result<()> {
    let link = client.status_of_link();
    let display = Display { printer, every, last: None, screens: 0, told: None };
    let watching = Watching { client, link, trouble: None, display };
    tokio::select! {
        ended = watching.run(every) => ended,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            // The terminal shows the key there.
            if printer.terminal() { printer.line("") } else { Ok(()) }
        }
    }
}

struct Watching {
    client: Client,
    link: Receiver<LinkStatus>,
    trouble: Option<Trouble>,
    display: Display,
}

/// The manager can't be asked.
#[derive(Clone, Debug)]
struct Trouble {
    since_milliseconds: u64,
    reason: Option<String>,
}

impl Watching {
    async fn run(mut self, every: Duration) -> Result<()> {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.attend(ticks.tick(), None).await?.is_none() {
                ticks.reset();
            }
            let client = self.client.clone();
            if let Some(picture) = self.attend(Picture::ask(&client), Some(Instant::now())).await? {
                self.trouble = None;
                self.display.show(picture?)?;
            }
        }
    }

    /// Waits for something, and tells meanwhile when the manager can't be asked. `None` when nothing was asked and the
    /// manager, which was away, is back: then that is worth being shown at once.
    async fn attend<T>(&mut self, what: impl Future<Output = T>, asked: Option<Instant>) -> Result<Option<T>> {
        let mut what = pin!(what);
        loop {
            tokio::select! {
                biased;
                done = &mut what => return Ok(Some(done)),
                () = tokio::time::sleep(LOOK) => {}
            }
            let is_away = self.look(asked)?;
            if !is_away && asked.is_none() && self.trouble.is_some() {
                return Ok(None);
            }
        }
    }

    /// Whether the manager can't be asked, which is told.
    fn look(&mut self, asked: Option<Instant>) -> Result<bool> {
        let reason = match &*self.link.borrow_and_update() {
            LinkStatus::Down { reason, .. } => Some(reason.clone()),
            // How it ended is told to whoever asks.
            LinkStatus::Up | LinkStatus::Ended(_) => None,
        };
        let waited = asked.map_or(Duration::ZERO, |asked| asked.elapsed());
        if reason.is_none() && waited < PATIENCE {
            return Ok(false);
        }
        let before = if reason.is_some() { 0 } else { waited.as_millis() as u64 };
        let since_milliseconds = self.trouble.as_ref().map_or_else(|| now() - before, |known| known.since_milliseconds);
        let trouble = Trouble { since_milliseconds, reason };
        self.display.tell(&trouble)?;
        self.trouble = Some(trouble);
        Ok(true)
    }
}

/// Where it is shown.
struct Display {
    printer: Printer,
    every: Duration,
    last: Option<Picture>,
    screens: u64,
    /// The trouble that was told last.
    told: Option<String>,
}

impl Display {
    fn show(&mut self, picture: Picture) -> Result<()> {
        let was_told = self.told.take();
        if self.printer.json() {
            if was_told.is_some() {
                say("the manager is back");
            }
            return self.printer.line(&document(&picture).to_string());
        }
        if self.printer.terminal() {
            self.draw(&picture, None)?;
            self.last = Some(picture);
            return Ok(());
        }
        let heading = format::time(picture.taken_milliseconds);
        self.print(&render(&picture, &[heading], &Shape::plain()))
    }

    /// On a terminal it stands above the last screen; otherwise each trouble is told once.
    fn tell(&mut self, trouble: &Trouble) -> Result<()> {
        let since = format::time(trouble.since_milliseconds);
        let text = match &trouble.reason {
            Some(reason) => {
                format!("no connection since {since} ({}); trying again", format::one_line(reason, 300))
            }
            None => format!("no answer since {since}; still waiting"),
        };
        let told = self.told.replace(text.clone());
        if told.as_ref() == Some(&text) {
            return Ok(());
        }
        if !self.printer.json() && self.printer.terminal() {
            let picture = self.last.clone().unwrap_or_default();
            return self.draw(&picture, Some(&text));
        }
        match (told, self.printer.json()) {
            (Some(_), _) => Ok(()),
            (None, true) => {
                say(text);
                Ok(())
            }
            (None, false) => self.print(&[text]),
        }
    }

    fn print(&mut self, lines: &[String]) -> Result<()> {
        let apart = if self.screens > 0 { "\n" } else { "" };
        self.screens += 1;
        self.printer.line(&format!("{apart}{}", lines.join("\n")))
    }

    /// Draws over what the terminal shows.
    fn draw(&mut self, picture: &Picture, trouble: Option<&str>) -> Result<()> {
        let terminal = Term::buffered_stdout();
        let (height, width) = terminal.size_checked().unwrap_or((24, 80));
        // The last line is the cursor's, and the last column is left free because some terminals wrap behind it.
        let (height, width) = (usize::from(height).saturating_sub(1), usize::from(width).saturating_sub(1));
        let shape = Shape { width: Some(width), height, coloured: self.printer.coloured(), zone: TimeZone::system() };
        let time = format::time(picture.taken_milliseconds);
        let mut lines = match trouble {
            None => {
                let every = humantime::format_duration(self.every);
                render(picture, &[format!("{time}, every {every}; Ctrl-C ends")], &shape)
            }
            Some(trouble) => {
                let trouble = shape.style(console::Style::new().red().bold()).apply_to(trouble).to_string();
                match picture.taken_milliseconds {
                    0 => vec![trouble],
                    _ => render(picture, &[trouble, format!("as it was at {time}:")], &shape),
                }
            }
        };
        lines.truncate(height);
        let padded: Vec<String> = lines
            .iter()
            .map(|line| console::pad_str(line, width, console::Alignment::Left, Some("")).into_owned())
            .collect();
        let all = || {
            if self.screens == 0 {
                terminal.clear_screen()?;
            }
            terminal.move_cursor_to(0, 0)?;
            terminal.write_line(&padded.join("\n"))?;
            terminal.flush()?;
            terminal.clear_to_end_of_screen()?;
            terminal.flush()
        };
        all().map_err(output_error)?;
        self.screens += 1;
        Ok(())
    }
}
