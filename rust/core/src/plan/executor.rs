//! Runs a mini-batch of a plan.
//!
//! The gradient's pulses run over the whole call row by row. What an event reads of the gradient's array meanwhile is noted by the kernel on its way, when
//! the cells are where the event finds them; the events follow in their order. The call is cut, and the gradient waits for the event, only where an
//! event changes what the gradient works on, needs more of it than its own lines, or where updates have no trains. Ordinals of pulses are carried
//! over cuts, so where a call is cut leaves no trace.

use super::event::{Occasion, Scratch};
use super::schedule::{Counters, Event, Turn, What};
use super::{Axis, Place, Plan, Transfer};
use crate::pool::Machine;
use crate::pulse::{Job, Keys, Note, Notes, PulseTrain, Route, Span, Tally, exact, update};
use crate::rng::{Key, Use};
use crate::tile::array::Array;
use crate::tile::crossbar::Moment;
use crate::tile::digital::Digital;
use std::ops::Range;

/// What an update works on.
pub(crate) struct Executor<'a> {
    pub(crate) machine: Machine<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) pulses: &'a PulseTrain,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) arrays: &'a mut [Array],
    pub(crate) digital: &'a mut [Digital],
    pub(crate) counters: &'a mut Counters,
    pub(crate) lr: f64,
    /// The run stream of the tile.
    pub(crate) run: Key,
    /// To whose streams the noise of the pulses belongs.
    pub(crate) moment: Moment,
    pub(crate) scratch: &'a mut Scratch,
}

/// A tally for each crossbar of each array that needs one.
pub(super) type Tallies = Vec<Vec<Option<Tally>>>;

/// A part of a call between two cuts.
struct Run {
    vectors: Range<usize>,
    /// What the events within it read of the gradient's array.
    notes: Vec<Note>,
}

/// The index of events apart from updates, beyond all transfers of plans.
const APART: usize = 1 << 32;

/// Trains of a run take at most this many words, 256 MiB.
const MAX_WORDS: usize = 1 << 26;

