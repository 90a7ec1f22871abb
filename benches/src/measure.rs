//! Measuring things beside their floor, in turns, so that what disturbs one disturbs all.

use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::report::{Row, Unit};
use crate::server::Bench;
use crate::{Result, cpu};

/// One of the things that are compared.
pub(crate) struct Case<'a> {
    name: String,
    is_floor: bool,
    operations: usize,
    warm_up: usize,
    prepare: Box<dyn FnMut() -> Result<()> + 'a>,
    run: Box<dyn FnMut(usize) -> Result<()> + 'a>,
}

impl<'a> Case<'a> {
    /// What the others are compared with: `run` does as many operations as it is told to.
    ///
    /// If there are several, the ratios are those to the first.
    pub(crate) fn floor(
        name: impl Into<String>,
        run: impl FnMut(usize) -> Result<()> + 'a,
    ) -> Self {
        Self {
            is_floor: true,
            ..Self::new(name, run)
        }
    }

    /// `run` does as many operations as it is told to.
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut(usize) -> Result<()> + 'a) -> Self {
        Self {
            name: name.into(),
            is_floor: false,
            operations: usize::MAX,
            warm_up: 1,
            prepare: Box::new(|| Ok(())),
            run: Box::new(run),
        }
    }

    /// Lets `prepare` run before each run, and not be measured.
    pub(crate) fn prepared(self, prepare: impl FnMut() -> Result<()> + 'a) -> Self {
        Self {
            prepare: Box::new(prepare),
            ..self
        }
    }

    /// Has so many operations in a turn, if those of the others are more.
    pub(crate) fn at_most(self, operations: usize) -> Self {
        Self { operations, ..self }
    }

    /// Has so many times as many operations in the turn that is not counted.
    pub(crate) fn warmed_up(self, times: usize) -> Self {
        Self {
            warm_up: times,
            ..self
        }
    }

    fn round(&mut self, bench: &Bench, operations: usize) -> Result<Round> {
        let operations = operations.min(self.operations);
        (self.prepare)()?;
        let server = cpu::server(bench.server().pid())?;
        let client = cpu::client()?;
        let begun = Instant::now();
        (self.run)(operations)?;
        let wall = begun.elapsed();
        let client = cpu::client()?.saturating_sub(client);
        let server = cpu::server(bench.server().pid())?.saturating_sub(server);
        let each = |time: Duration| time.as_secs_f64() / float(operations);
        Ok(Round {
            wall: each(wall),
            server: each(server),
            client: each(client),
        })
    }
}

/// How the cases are measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measurement {
    /// How often each case has its turn, after one turn that is not counted.
    pub(crate) rounds: usize,
    /// How many operations a turn has.
    pub(crate) operations: usize,
    /// How many operations are looked at to count what they send; 0 if that is of no interest.
    pub(crate) counted: usize,
    pub(crate) unit: Unit,
}

/// Seconds for each operation.
struct Round {
    wall: f64,
    server: f64,
    client: f64,
}

impl Measurement {
    /// Gives each case its turn, again and again. `setting` is what they have in common.
    pub(crate) fn compare(
        self,
        bench: &Bench,
        setting: &IndexMap<String, String>,
        mut cases: Vec<Case<'_>>,
    ) -> Result<Vec<Row>> {
        let mut measured: Vec<Vec<Round>> = cases.iter().map(|_| Vec::new()).collect();
        let count = cases.len();
        for case in &mut cases {
            case.round(bench, self.operations * case.warm_up)?;
        }
        for turn in 0..self.rounds {
            // Each is the first once: what one leaves, in caches or to be written, is the next one's.
            for case in (0..count).map(|nth| (turn + nth) % count) {
                measured[case].push(cases[case].round(bench, self.operations)?);
            }
        }
        let counted = self.count(bench, &mut cases)?;
        let floor = cases.iter().position(|case| case.is_floor);
        let rows = cases.into_iter().zip(counted).enumerate();
        Ok(rows
            .map(|(number, (case, counted))| {
                let mut figures = self.figures(&measured[number]);
                if let Some(floor) = floor {
                    figures.extend(ratios(&measured[number], &measured[floor]));
                }
                figures.extend(counted);
                Row {
                    case: case.name,
                    is_floor: case.is_floor,
                    setting: setting.clone(),
                    figures,
                }
            })
            .collect())
    }

    fn figures(self, rounds: &[Round]) -> IndexMap<String, f64> {
        let Self { unit, .. } = self;
        let wall = sorted(rounds.iter().map(|round| round.wall));
        let server = sorted(rounds.iter().map(|round| round.server));
        let client = sorted(rounds.iter().map(|round| round.client));
        let figures = [
            ("wall", quantile(&wall, 0.5)),
            ("min", quantile(&wall, 0.0)),
            ("p95", quantile(&wall, 0.95)),
            ("server CPU", quantile(&server, 0.5)),
            ("client CPU", quantile(&client, 0.5)),
        ];
        figures
            .map(|(name, seconds)| (format!("{name} {unit}"), seconds * unit.in_a_second()))
            .into()
    }

    /// What each case sends for an operation.
    fn count(self, bench: &Bench, cases: &mut [Case<'_>]) -> Result<Vec<IndexMap<String, f64>>> {
        if self.counted == 0 {
            return Ok(cases.iter().map(|_| IndexMap::new()).collect());
        }
        let listener = bench.listen()?;
        let each = |count: usize| float(count) / float(self.counted);
        let counts = cases.iter_mut().map(|case| {
            (case.prepare)()?;
            let messages = listener.messages(|| (case.run)(self.counted))?;
            Ok(IndexMap::from([
                ("round trips".to_owned(), each(messages.count)),
                ("switches".to_owned(), each(messages.switches)),
            ]))
        });
        counts.collect()
    }
}

/// The middle one of the ratios of each round, since its turns were close to each other.
fn ratios(rounds: &[Round], floor: &[Round]) -> IndexMap<String, f64> {
    let middle = |time: fn(&Round) -> f64| {
        let pairs = rounds.iter().zip(floor);
        let ratios = pairs.map(|(round, floor)| time(round) / time(floor));
        quantile(&sorted(ratios), 0.5)
    };
    let mut ratios = IndexMap::from([("× floor".to_owned(), middle(|round| round.wall))]);
    // What never asks the server has no such ratio, only noise.
    if floor.iter().all(|round| round.server * 100.0 > round.wall) {
        let server = middle(|round| round.server);
        ratios.insert("× floor, server CPU".to_owned(), server);
    }
    ratios
}

pub(crate) fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value that is at `at`, from 0 to 1, in values that are sorted.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the place is within the list"
)]
pub(crate) fn quantile(sorted: &[f64], at: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let place = (float(last) * at).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nothing here is counted up to 2^52"
)]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{quantile, sorted};

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values = sorted([5.0, 1.0, 3.0, 2.0, 4.0].into_iter());
        let at = |at| quantile(&values, at).to_string();
        assert_eq!([0.0, 0.5, 0.95].map(at), ["1", "3", "5"]);
    }
}
