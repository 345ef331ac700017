//! An array: the crossbar that a plan names. Its cells are single devices, or combinations of several, each in a crossbar of its own:
//!
//! ```text
//! Vector         w = sum_i gamma_i w_i                 pulses go to all devices, or to one of them at a time
//! ReferenceCell  w = w_0 - w_1                         only device 0 gets pulses
//! OneSided       w = w_0 - w_1                         up pulses raise w_0, down pulses raise w_1
//!                refresh: a cell whose larger device is above refresh_upper_thres w_max and whose smaller one is above refresh_lower_thres w_max
//!                is programmed anew: the smaller device to its reset target b, the larger one to b + |w|
//! ```
//!
//! No plan sees any of this. A change of the whole weight by one pulse at zero is the granularity: `sum |gamma_i| g_i` where all devices are pulsed,
//! their mean over the devices that take turns, `g_0` otherwise. Of updates without trains each device gets the increment of the weight divided by what
//! is seen of it there: `sum gamma_i` where all devices are updated, `gamma_i` of one alone, 1 of a one-sided pair.

use super::State;
use super::crossbar::{Crossbar, Lines, Moment};
use crate::device::{Device, LARGEST, RESET};
use crate::error::{Error, Result};
use crate::fields::{Fields, Value};
use crate::pulse::{Notes, Route, Seen, Tally};
use crate::rng::{Key, Kind, Use};
use std::ops::Range;

/// Which devices of a cell get the pulses of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    All,
    /// Always the same one.
    Fixed,
    /// One after the other, vector by vector.
    Sequential,
    /// One at random, vector by vector.
    Random,
    /// Up pulses raise the first, down pulses raise the second.
    OneSided,
}

/// When one-sided cells that are nearly full are programmed anew.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refresh {
    /// Vectors between two looks.
    pub(crate) every: u64,
    upper: f32,
    lower: f32,
}

/// A crossbar as a plan sees it.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub(crate) name: String,
    parts: Vec<Crossbar>,
    factors: Vec<f32>,
    policy: Policy,
    first: usize,
    pub(crate) refresh: Option<Refresh>,
    granularity: f64,
    n_states: f64,
    /// Its run stream.
    pub(crate) run: Key,
    /// Its device stream, which has the fixed patterns of its read-outs.
    pub(crate) fixed: Key,
}

/// Where an array's streams begin, and what is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) seeds: (u64, u64),
    pub(crate) path: &'a str,
    pub(crate) index: u64,
    pub(crate) count_pulses: bool,
}

/// The devices of cells of several have streams from this tag on, below those of the array.
const PARTS: u64 = 2000;

impl Array {
    /// Draws the cells of what `settings` describe: a device, or a cell of several.
    pub(crate) fn new(name: &str, settings: Value, shape: [usize; 2], origin: Origin) -> Result<Self> {
        let made = Cell::new(settings)?;
        let (granularity, n_states) = (made.granularity(), made.n_states());
        let Cell { devices, factors, policy, first, refresh } = made;
        let draw = Key::new(origin.seeds.0, Kind::Device, origin.path, origin.index);
        let run = Key::new(origin.seeds.1, Kind::Run, origin.path, origin.index);
        let single = devices.len() == 1 && factors[0] == 1.0;
        let stream = |key: Key, part: usize| if single { key } else { key.child(PARTS + part as u64) };
        let parts = devices.into_iter().enumerate();
        let parts = parts.map(|(i, device)| Crossbar::new(device, shape, stream(draw, i), stream(run, i), origin.count_pulses)).collect();
        Ok(Self { name: name.into(), parts, factors, policy, first, refresh, granularity, n_states, run, fixed: draw })
    }

    /// The crossbar whose stored values are the weights, if there is one.
    pub(crate) fn plain(&self) -> Option<&[f32]> {
        (self.single() && self.parts[0].is_plain()).then_some(self.parts[0].values.as_slice())
    }

