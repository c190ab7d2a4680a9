//! What is found, and how far the looking is.

use std::error::Error;

use crate::{blobs::ValueError, journal::OpenError};

/// The most findings that are kept.
const FINDINGS_MAX: usize = 1_000;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, by its name in the store.
    pub file: String,
    /// Where in the file, if it is not all of it.
    pub offset: Option<u64>,
    /// What is wrong there.
    pub problem: String,
}

/// How far the looking is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// How many bytes were looked at.
    pub done: u64,
    /// How many there are, about.
    pub total: u64,
}

/// Takes what is found.
pub(crate) struct Report<'a> {
    findings: Vec<Finding>,
    more: u64,
    looked: Looked,
    watch: &'a mut dyn FnMut(Looked),
}

impl<'a> Report<'a> {
    pub(super) fn new(watch: &'a mut dyn FnMut(Looked)) -> Self {
        Self { findings: Vec::new(), more: 0, looked: Looked::default(), watch }
    }

    pub(super) fn expect(&mut self, total: u64) {
        self.looked.total = total;
        (self.watch)(self.looked);
    }

    /// So many more bytes were looked at.
    pub(crate) fn looked_at(&mut self, bytes: u64) {
        self.looked.done = (self.looked.done + bytes).min(self.looked.total);
        (self.watch)(self.looked);
    }

    /// Something is wrong.
    pub(crate) fn find(&mut self, file: &str, offset: Option<u64>, problem: String) {
        if self.findings.len() >= FINDINGS_MAX {
            self.more += 1;
            return;
        }
        self.findings.push(Finding { file: file.to_owned(), offset, problem });
    }

    /// What makes a start refuse the store is wrong, unless that was found at the same place.
    pub(super) fn find_refusal(&mut self, error: &OpenError) {
        let (file, offset) = place_of(error);
        let is_known = |finding: &Finding| {
            finding.file == file && (offset.is_none() || finding.offset.is_none() || finding.offset == offset)
        };
        if !self.findings.iter().any(is_known) {
            self.find(&file, offset, text_of(error));
        }
    }

    /// How many things were found.
    pub(crate) fn count(&self) -> usize {
        self.findings.len()
    }

    pub(super) fn take(self) -> (Vec<Finding>, u64) {
        (self.findings, self.more)
    }
}

/// An error with its causes.
pub(crate) fn text_of(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The file that is wrong, and where.
fn place_of(error: &OpenError) -> (String, Option<u64>) {
    match error {
        OpenError::SegmentBytes { .. } => (crate::identity::IDENTITY_FILE.to_owned(), None),
        OpenError::NoIdentity { file, .. }
        | OpenError::NoExtent { file }
        | OpenError::Extent { file, .. }
        | OpenError::Identity { file, .. } => ((*file).to_owned(), None),
        OpenError::NoSnapshot { directory, .. } => ((*directory).to_owned(), None),
        // Where in a snapshot was found when it was looked at.
        OpenError::Snapshot { file, .. }
        | OpenError::MissingSegment { file, .. }
        | OpenError::SegmentLength { file, .. }
        | OpenError::ForeignSegment { file, .. }
        | OpenError::NewerSegment { file, .. }
        | OpenError::Io { file, .. } => (file.clone(), None),
        OpenError::Damaged { file, offset, .. }
        | OpenError::MissingValue { file, offset }
        | OpenError::Record { file, offset, .. }
        | OpenError::RecordCount { file, offset, .. } => (file.clone(), Some(*offset)),
        OpenError::Value { source } => match source {
            ValueError::Missing { file, .. } | ValueError::Length { file, .. } => (file.clone(), None),
            ValueError::Checksum { file, offset, .. } => (file.clone(), Some(*offset)),
        },
        OpenError::Blobs { source } => (source.name.clone(), None),
    }
}
