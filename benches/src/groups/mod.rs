//! The questions, one file for each.

mod pooled;
mod request;
mod resolver;

use clap::ValueEnum;

use crate::Result;
use crate::report::Group;
use crate::server::Bench;

/// A group of measurements that answer one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// What does a request cost?
    Request,
    /// What does it cost to find the tenant of a request?
    Resolver,
}

impl Name {
    pub(crate) fn run(self, bench: &Bench) -> Result<Group> {
        match self {
            Self::Request => request::run(bench),
            Self::Resolver => resolver::run(bench),
        }
    }
}