    fn single(&self) -> bool {
        self.parts.len() == 1 && self.factors[0] == 1.0
    }

    /// The weight that the network sees at flat index `at`.
    #[inline(always)]
    pub(crate) fn seen(&self, at: usize) -> f32 {
        self.sum(|part| part.seen(at))
    }

    fn sum(&self, value: impl Fn(&Crossbar) -> f32) -> f32 {
        if self.single() {
            return value(&self.parts[0]);
        }
        let mut terms = self.parts.iter().zip(&self.factors).map(|(part, factor)| factor * value(part));
        let first = terms.next().unwrap_or(0.0);
        terms.fold(first, |sum, term| sum + term)
    }

    /// The persistent weights behind write noise.
    pub(crate) fn hidden(&self) -> Vec<f32> {
        (0..self.parts[0].values.len()).map(|at| self.sum(|part| part.hidden(at))).collect()
    }

    /// Adds the weights that some lines show in the middle of an update call.
    pub(crate) fn seen_now(&self, lines: &Lines, tallies: &[Option<Tally>], moment: Moment, seen: &mut Vec<f32>) {
        self.add_parts(seen, |at, part, seen| part.seen_now(lines, tallies.get(at).and_then(Option::as_ref), moment, seen));
    }

    /// Adds the weights that a line showed where it was noted, as note number `note`.
    pub(crate) fn noted(&self, lines: &Lines, notes: &[Notes], note: usize, moment: Moment, seen: &mut Vec<f32>) {
        self.add_parts(seen, |at, part, seen| part.noted(lines, notes[at].of(note), moment, seen));
    }

    /// Adds the weights that some lines show after `n` pulses of every cell in an operation.
    pub(crate) fn shown_after(&self, lines: &Lines, n: u32, moment: Moment, seen: &mut Vec<f32>) {
        let shifted = self.shifted();
        self.add_parts(seen, |at, part, seen| {
            let n = if shifted.contains(&at) { n } else { 0 };
            seen.extend(part.cells_of(lines).map(|cell| part.shown(cell, Seen { v: part.values[cell], n }, moment)));
        });
    }

    /// Refuses cells that have no symmetric point to be driven to.
    pub(crate) fn check_zero_shift(&self) -> Result<()> {
        let none = |part: &Crossbar| part.device.symmetric_point().is_none();
        match self.policy {
            Policy::OneSided => {
                Err(Error::new(&self.name, "has one-sided cells, whose devices have no symmetric point: zero_shift needs one"))
            }
            _ if self.parts[self.shifted()].iter().any(none) => {
                Err(Error::new(&self.name, "has a device without a symmetric point between its bounds: zero_shift needs one"))
            }
            _ => Ok(()),
        }
    }

    /// The devices that get pulses at one time or another.
    fn shifted(&self) -> Range<usize> {
        match self.policy {
            Policy::Fixed => self.first..self.first + 1,
            _ => 0..self.parts.len(),
        }
    }

    pub(crate) fn shifted_parts(&mut self) -> &mut [Crossbar] {
        let shifted = self.shifted();
        &mut self.parts[shifted]
    }

    /// Makes weights that were read part of the reference of the first of these devices that is seen, after `n` pulses of each.
    pub(crate) fn shift_reference(&mut self, w: &[f32], n: u32, moment: Moment) {
        let (shifted, single, factors) = (self.shifted(), self.single(), self.factors.clone());
        let taker = shifted.clone().find(|part| factors[*part] != 0.0);
        for (at, part) in shifted.clone().zip(&mut self.parts[shifted]) {
            let share = |w: &f32| match taker == Some(at) {
                true if single => *w,
                true => w / factors[at],
                false => 0.0,
            };
            part.shift_reference(w.iter().map(share), n, moment);
        }
    }

