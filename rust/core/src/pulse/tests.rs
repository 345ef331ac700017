//! Jobs that no plan of one crossbar asks for: routes, vectors not taken, hints; and what is counted.

use super::short::Short;
use super::*;
use crate::device::Device;
use crate::fields::Value;
use crate::pool::{Machine, Pool};
use crate::rng::{Key, Use};
use crate::simd::Isa;
use crate::tile::crossbar::Crossbar;

const TYPES: [&str; 8] =
    ["stochastic", "mean_count", "deterministic_implicit", "pulsed", "analog_update", "random_increment", "none_with_device", "none"];
const SHAPE: [usize; 2] = [24, 37];
const VECTORS: usize = 4;

fn map(settings: &[(&str, Value)]) -> Value {
    Value::Map(settings.iter().map(|(name, value)| (name.to_string(), value.clone())).collect())
}

fn train(pulse_type: &str, increment: &str, bl: f64) -> PulseTrain {
    let text = |name: &str| Value::Text(name.into());
    let settings = map(&[("pulse_type", text(pulse_type)), ("increment", text(increment)), ("desired_bl", Value::Real(bl))]);
    Fields::new("pulses", settings).and_then(PulseTrain::new).unwrap()
}

fn pulses(pulse_type: &str, increment: &str) -> PulseTrain {
    train(pulse_type, increment, 40.0)
}

/// So short that all vectors fit into a word, with rates of few pulses.
fn short() -> (PulseTrain, f64) {
    (train("stochastic", "sample", 5.0), 0.0002)
}

/// A crossbar of cells that are all alike.
fn crossbar(model: &str, noise: f64) -> Crossbar {
    let settings = [("model", Value::Text(model.into())), ("dw_min", Value::Real(1.0 / 1024.0)), ("dw_min_std", Value::Real(noise))];
    Crossbar::new(Device::new(map(&settings)).unwrap(), SHAPE, Key(1), Key(2), false)
}

fn numbers(key: u64, n: usize) -> Vec<f32> {
    (0..n as u32).map(|i| Key(key).normal(i, 0)).collect()
}

fn keys(crossbar: &Crossbar) -> Vec<Keys> {
    (0..VECTORS as u64).map(|b| Keys { x: crossbar.run.of(Use::TrainX).child(b), d: crossbar.run.of(Use::TrainD).child(b) }).collect()
}

/// What an update left, and its tally.
fn run(model: &str, noise: f64, pulses: &PulseTrain, jobs: &[Job]) -> (Vec<f32>, Noted) {
    let pool = Pool::new(1).unwrap();
    let machine = Machine { isa: Isa::choose(None).unwrap(), pool: &pool };
    let mut crossbar = crossbar(model, noise);
    let size = crossbar.values.len();
    let mut tally = Tally { n: Some(vec![0; size]), counts: Some(vec![Count::default(); size]) };
    for job in jobs {
        update(machine, &mut crossbar, pulses, job, Some(&mut tally), &mut Notes::new(&[], 0));
    }
    let (n, counts) = (tally.n.unwrap(), tally.counts.unwrap());
    for (n, count) in n.iter().zip(&counts) {
        assert_eq!(*n, count.up + count.down);
    }
    let up = Some(counts.iter().map(|count| count.up).collect());
    (crossbar.values, Noted { n, up })
}

/// Pulses of each cell, and those that went up.
struct Noted {
    n: Vec<u32>,
    up: Option<Vec<u32>>,
}

/// The job of these tests, to be varied.
struct Input {
    x: Vec<f32>,
    d: Vec<f32>,
    keys: Vec<Keys>,
}

impl Input {
    fn new() -> Self {
        let [rows, columns] = SHAPE;
        Self { x: numbers(1, VECTORS * columns), d: numbers(2, VECTORS * rows), keys: keys(&crossbar("ConstantStep", 0.0)) }
    }

    fn job(&self) -> Job<'_> {
        self.part(0..VECTORS)
    }

    fn part(&self, b: std::ops::Range<usize>) -> Job<'_> {
        let [rows, columns] = SHAPE;
        Job {
            x: &self.x[b.start * columns..b.end * columns],
            d: &self.d[b.start * rows..b.end * rows],
            given: &[],
            rows: Span { first: 0, len: rows },
            columns: Span { first: 0, len: columns },
            rates: &[0.01; VECTORS],
            share: 1.0,
            granularity: 1.0 / 1024.0,
            keys: &self.keys[b],
            noise: Key(3),
            takes: None,
            route: Route::Both,
        }
    }
}

/// Every type, its increments one by one or summed, and short trains, with either sign of the rate.
fn each_type(test: impl Fn(&PulseTrain, f64, &str)) {
    let (few, rate) = short();
    test(&few, rate, "short");
    test(&few, -rate, "short, negative rate");
    for pulse_type in TYPES {
        for increment in ["sample", "batch"] {
            for rate in [0.01, -0.01] {
                test(&pulses(pulse_type, increment), rate, &format!("{pulse_type}, {increment}, rate {rate}"));
            }
        }
    }
}

