//! The questions, one file for each.

mod fleet;
mod memory;
mod pooled;
mod provision;
mod request;
mod resolver;
mod signups;
mod transaction;

use clap::ValueEnum;

use crate::Result;
use crate::report::Group;
use crate::server::Bench;

/// A group of measurements that answer one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// What does a request cost?
    Request,
    /// What does a transaction of five statements cost?
    Transaction,
    /// What does it cost to provision a tenant?
    Provision,
    /// What does a sign-up wait for while schemas are made ahead?
    Signups,
    /// What does work over all tenants cost?
    Fleet,
    /// What does it cost to find the tenant of a request?
    Resolver,
    /// How much memory do a backend and the process hold?
    Memory,
}

impl Name {
    pub(crate) fn run(self, bench: &Bench) -> Result<Group> {
        match self {
            Self::Request => request::run(bench),
            Self::Transaction => transaction::run(bench),
            Self::Provision => provision::run(bench),
            Self::Signups => signups::run(bench),
            Self::Fleet => fleet::run(bench),
            Self::Resolver => resolver::run(bench),
            Self::Memory => memory::run(bench),
        }
    }
}
