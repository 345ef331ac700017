//! A digital matrix: float32 numbers without cells.

use super::crossbar::Lines;

/// A matrix whose lines lie together along the axis by which transfers go through it.
#[derive(Debug, Clone)]
pub(crate) struct Digital {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
    /// Whether the values lie column by column.
    by_columns: bool,
}

impl Digital {
    pub(crate) fn new([rows, columns]: [usize; 2], by_columns: bool) -> Self {
        Self { values: vec![0.0; rows * columns], rows, columns, by_columns }
    }

    /// Row by row.
    pub(crate) fn get(&self) -> Vec<f32> {
        if self.by_columns { transposed(&self.values, self.rows) } else { self.values.clone() }
    }

    /// Takes a matrix, row by row.
    pub(crate) fn set(&mut self, w: &[f32]) {
        self.values = if self.by_columns { transposed(w, self.columns) } else { w.to_vec() };
    }

    /// The values of a matrix that lies row by row: that of the weight or of the gradient.
    pub(crate) fn rows(&self) -> &[f32] {
        debug_assert!(!self.by_columns);
        &self.values
    }

    pub(crate) fn rows_mut(&mut self) -> &mut [f32] {
        debug_assert!(!self.by_columns);
        &mut self.values
    }

    /// Copies a line out.
    pub(crate) fn read(&self, lines: &Lines, line: &mut [f32]) {
        let (first, step) = self.place(lines);
        match step {
            1 => line.copy_from_slice(&self.values[first..first + line.len()]),
            _ => line.iter_mut().zip(self.values[first..].iter().step_by(step)).for_each(|(to, from)| *to = *from),
        }
    }

    /// Copies a line in.
    pub(crate) fn write(&mut self, lines: &Lines, line: &[f32]) {
        let (first, step) = self.place(lines);
        match step {
            1 => self.values[first..first + line.len()].copy_from_slice(line),
            _ => self.values[first..].iter_mut().step_by(step).zip(line).for_each(|(to, from)| *to = *from),
        }
    }

    /// Where a line begins, and how far its values are apart.
    fn place(&self, lines: &Lines) -> (usize, usize) {
        match (*lines, self.by_columns) {
            (Lines::Column(column), true) => (column * self.rows, 1),
            (Lines::Column(column), false) => (column, self.columns),
            (Lines::Row(row), true) => (row, self.rows),
            (Lines::Row(row), false) => (row * self.columns, 1),
            (Lines::All, _) => (0, 1),
        }
    }
}

/// A matrix of so many `columns` per row, the other way round.
pub(crate) fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    const BLOCK: usize = 16;
    let rows = values.len() / columns;
    let mut turned = vec![0.0; values.len()];
    // Blocks of lines that stay in the cache.
    for first in (0..rows).step_by(BLOCK) {
        let end = rows.min(first + BLOCK);
        for column in 0..columns {
            for row in first..end {
                turned[column * rows + row] = values[row * columns + column];
            }
        }
    }
    turned
}