#[test]
fn vectors_with_short_trains_share_words() {
    let input = Input::new();
    let pool = Pool::new(1).unwrap();
    let machine = Machine { isa: Isa::choose(None).unwrap(), pool: &pool };
    for (pulses, rate, shared) in [(short().0, short().1, true), (short().0, 0.05, false), (pulses("stochastic", "sample"), 0.05, false)] {
        let job = Job { rates: &[rate; VECTORS], ..input.job() };
        let [x, d] = job.trains(machine, &pulses, &job.scales(&pulses));
        assert_eq!(Short::where_better(machine.isa, &x, &d, SHAPE).is_some(), shared, "{pulses:?}, {rate}");
    }
}

#[test]
fn routes_divide_an_update() {
    let input = Input::new();
    each_type(|pulses, rate, what| {
        let [both, up, down] = [Route::Both, Route::Up, Route::DownAsUp].map(|route| {
            // One vector: a cell moves by exact multiples of a step, or by one increment.
            run("ConstantStep", 0.0, pulses, &[Job { rates: &[rate; VECTORS], route, ..input.part(1..2) }])
        });
        for at in 0..both.0.len() {
            assert_eq!(both.0[at], up.0[at] - down.0[at], "{what}");
            assert!(up.0[at] >= 0.0 && down.0[at] >= 0.0 && (up.0[at] == 0.0 || down.0[at] == 0.0), "{what}");
        }
        for one in [&up, &down] {
            assert_eq!(Some(&one.1.n), one.1.up.as_ref(), "{what}");
            assert!(one.0.iter().filter(|v| **v > 0.0).count() > 30, "{what}");
        }
        assert_eq!(both.1.up, up.1.up, "{what}");
        let sum: Vec<_> = up.1.n.iter().zip(&down.1.n).map(|(a, b)| a + b).collect();
        assert_eq!(both.1.n, sum, "{what}");
    });
}

#[test]
fn routes_of_many_vectors_are_those_of_one_after_the_other() {
    let input = Input::new();
    each_type(|pulses, rate, what| {
        if pulses.whole_batch && pulses.words(1) == 0 {
            return;
        }
        for route in [Route::Up, Route::DownAsUp] {
            let whole = run("SoftBounds", 0.3, pulses, &[Job { rates: &[rate; VECTORS], route, ..input.job() }]);
            let rates = &[rate; VECTORS];
            let parts: Vec<_> = (0..VECTORS).map(|b| Job { rates, route, ..input.part(b..b + 1) }).collect();
            let parts = run("SoftBounds", 0.3, pulses, &parts);
            assert_eq!((whole.0, whole.1.n), (parts.0, parts.1.n), "{what}, {route:?}");
        }
    });
}

#[test]
fn vectors_that_are_not_taken_leave_no_trace() {
    let input = Input::new();
    let taken = Input {
        x: [input.part(0..1).x, input.part(2..4).x].concat(),
        d: [input.part(0..1).d, input.part(2..4).d].concat(),
        keys: vec![input.keys[0], input.keys[2], input.keys[3]],
    };
    each_type(|pulses, rate, what| {
        let takes = Some(&[true, false, true, true][..]);
        let some = run("SoftBounds", 0.3, pulses, &[Job { rates: &[rate; VECTORS], takes, ..input.job() }]);
        let alone = run("SoftBounds", 0.3, pulses, &[Job { rates: &[rate; VECTORS], ..taken.part(0..3) }]);
        assert_eq!((some.0, some.1.n, some.1.up), (alone.0, alone.1.n, alone.1.up), "{what}");
        let none = run("SoftBounds", 0.3, pulses, &[Job { rates: &[rate; VECTORS], takes: Some(&[false; VECTORS]), ..input.job() }]);
        assert_eq!((none.0, none.1.n), (vec![0.0; SHAPE[0] * SHAPE[1]], vec![0; SHAPE[0] * SHAPE[1]]), "{what}");
    });
}