    /// Adds the sum of the devices, each of which adds what is its own.
    fn add_parts(&self, seen: &mut Vec<f32>, add: impl Fn(usize, &Crossbar, &mut Vec<f32>)) {
        let from = seen.len();
        add(0, &self.parts[0], seen);
        if self.single() {
            return;
        }
        seen[from..].iter_mut().for_each(|v| *v *= self.factors[0]);
        let mut more = Vec::new();
        for (at, (part, factor)) in self.parts.iter().zip(&self.factors).enumerate().skip(1) {
            more.clear();
            add(at, part, &mut more);
            seen[from..].iter_mut().zip(&more).for_each(|(sum, v)| *sum += factor * v);
        }
    }

    /// Sets the weights of some lines, in their order, clipped to each cell's bounds; devices that cancel or share a weight get their part of it. `key`
    /// makes the stream of write noise of a crossbar from its run stream.
    pub(crate) fn set(&mut self, lines: &Lines, w: &[f32], key: &dyn Fn(Key) -> Key) {
        let set = |part: &mut Crossbar, w: &mut dyn Iterator<Item = f32>| {
            let key = key(part.run);
            part.set(lines, w, key);
        };
        match self.policy {
            _ if self.single() => set(&mut self.parts[0], &mut w.iter().copied()),
            Policy::OneSided => {
                set(&mut self.parts[0], &mut w.iter().map(|w| if *w > 0.0 { *w } else { 0.0 }));
                set(&mut self.parts[1], &mut w.iter().map(|w| if *w < 0.0 { -w } else { 0.0 }));
            }
            _ => {
                let total = self.factors.iter().fold(0.0, |sum, factor| sum + factor);
                if total == 0.0 {
                    // A reference stays where it is.
                    let reference: Vec<f32> = self.parts[1].cells_of(lines).map(|at| self.parts[1].hidden(at)).collect();
                    set(&mut self.parts[0], &mut w.iter().zip(&reference).map(|(w, reference)| w + reference));
                } else {
                    self.parts.iter_mut().for_each(|part| set(part, &mut w.iter().map(|w| w / total)));
                }
            }
        }
    }

    /// Sets all weights, as operation number `operation`.
    pub(crate) fn set_all(&mut self, w: &[f32], operation: u64) {
        self.set(&Lines::All, w, &|run| Moment::Operation(operation).shown(run));
    }

    /// Sets the persistent weights of a single device, and leaves what is seen of them alone.
    pub(crate) fn set_hidden(&mut self, w: &[f32]) -> Result<()> {
        if !self.single() {
            return Err(Error::value(&self.name, "a cell of several devices", "the devices' own parameters and weights"));
        }
        self.parts[0].set_hidden(w);
        Ok(())
    }

    /// Sets all weights to zero; the cells of the reference stay.
    pub(crate) fn clear(&mut self, operation: u64) {
        self.set_all(&vec![0.0; self.parts[0].values.len()], operation);
    }

    /// Pulses of each cell, up where `counts` is positive, by the same routes as those of an update.
    pub(crate) fn pulse_cells(&mut self, counts: &[i32], operation: u64) {
        let takes: Vec<bool> = (0..self.parts.len()).map(|part| self.takes(part, operation, Use::Program)).collect();
        let one_sided = self.policy == Policy::OneSided;
        for (index, part) in self.parts.iter_mut().enumerate().filter(|(part, _)| takes[*part]) {
            match (one_sided, index) {
                (false, _) => part.pulse_cells(counts, operation),
                (true, 0) => part.pulse_cells(&counts.iter().map(|n| (*n).max(0)).collect::<Vec<_>>(), operation),
                (true, _) => part.pulse_cells(&counts.iter().map(|n| n.saturating_neg().max(0)).collect::<Vec<_>>(), operation),
            }
        }
    }

    /// Whether every device takes every vector, and both directions.
    pub(crate) fn takes_all(&self) -> bool {
        self.policy == Policy::All
    }

