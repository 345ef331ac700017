//! What events will read of an array while the pulses of its gradient go on: noted by the kernel, cell by cell, when the vectors before are done.

use super::trains::Trains;
use super::update::Span;
use std::ops::Range;

/// Cells to be noted after so many vectors of a job: all rows of a column, or all columns of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Note {
    pub(crate) after: usize,
    pub(crate) rows: Span,
    pub(crate) columns: Span,
}

/// A cell in the middle of a call: what it stores, and how often it was changed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) v: f32,
    pub(crate) n: u32,
}

/// The notes of a job.
#[derive(Debug)]
pub(crate) struct Notes {
    pub(super) places: Places,
    pub(super) seen: Vec<Seen>,
}

/// Where notes are kept: row by row, first the columns noted in it, then the row itself as often as it is noted.
#[derive(Debug)]
pub(super) struct Places {
    list: Vec<Note>,
    /// Where each note begins within its rows.
    within: Vec<usize>,
    /// Where the rows begin, and the end of the last one.
    begin: Vec<usize>,
}

/// What is noted of a row: columns after so many vectors, at a place within the row's notes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stop {
    pub(super) after: usize,
    pub(super) columns: Span,
    pub(super) place: usize,
}

impl Stop {
    /// What of it lies in a block of columns, in lanes of that block.
    pub(super) fn within(&self, first: usize, lanes: usize) -> Option<Stop> {
        let (own, block) = (self.columns.range(), first..first + lanes);
        let (start, end) = (own.start.max(block.start), own.end.min(block.end));
        let columns = Span { first: start.checked_sub(first)?, len: end.checked_sub(start).filter(|len| *len > 0)? };
        Some(Stop { columns, place: self.place + (start - own.start), ..*self })
    }
}

impl Notes {
    /// Room for notes, in the order of time, on an array of so many rows.
    pub(crate) fn new(list: &[Note], rows: usize) -> Self {
        if list.is_empty() {
            let places = Places { list: Vec::new(), within: Vec::new(), begin: Vec::new() };
            return Self { places, seen: Vec::new() };
        }
        let whole = |note: &Note| note.rows.len == rows;
        let columns = list.iter().filter(|note| whole(note)).map(|note| note.columns.len).sum::<usize>();
        let (mut size, mut next) = (vec![columns; rows], 0);
        let place = |note: &Note| {
            let next = if whole(note) { &mut next } else { &mut size[note.rows.first] };
            *next += note.columns.len;
            *next - note.columns.len
        };
        let within = list.iter().map(place).collect();
        let mut begin = vec![0];
        begin.extend(size.iter().scan(0, |end, size| {
            *end += size;
            Some(*end)
        }));
        let seen = vec![Seen::default(); begin[rows]];
        Self { places: Places { list: list.to_vec(), within, begin }, seen }
    }

    /// What was noted of the cells of a note, row by row.
    pub(crate) fn of(&self, note: usize) -> impl Iterator<Item = Seen> {
        let (Note { rows, columns, .. }, within) = (self.places.list[note], self.places.within[note]);
        rows.range().flat_map(move |row| self.seen[self.places.begin[row] + within..][..columns.len].iter().copied())
    }
}

impl Places {
    /// `seen` in parts for chunks of `share` of the rows `lines`.
    pub(super) fn split<'a>(&self, mut seen: &'a mut [Seen], lines: Range<usize>, share: usize) -> impl Iterator<Item = &'a mut [Seen]> {
        let lines = if self.list.is_empty() { 0..0 } else { lines };
        lines.clone().step_by(share).map(move |first| {
            let size = self.begin[(first + share).min(lines.end)] - self.begin[first];
            let (part, rest) = std::mem::take(&mut seen).split_at_mut(size);
            seen = rest;
            part
        })
    }

    /// What is noted of a row, in the order of time; places count from the notes of row `first` on.
    pub(super) fn stops(&self, row: usize, first: usize) -> impl Iterator<Item = Stop> {
        let covering = self.list.iter().zip(&self.within).filter(move |(note, _)| note.rows.range().contains(&row));
        covering.map(move |(note, within)| Stop {
            after: note.after,
            columns: note.columns,
            place: self.begin[row] - self.begin[first] + within,
        })
    }

    /// Lists what is noted of a row, by entries, and notes its cells as they are now, which is true of those that get no pulses.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn begin(&self, line: usize, first: usize, values: &[f32], n: &[u32], x: &Trains, seen: &mut [Seen], stops: &mut Vec<Stop>) {
        stops.clear();
        for stop in self.stops(line, first) {
            for (column, seen) in stop.columns.range().zip(&mut seen[stop.place..]) {
                *seen = Seen { v: values[column], n: n[column] };
            }
            stops.push(Stop { after: x.begin(stop.after), ..stop });
        }
    }
}