#[test]
fn a_line_alone_gets_what_it_gets_among_silent_ones() {
    let [rows, columns] = SHAPE;
    let mut input = Input::new();
    let full = Input::new();
    input.x.iter_mut().enumerate().for_each(|(at, x)| *x = if at % columns == 34 { *x } else { 0.0 });
    let mut turned = Input::new();
    turned.d.iter_mut().enumerate().for_each(|(at, d)| *d = if at % rows == 3 { *d } else { 0.0 });
    let (x, d): (Vec<f32>, Vec<f32>) =
        (input.x.iter().copied().skip(34).step_by(columns).collect(), turned.d.iter().copied().skip(3).step_by(rows).collect());
    each_type(|pulses, rate, what| {
        for route in [Route::Both, Route::Up, Route::DownAsUp] {
            // Something happened before, so that ordinals do not start at 0.
            let rates = &[rate; VECTORS];
            let column = Job { rates, route, x: &x, columns: Span { first: 34, len: 1 }, ..input.job() };
            let row = Job { rates, route, d: &d, rows: Span { first: 3, len: 1 }, ..turned.job() };
            for (alone, among) in [(column, Job { rates, route, ..input.job() }), (row, Job { rates, route, ..turned.job() })] {
                let [alone, among] = [alone, among].map(|job| run("SoftBounds", 0.3, pulses, &[full.job(), job]));
                assert_eq!((alone.0, alone.1.n, alone.1.up), (among.0, among.1.n, among.1.up), "{what}, {route:?}");
            }
        }
    });
}

#[test]
fn notes_are_what_a_job_leaves_that_ends_there() {
    let [rows, columns] = SHAPE;
    let input = Input::new();
    let [all_rows, all_columns] = [rows, columns].map(|len| Span { first: 0, len });
    let column = |after, first| Note { after, rows: all_rows, columns: Span { first, len: 1 } };
    let row = |after, first| Note { after, rows: Span { first, len: 1 }, columns: all_columns };
    let list = [column(1, 0), row(1, 4), column(1, 33), row(2, 0), row(3, 4), column(3, 36), column(3, 0)];
    let (few, little) = short();
    for (route, pulses, rate) in
        [Route::Both, Route::DownAsUp].into_iter().flat_map(|route| [(route, pulses("stochastic", "sample"), 0.05), (route, few, little)])
    {
        let takes = &[true, true, false, true][..];
        let rates = &[rate; VECTORS];
        for share in [0, 1, 2] {
            let pool = Pool::new(2).unwrap();
            pool.set_share(share);
            pool.set_split_threshold(0);
            let machine = Machine { isa: Isa::choose(None).unwrap(), pool: &pool };
            let mut whole = crossbar("SoftBounds", 0.3);
            let mut notes = Notes::new(&list, rows);
            update(machine, &mut whole, &pulses, &Job { rates, route, takes: Some(takes), ..input.job() }, None, &mut notes);
            let mut moved = 0;
            for (at, note) in list.iter().enumerate() {
                let job = Job { rates, route, takes: Some(&takes[..note.after]), ..input.part(0..note.after) };
                let part = run("SoftBounds", 0.3, &pulses, &[job]);
                let cells = note.rows.range().flat_map(|row| note.columns.range().map(move |column| row * columns + column));
                let expected: Vec<_> = cells.map(|cell| (part.0[cell], part.1.n[cell])).collect();
                let any = expected.iter().any(|(_, n)| *n > 0);
                // Of short trains, a column may have no pulse.
                assert!(any || rate == little);
                moved += usize::from(any);
                let seen: Vec<_> = notes.of(at).map(|seen| (seen.v, seen.n)).collect();
                assert_eq!(seen, expected, "{note:?}, {route:?}");
            }
            assert!(moved > 2, "{moved}");
        }
    }
}

#[test]
fn a_tally_counts_pulses_of_either_sign() {
    let input = Input::new();
    each_type(|pulses, rate, what| {
        let (values, tally) = run("ConstantStep", 0.0, pulses, &[Job { rates: &[rate; VECTORS], ..input.job() }]);
        let ups = tally.up.unwrap();
        assert!(ups.iter().zip(&tally.n).all(|(up, n)| up <= n) && ups.iter().any(|up| *up > 0), "{what}");
        let counted = !matches!(
            pulses.pulse_type,
            PulseType::AnalogUpdate | PulseType::RandomIncrement | PulseType::NoneWithDevice | PulseType::None
        );
        let goes = if pulses.whole_batch && pulses.words(1) == 0 { 1 } else { VECTORS as u32 };
        for at in 0..values.len() {
            if counted {
                assert_eq!(values[at] * 1024.0, 2.0 * ups[at] as f32 - tally.n[at] as f32, "{what}");
            } else {
                assert!(tally.n[at] <= goes, "{what}");
            }
        }
    });
}

#[test]
fn a_tally_changes_nothing() {
    let input = Input::new();
    each_type(|pulses, rate, what| {
        let counted = run("SoftBounds", 0.3, pulses, &[Job { rates: &[rate; VECTORS], ..input.job() }]);
        let pool = Pool::new(1).unwrap();
        let mut crossbar = crossbar("SoftBounds", 0.3);
        let machine = Machine { isa: Isa::Portable, pool: &pool };
        update(machine, &mut crossbar, pulses, &Job { rates: &[rate; VECTORS], ..input.job() }, None, &mut Notes::new(&[], 0));
        assert_eq!(crossbar.values, counted.0, "{what}");
    });
}
