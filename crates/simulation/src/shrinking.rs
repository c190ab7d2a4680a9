//! Snapshots and the freeing of segments, as the manager does them beside its work.

use task_messenger_core::{
    engine::Engine,
    image::{Image, Part},
    state::State,
};
use task_messenger_store::journal::{Front, Position};

use crate::{
    manager::Manager,
    stage::{Checked, Stage, ensure},
};

/// What is to be written, and what is to be removed.
#[derive(Default)]
pub(super) struct Shrinking {
    /// A state, to be written when everything up to its position is synced.
    image: Option<(Position, Image)>,
    /// Segments that nobody needs since the last snapshot.
    unneeded: Vec<u64>,
}

impl Shrinking {
    /// Takes an image now and then, when no block is open.
    pub(super) fn begin(&mut self, stage: &mut Stage, engine: &Engine, front: &Front) {
        if self.image.is_none()
            && stage.random.percent(stage.scenario.snapshots)
            && let Some(position) = front.position()
        {
            self.image = Some((position, engine.image()));
        }
    }

    /// Whether a sync is waited for.
    pub(super) fn wants_sync(&self) -> bool {
        self.image.is_some()
    }
}

impl Manager {
    /// Removes what the last snapshot made unneeded, and writes the next one once that may be.
    pub(super) fn shrink(&mut self, stage: &mut Stage) -> Checked {
        let Some(process) = &mut self.process else { return Ok(()) };
        let unneeded = std::mem::take(&mut process.shrinking.unneeded);
        if !unneeded.is_empty() {
            match process.store.shrinker.free(&unneeded) {
                Ok(()) => stage.totals.freed_segments += unneeded.len() as u64,
                Err(error) if !self.disk.is_running() => return self.fail(stage, &error),
                Err(_) => process.shrinking.unneeded = unneeded,
            }
        }
        let synced = process.store.writer.progress().synced;
        let Some((position, image)) = process.shrinking.image.take_if(|(position, _)| position.last() <= synced) else {
            return Ok(());
        };
        check_image(&image)?;
        match process.store.shrinker.write(&position, &image) {
            Ok(written) => {
                stage.totals.snapshots += 1;
                stage.totals.moved_values += written.sparse.len() as u64;
                let wall = process.now(stage).wall;
                process.with_log(&mut self.reference, stage, wall, |engine, log| {
                    engine.move_values(written.sparse, log);
                });
                process.shrinking.unneeded.extend(written.unneeded);
                process.shrinking.unneeded.sort_unstable();
                process.shrinking.unneeded.dedup();
            }
            Err(error) if !self.disk.is_running() => return self.fail(stage, &error),
            // The journal has everything still; the next one may work.
            Err(_) => stage.totals.failed_snapshots += 1,
        }
        Ok(())
    }
}

/// Sees that what an image is restored to is what it was taken of.
fn check_image(image: &Image) -> Checked {
    let parts: Vec<Part> = image.parts().collect();
    let mut state = State::default();
    for part in parts.iter().cloned() {
        state.restore(part);
    }
    let restored: Vec<Part> = state.image().parts().collect();
    if let Some((was, is)) = parts.iter().zip(&restored).find(|(was, is)| was != is) {
        ensure!(false, "a part of a snapshot was {was:?}, and is restored as {is:?}");
    }
    ensure!(parts.len() == restored.len(), "a snapshot of {} parts is restored to {}", parts.len(), restored.len());
    Ok(())
}