impl Executor<'_> {
    /// One mini-batch: `x` is `[m][columns]`, `d` is `[m][rows]`.
    pub(crate) fn update(&mut self, x: &[f32], d: &[f32]) {
        let m = x.len() / self.columns;
        let first_vector = self.counters.vectors;
        let schedule = self.schedule(x, d);
        let runs = self.runs(&schedule.events, m);
        let events = schedule.events.iter().filter_map(|event| match &event.what {
            What::Transfer(index, turns) => Some((&self.plan.transfers[*index], turns.as_slice())),
            What::Refresh(_) => None,
        });
        let mut tallies = tallies(self.arrays, &events.collect::<Vec<_>>(), |array| match self.plan.gradient.target {
            Place::Array(target) if target == array => runs.len(),
            _ => 0,
        });
        let mut events = schedule.events.iter().peekable();
        let [x, d] = schedule.inputs.as_ref().map_or([x, d], |[x, d]| [x, d]);
        for Run { vectors, notes } in runs {
            let notes = self.gradient([x, d], &schedule.rates, vectors.clone(), first_vector, &notes, &mut tallies);
            let mut noted = 0;
            while let Some(event) = events.next_if(|event| event.after <= vectors.end) {
                match &event.what {
                    What::Transfer(index, turns) => {
                        let transfer = &self.plan.transfers[*index];
                        let here = (event.after < vectors.end && self.reads_target(transfer)).then_some((notes.as_slice(), noted));
                        noted += if here.is_some() { turns.len() } else { 0 };
                        let Event { number, rho, .. } = *event;
                        let occasion = Occasion { transfer, index: *index, number, rho, turns, crosses: &schedule.crosses };
                        self.transfer(occasion, here, &mut tallies);
                    }
                    What::Refresh(array) => self.arrays[*array].refresh(event.number),
                }
            }
        }
        self.close(tallies);
    }

    /// An event apart from updates, of a transfer that is none of the plan: the lines `turns` are read and the steps run.
    pub(crate) fn event(&mut self, transfer: &Transfer, lines: &[usize]) {
        let Moment::Operation(number) = self.moment else { return };
        let [own, crossing] = self.signs(transfer.axis);
        let sign = |line: usize| own.get(line).copied().unwrap_or(1.0);
        let turn = |line: &usize| Turn { line: *line, pass: 0, sign: sign(*line), cross: 0, flips: false };
        let turns: Vec<Turn> = lines.iter().map(turn).collect();
        let crosses = [crossing.to_vec()];
        let mut tallies = tallies(self.arrays, &[(transfer, &turns)], |_| 0);
        let occasion = Occasion { transfer, index: APART, number, rho: 1.0, turns: &turns, crosses: &crosses };
        self.transfer(occasion, None, &mut tallies);
        self.close(tallies);
    }

    /// The end of a call or an operation.
    fn close(&mut self, tallies: Tallies) {
        for (array, tallies) in self.arrays.iter_mut().zip(tallies) {
            array.close(tallies, self.moment);
        }
    }

    /// The call cut into runs: where events must be waited for, where their notes would outgrow the array, and where trains would take too much memory.
    fn runs(&self, events: &[Event], m: usize) -> Vec<Run> {
        let longest = (MAX_WORDS / self.pulses.words(self.rows + self.columns).max(1)).max(1);
        let mut runs = Vec::new();
        let mut run = Run { vectors: 0..m, notes: Vec::new() };
        let mut cells = 0;
        let mut events = events.iter().peekable();
        for after in 1..m {
            let mut cut = after - run.vectors.start == longest || (self.machine.pool.cuts_everywhere() && !self.pulses.sums());
            let mut notes = Vec::new();
            while let Some(event) = events.next_if(|event| event.after == after) {
                notes.extend(self.notes_of(event).into_iter().flatten());
                cut |= self.waits(event);
            }
            cells += notes.iter().map(|note| note.rows.len * note.columns.len).sum::<usize>();
            if cut || cells > self.rows * self.columns {
                let next = Run { vectors: after..m, notes: Vec::new() };
                run.vectors.end = after;
                runs.push(std::mem::replace(&mut run, next));
                cells = 0;
            } else {
                run.notes.extend(notes);
            }
        }
        runs.push(run);
        runs
    }

    /// Whether the gradient has to wait for an event.
    fn waits(&self, event: &Event) -> bool {
        let target = self.plan.gradient.target;
        match &event.what {
            What::Refresh(array) => target == Place::Array(*array),
            What::Transfer(index, _) => {
                let transfer = &self.plan.transfers[*index];
                let whole = self.reads_target(transfer) && (transfer.io.needs_whole_row() || !self.pulses.has_trains());
                whole || matches!(target, Place::Digital(matrix) if transfer.reads_digital(matrix)) || transfer.changes(target)
            }
        }
    }

    /// What an event reads of the gradient's array, line by line; nothing if it reads none of it.
    fn notes_of(&self, event: &Event) -> Option<Vec<Note>> {
        let What::Transfer(index, turns) = &event.what else { return None };
        let transfer = &self.plan.transfers[*index];
        let note = |line: usize| {
            let [rows, columns] = self.spans(transfer.axis, line, 1);
            Note { after: event.after, rows, columns }
        };
        self.reads_target(transfer).then(|| turns.iter().map(|turn| note(turn.line)).collect())
    }

    /// Whether a transfer reads the array that gets the gradient.
    fn reads_target(&self, transfer: &Transfer) -> bool {
        transfer.sources.iter().any(|source| self.plan.gradient.target == Place::Array(*source))
    }

    /// The lines along an axis.
    pub(super) fn all_lines(&self, axis: Axis) -> usize {
        if axis == Axis::Columns { self.columns } else { self.rows }
    }

    /// Rows and columns of `lines` lines from `first` on.
    pub(super) fn spans(&self, axis: Axis, first: usize, lines: usize) -> [Span; 2] {
        match axis {
            Axis::Columns => [Span { first: 0, len: self.rows }, Span { first, len: lines }],
            Axis::Rows => [Span { first, len: lines }, Span { first: 0, len: self.columns }],
        }
    }

    /// `target -= rate d x^T` for a run of vectors; gives what was noted of each crossbar of the target.
    fn gradient(
        &mut self,
        [x, d]: [&[f32]; 2],
        rates: &[f64],
        run: Range<usize>,
        first_vector: u64,
        notes: &[Note],
        tallies: &mut Tallies,
    ) -> Vec<Notes> {
        let x = &x[run.start * self.columns..run.end * self.columns];
        let d = &d[run.start * self.rows..run.end * self.rows];
        let rates = &rates[run.clone()];
        match self.plan.gradient.target {
            Place::Digital(target) => {
                exact::add(self.machine, self.digital[target].rows_mut(), x, d, self.columns, rates);
                Vec::new()
            }
            Place::Array(target) => {
                let run_key = self.arrays[target].run;
                let (x_key, d_key) = (run_key.of(Use::TrainX), run_key.of(Use::TrainD));
                let numbers: Vec<u64> = run.clone().map(|b| first_vector.wrapping_add(b as u64)).collect();
                let keys: Vec<Keys> = numbers.iter().map(|n| Keys { x: x_key.child(*n), d: d_key.child(*n) }).collect();
                let [rows, columns] = [self.rows, self.columns].map(|len| Span { first: 0, len });
                let notes: Vec<Note> = notes.iter().map(|note| Note { after: note.after - run.start, ..*note }).collect();
                let job = self.job(x, d, [rows, columns], rates, &keys);
                self.pulse(target, self.pulses, job, &numbers, Use::TrainX, &notes, tallies)
            }
        }
    }

    /// A job for a whole array of which every crossbar will take its share.
    pub(super) fn job<'a>(&self, x: &'a [f32], d: &'a [f32], [rows, columns]: [Span; 2], rates: &'a [f64], keys: &'a [Keys]) -> Job<'a> {
        Job { x, d, given: &[], rows, columns, rates, share: 1.0, granularity: 1.0, keys, noise: self.run, takes: None, route: Route::Both }
    }

    /// Rank-one updates of an array; `numbers` decide which device of a cell takes a vector.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn pulse(
        &mut self,
        target: usize,
        pulses: &PulseTrain,
        job: Job,
        numbers: &[u64],
        purpose: Use,
        notes: &[Note],
        tallies: &mut Tallies,
    ) -> Vec<Notes> {
        let array = &mut self.arrays[target];
        let granularity = array.granularity();
        let routes = array.routes(numbers, purpose).into_iter().zip(&mut tallies[target]);
        let each = routes.map(|((crossbar, takes, route, seen), tally)| {
            let noise = self.moment.pulses(crossbar.run);
            // Increments are of the weight; of pulses the granularity knows what is seen.
            let share = if pulses.increments() { seen } else { 1.0 };
            let share = Job { share, granularity, noise, takes: takes.as_deref(), route, ..job };
            let mut notes = Notes::new(notes, self.rows);
            update(self.machine, crossbar, pulses, &share, tally.as_mut(), &mut notes);
            notes
        });
        each.collect()
    }
}

