//! Who asks for what: the same sequence in every run.

use std::fmt;

use rand::distr::{Distribution as _, Uniform};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::Zipf;

use crate::Result;
use crate::threads::on_threads;
use crate::workload::CONTACTS;

/// Whose requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// All of one tenant.
    One,
    /// By Zipf's law with s = 1: of each tenant half, a third, a quarter.. as many as of the first.
    Zipf,
    /// Of all tenants alike.
    Uniform,
}

impl Traffic {
    pub(crate) const ALL: [Self; 3] = [Self::One, Self::Zipf, Self::Uniform];
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::One => "one tenant",
            Self::Zipf => "zipf",
            Self::Uniform => "uniform",
        })
    }
}

/// A request: the number of the tenant, and the id of one of its contacts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) tenant: usize,
    pub(crate) contact: i64,
}

/// Clients that send requests, each on a thread of its own.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    tenants: Tenants,
    threads: usize,
    /// How often they were sent out. Each time they ask for something else.
    times: u64,
}

#[derive(Debug, Clone, Copy)]
enum Tenants {
    First,
    /// And all of them.
    Zipf(Zipf<f64>, Uniform<usize>),
    Uniform(Uniform<usize>),
}

impl Clients {
    pub(crate) fn new(traffic: Traffic, tenants: usize, threads: usize) -> Result<Self> {
        let all = Uniform::new(0, tenants)?;
        let zipf = Zipf::new(f64::from(u32::try_from(tenants)?), 1.0)?;
        let tenants = match traffic {
            Traffic::One => Tenants::First,
            Traffic::Zipf => Tenants::Zipf(zipf, all),
            Traffic::Uniform => Tenants::Uniform(all),
        };
        Ok(Self {
            tenants,
            threads,
            times: 0,
        })
    }

    /// Sends so many requests, all clients at once, and waits for the answers.
    ///
    /// The first time those of all tenants come alike, unless they are all of one: after some time each
    /// connection of a program has met them all.
    pub(crate) fn send(
        &mut self,
        requests: usize,
        answer: impl Fn(Request) -> Result<()> + Sync,
    ) -> Result<()> {
        self.times += 1;
        let tenants = match self.tenants {
            Tenants::Zipf(_, all) if self.times == 1 => Tenants::Uniform(all),
            tenants => tenants,
        };
        on_threads(self.threads, |client| {
            let mut random = self.random(client);
            let mine = (client..requests).step_by(self.threads);
            mine.map(|_| tenants.next(&mut random))
                .try_for_each(&answer)
        })
    }

    fn random(&self, client: usize) -> StdRng {
        StdRng::seed_from_u64((self.times << 8) + client as u64)
    }
}

impl Tenants {
    fn next(self, random: &mut StdRng) -> Request {
        let tenant = match self {
            Self::First => 0,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is a whole number from 1 to that of the tenants"
            )]
            Self::Zipf(zipf, _) => zipf.sample(random) as usize - 1,
            Self::Uniform(uniform) => uniform.sample(random),
        };
        Request {
            tenant,
            contact: random.random_range(1..=CONTACTS),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::{Clients, Traffic};

    /// How many of 10,000 requests are for each of ten tenants, after the first turn.
    fn counts(traffic: Traffic) -> Vec<usize> {
        let mut clients = Clients::new(traffic, 10, 4).unwrap();
        let mut send = || {
            let counts = Mutex::new(vec![0; 10]);
            let count = |request: super::Request| {
                counts.lock().unwrap()[request.tenant] += 1;
                Ok(())
            };
            clients.send(10_000, count).unwrap();
            counts.into_inner().unwrap()
        };
        let first = send();
        if traffic != Traffic::One {
            assert!(
                first.iter().all(|count| (800..1200).contains(count)),
                "{first:?}"
            );
        }
        send()
    }

    #[test]
    fn traffic_is_what_its_name_says() {
        assert_eq!(counts(Traffic::One)[0], 10_000);
        let uniform = counts(Traffic::Uniform);
        assert!(
            uniform.iter().all(|count| (800..1200).contains(count)),
            "{uniform:?}"
        );
        // 1/1 + 1/2 + .. + 1/10 is 2.93, so the first has 34 % and the tenth 3.4 %.
        let zipf = counts(Traffic::Zipf);
        assert!((3200..3640).contains(&zipf[0]), "{zipf:?}");
        assert!((1600..1820).contains(&zipf[1]), "{zipf:?}");
        assert!((280..400).contains(&zipf[9]), "{zipf:?}");
        assert_eq!(zipf, counts(Traffic::Zipf), "the same in every run");
    }
}