    /// Whether a device of the cell gets the pulses of vector (or write, or operation) number `number`.
    fn takes(&self, part: usize, number: u64, purpose: Use) -> bool {
        let n = self.parts.len() as u64;
        match self.policy {
            Policy::All | Policy::OneSided => true,
            Policy::Fixed => part == self.first,
            Policy::Sequential => part as u64 == (self.first as u64 + number) % n,
            Policy::Random => {
                let word = self.run.of(Use::Route).child(purpose as u64).child(number).word(0, 0);
                part as u64 == (u64::from(word) * n) >> 32
            }
        }
    }

    /// The crossbars with the vectors that each takes (`None`: all), the route of its pulses, and how much of an increment of it is seen in the weight.
    pub(crate) fn routes(&mut self, numbers: &[u64], purpose: Use) -> Vec<(&mut Crossbar, Option<Vec<bool>>, Route, f64)> {
        let every = matches!(self.policy, Policy::All | Policy::OneSided);
        let takes = |part: usize| (!every).then(|| numbers.iter().map(|number| self.takes(part, *number, purpose)).collect());
        let takes: Vec<Option<Vec<bool>>> = (0..self.parts.len()).map(takes).collect();
        let routes: &[Route] = if self.policy == Policy::OneSided { &[Route::Up, Route::DownAsUp] } else { &[Route::Both] };
        let share = |factor: &f32| match self.policy {
            Policy::All => self.factors.iter().map(|factor| f64::from(*factor)).sum(),
            Policy::OneSided => 1.0,
            _ => f64::from(*factor),
        };
        let shares: Vec<f64> = self.factors.iter().map(share).collect();
        let parts = self.parts.iter_mut().zip(takes).zip(routes.iter().cycle()).zip(shares);
        parts.map(|(((part, takes), route), share)| (part, takes, *route, share)).collect()
    }

    /// A tally for each crossbar that needs one in an update call.
    pub(crate) fn tallies(&mut self, several: bool) -> Vec<Option<Tally>> {
        self.parts.iter_mut().map(|part| part.tally(several)).collect()
    }

    /// The end of an update call.
    pub(crate) fn close(&mut self, tallies: Vec<Option<Tally>>, moment: Moment) {
        self.parts.iter_mut().zip(tallies).for_each(|(part, tally)| part.close(tally, moment));
    }

    /// Programs one-sided cells that are nearly full anew.
    pub(crate) fn refresh(&mut self, number: u64) {
        let Some(Refresh { upper, lower, .. }) = self.refresh else { return };
        let [plus, minus] = self.parts.as_mut_slice() else { return };
        let limits = |part: &Crossbar| (upper * part.device.bounds().0 as f32, lower * part.device.bounds().0 as f32);
        let (high, low) = (limits(plus), limits(minus));
        for at in 0..plus.values.len() {
            let (p, m) = (plus.hidden(at), minus.hidden(at));
            let full = if p >= m { p > high.0 && m > low.1 } else { m > low.0 && p > high.1 };
            if full {
                let larger_is_plus = p >= m;
                let (larger, smaller) = if larger_is_plus { (&mut *plus, &mut *minus) } else { (&mut *minus, &mut *plus) };
                smaller.program(at, number, None);
                let base = larger.cells.planes[RESET].at(at);
                larger.program(at, number, Some(base + (p - m).abs()));
            }
        }
    }
}

/// The crossbars one by one.
impl Array {
    pub(crate) fn parts_mut(&mut self) -> &mut [Crossbar] {
        &mut self.parts
    }

    /// Mean change of the weight by a pulse at zero.
    pub(crate) fn granularity(&self) -> f64 {
        self.granularity
    }

    /// The nominal range of the weight that pulses can reach, in units of the granularity.
    pub(crate) fn n_states(&self) -> f64 {
        self.n_states
    }

