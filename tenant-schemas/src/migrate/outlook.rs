//! [`Outlook`]: what is to be done where the same is known, worked out once for a run.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Result;
use crate::ledger::{Applied, Known};
use crate::registry::{Kind, Registry};
use crate::script::MigrationId;

use super::at_once::AtOnce;
use super::job::Job;
use super::plan::plan;
use super::run::changed;

/// What is to be done in every schema of one kind that has the same migrations.
pub(super) struct Outlook<'a> {
    /// Nothing has to run.
    pub(super) is_done: bool,
    /// Migrations that were applied with another text than they have now.
    pub(super) changed: Vec<MigrationId>,
    /// The one message that does it, if one will do.
    pub(super) at_once: Option<AtOnce<'a>>,
}

/// The outlooks of a run. Most schemas of a fleet have the same.
pub(super) struct Outlooks<'a> {
    registry: &'a Registry,
    current: HashMap<Kind, Arc<Outlook<'a>>>,
    others: HashMap<Kind, HashMap<Vec<Applied>, Arc<Outlook<'a>>>>,
}

impl<'a> Outlooks<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            current: HashMap::new(),
            others: HashMap::new(),
        }
    }

    /// The outlook of a job's schema; `None` if that has to be asked.
    pub(super) fn of(&mut self, job: &Job, known: &Known) -> Result<Option<Arc<Outlook<'a>>>> {
        let seen = match known {
            Known::Missing | Known::Nothing => return Ok(None),
            Known::Current => self.current.get(&job.kind),
            Known::Applied(applied) => self
                .others
                .get(&job.kind)
                .and_then(|others| others.get(applied)),
        };
        if let Some(seen) = seen {
            return Ok(Some(Arc::clone(seen)));
        }
        let kind = job.kind.clone();
        let outlook = if let Known::Applied(applied) = known {
            let outlook = Arc::new(self.work_out(job, applied)?);
            let others = self.others.entry(kind).or_default();
            others.insert(applied.clone(), Arc::clone(&outlook));
            outlook
        } else {
            let outlook = self.work_out(job, &self.registry.all_applied(&kind))?;
            Arc::clone(self.current.entry(kind).or_insert(Arc::new(outlook)))
        };
        Ok(Some(outlook))
    }

    fn work_out(&self, job: &Job, applied: &[Applied]) -> Result<Outlook<'a>> {
        let steps = plan(self.registry, &job.kind, applied, &job.selection)?;
        Ok(Outlook {
            is_done: steps.is_empty() && !job.adopt,
            changed: changed(self.registry, &job.kind, applied),
            at_once: AtOnce::new(self.registry, job, applied, &steps),
        })
    }
}