/// Pulse counts of the arrays whose cells can get pulses in more than one part of the call; elsewhere ordinals simply start at 0. `parts` says in how
/// many parts of the call the gradient comes to an array.
fn tallies(arrays: &mut [Array], events: &[(&Transfer, &[Turn])], parts: impl Fn(usize) -> usize) -> Tallies {
    let several = |array: usize| {
        // Lines that were written: columns, then rows.
        let mut written = [Vec::new(), Vec::new()];
        let mut again = false;
        for (transfer, turns) in events {
            for _ in transfer.writes_to(array) {
                let written: &mut Vec<bool> = &mut written[usize::from(transfer.axis == Axis::Rows)];
                for turn in *turns {
                    written.resize(written.len().max(turn.line + 1), false);
                    again |= std::mem::replace(&mut written[turn.line], true);
                }
            }
        }
        let [columns, rows] = written.map(|lines| !lines.is_empty());
        parts(array) + usize::from(columns || rows) + usize::from(again || (columns && rows)) > 1
    };
    arrays.iter_mut().enumerate().map(|(at, array)| array.tallies(several(at))).collect()
}

impl Transfer {
    /// Its writes of pulses onto an array.
    fn writes_to(&self, array: usize) -> impl Iterator<Item = &super::Step> {
        self.steps.iter().filter(move |step| matches!(step, super::Step::Write(write) if write.target == Place::Array(array)))
    }
}