    /// The name of a device's parameter or state within the array: `w_max`, or `1.w_max` where there are several.
    fn named(&self, part: usize, name: &str) -> String {
        if self.single() { name.into() } else { format!("{part}.{name}") }
    }

    /// Names of the per-cell parameters.
    pub(crate) fn parameter_names(&self) -> Vec<String> {
        let parts = self.parts.iter().enumerate();
        parts
            .flat_map(|(i, part)| part.device.parameter_names().into_iter().map(move |name| (i, name)))
            .map(|(i, name)| self.named(i, name))
            .collect()
    }

    fn part<'a>(&self, name: &'a str) -> Result<(usize, &'a str)> {
        let names = self.parameter_names();
        if !names.iter().any(|known| known == name) {
            return Err(Error::value("parameter", format_args!("{name:?}"), names.join(", ")));
        }
        match name.split_once('.') {
            Some((part, name)) if !self.single() => Ok((part.parse().unwrap_or(0), name)),
            _ => Ok((0, name)),
        }
    }

    pub(crate) fn parameter(&self, name: &str) -> Result<Vec<f32>> {
        let (part, name) = self.part(name)?;
        self.parts[part].parameter(name)
    }

    pub(crate) fn set_parameter(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let (part, name) = self.part(name)?;
        self.parts[part].set_parameter(name, values)
    }

    /// Pulses up and down of every cell (summed over its devices), if they are counted.
    pub(crate) fn pulse_counts(&self) -> Option<[Vec<u64>; 2]> {
        let mut sum: Option<[Vec<u64>; 2]> = None;
        for (index, part) in self.parts.iter().enumerate() {
            let [up, down] = part.counts()?;
            // A one-sided pair lowers its weight by raising the second device.
            let counts = if self.policy == Policy::OneSided && index == 1 { [down, up] } else { [up, down] };
            match &mut sum {
                None => sum = Some(counts),
                Some(sum) => sum.iter_mut().flatten().zip(counts.iter().flatten()).for_each(|(sum, n)| *sum += n),
            }
        }
        sum
    }

    /// Everything that changes, by name.
    pub(crate) fn state(&self) -> Vec<(String, State)> {
        let parts = self.parts.iter().enumerate();
        parts
            .flat_map(|(i, part)| part.state().into_iter().map(move |(name, state)| (i, name, state)))
            .map(|(i, name, state)| (format!("{}.{}", self.name, self.named(i, &name)), state))
            .collect()
    }

    /// Replaces what changes; `take` gives a named part of the saved state if there is one. `bounded`: values are within the bounds of the cells.
    pub(crate) fn restore(&mut self, bounded: bool, take: &mut dyn FnMut(&str) -> Option<State>) -> Result<()> {
        for index in 0..self.parts.len() {
            let prefix = if self.single() { self.name.clone() } else { format!("{}.{index}", self.name) };
            self.parts[index].restore(&format!("state.{prefix}"), bounded, &mut |name| take(&format!("{prefix}.{name}")))?;
        }
        Ok(())
    }
}

/// Refuses settings that make no device and no cell of several.
pub fn check_device(settings: Value) -> Result<()> {
    Cell::new(settings).map(|_| ())
}

/// Granularity and number of states of a device or a cell of several.
pub fn cell_facts(settings: Value) -> Result<(f64, f64)> {
    Cell::new(settings).map(|cell| (cell.granularity(), cell.n_states()))
}

/// What a cell is made of.
struct Cell {
    devices: Vec<Device>,
    factors: Vec<f32>,
    policy: Policy,
    first: usize,
    refresh: Option<Refresh>,
}

impl Cell {
    fn granularity(&self) -> f64 {
        let each = || self.devices.iter().zip(&self.factors).map(|(device, factor)| f64::from(factor.abs()) * device.granularity());
        match self.policy {
            _ if self.devices.len() == 1 && self.factors[0] == 1.0 => self.devices[0].granularity(),
            Policy::All => each().sum(),
            Policy::Fixed => each().nth(self.first).unwrap_or(0.0),
            Policy::Sequential | Policy::Random | Policy::OneSided => each().sum::<f64>() / self.devices.len() as f64,
        }
    }

    fn n_states(&self) -> f64 {
        let range = |(device, factor): (&Device, &f32)| {
            let (high, low) = device.bounds();
            f64::from(factor.abs()) * (high - low)
        };
        let each = self.devices.iter().zip(&self.factors);
        let range: f64 = match self.policy {
            Policy::Fixed => each.map(range).nth(self.first).unwrap_or(0.0),
            _ => each.map(range).sum(),
        };
        range / self.granularity()
    }

    fn new(settings: Value) -> Result<Self> {
        let mut f = Fields::new("device", settings.clone())?;
        let model = f.text("model")?;
        let device = |value: Value, i: usize| Device::new(value).map_err(|e| e.within(&format!("devices[{i}]")));
        if !matches!(model.as_str(), "Vector" | "ReferenceCell" | "OneSided") {
            return Ok(Self { devices: vec![Device::new(settings)?], factors: vec![1.0], policy: Policy::All, first: 0, refresh: None });
        }
        let devices: Result<Vec<Device>> = f.list("devices")?.into_iter().enumerate().map(|(i, value)| device(value, i)).collect();
        let devices = devices?;
        let pair = |n: usize| if n == 2 { Ok(()) } else { Err(Error::value("device.devices", format_args!("{n} devices"), "2 devices")) };
        let cell = match model.as_str() {
            "Vector" => {
                let n = devices.len();
                if !(1..=64).contains(&n) {
                    return Err(Error::value("device.devices", format_args!("{n} devices"), "1 to 64 devices"));
                }
                let gammas = f.reals("gamma_vec", -LARGEST..=LARGEST)?;
                let gammas = if gammas.is_empty() { vec![1.0 / n as f64; n] } else { gammas };
                let gammas: Vec<f32> = gammas.iter().map(|g| *g as f32).collect();
                if gammas.len() != n || gammas.iter().sum::<f32>() == 0.0 {
                    return Err(Error::value(
                        "device.gamma_vec",
                        format_args!("{gammas:?}"),
                        format_args!("{n} numbers whose sum is not 0"),
                    ));
                }
                let policies = [
                    ("all", Policy::All),
                    ("single_fixed", Policy::Fixed),
                    ("single_sequential", Policy::Sequential),
                    ("single_random", Policy::Random),
                ];
                let policy = f.choice("update_policy", &policies)?;
                let first = f.whole("first_update_idx", 0, 0..=n - 1)?;
                let silent = match policy {
                    Policy::Fixed => gammas[first] == 0.0,
                    Policy::Sequential | Policy::Random => gammas.contains(&0.0),
                    _ => false,
                };
                if silent {
                    return Err(Error::value(
                        "device.gamma_vec",
                        format_args!("{gammas:?}"),
                        "numbers other than 0 for devices that take turns",
                    ));
                }
                Self { devices, factors: gammas, policy, first, refresh: None }
            }
            "ReferenceCell" => {
                pair(devices.len())?;
                Self { devices, factors: vec![1.0, -1.0], policy: Policy::Fixed, first: 0, refresh: None }
            }
            _ => {
                pair(devices.len())?;
                let every = f.whole("refresh_every", 0, 0..=1 << 53)? as u64;
                let upper = f.real("refresh_upper_thres", 0.75, 0.0..=1.0)? as f32;
                let lower = f.real("refresh_lower_thres", 0.25, 0.0..=1.0)? as f32;
                let refresh = (every > 0).then_some(Refresh { every, upper, lower });
                Self { devices, factors: vec![1.0, -1.0], policy: Policy::OneSided, first: 0, refresh }
            }
        };
        f.finish()?;
        Ok(cell)
    }
}
