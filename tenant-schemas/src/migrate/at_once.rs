//! [`AtOnce`]: pending migrations as one message, which takes the lock, looks at the state again, and commits.

use crate::ledger::{self, Applied, Seen};
use crate::name::SchemaName;
use crate::registry::Registry;
use crate::script::{Body, MigrationId, Script};
use crate::sql;
use crate::statement::{self, Effects};

use super::job::Job;
use super::message::Message;
use super::plan::Step;
use super::run::replan;

/// What is pending in every schema of one kind that has the same migrations, if one message will do.
///
/// It runs only where the table of states still says what it did, of the same ledger. Anything
/// else, a lock that another session has for one, is left to a [`Run`](super::run::Run).
pub(super) struct AtOnce<'a> {
    steps: Vec<(&'a MigrationId, &'a str)>,
    /// The lines that the ledger gets.
    new: Vec<Applied>,
    /// The ledger's fingerprint as it has to be, and afterwards.
    before: String,
    after: String,
    /// How many tables are opened, at most: one for each statement, and the ledger.
    tables: usize,
    sees_shared: bool,
    replans: bool,
    /// A function is called that may leave settings behind.
    calls: bool,
}

impl<'a> AtOnce<'a> {
    /// `None` if it takes more than one message, or code of others in between.
    pub(super) fn new(
        registry: &Registry,
        job: &Job,
        before: &[Applied],
        steps: &[Step<'a>],
    ) -> Option<Self> {
        let first = steps.first()?;
        let sees_shared = first.app.app.can_see_shared();
        let listeners = &registry.listeners;
        let fits = listeners.inside.is_empty()
            && listeners.after.is_empty()
            && (steps.len() == 1 || job.atomic)
            && !job.fake
            && !job.adopt
            && steps
                .iter()
                .all(|step| step.app.app.can_see_shared() == sees_shared);
        if !fits {
            return None;
        }
        let mut texts = Vec::with_capacity(steps.len());
        let mut after = before.to_vec();
        for step in steps {
            let script: &'a Script = step.script;
            let Body::Sql(sql) = &script.up else {
                return None;
            };
            let is_plain = Effects::of(sql).keep_session() && !script.changes_session;
            let fits =
                steps.len() == 1 || script.is_whole && statement::local_settings(sql).is_empty();
            if step.reverted || !script.transactional || !is_plain || !fits {
                return None;
            }
            texts.push((&script.id, sql.as_str()));
            after.push(Applied::of(script));
        }
        let statements = texts.iter().map(|(_, sql)| statement::split(sql).len());
        Some(Self {
            tables: 1 + statements.sum::<usize>(),
            calls: texts.iter().any(|(_, sql)| statement::queries_call(sql)),
            steps: texts,
            before: ledger::fingerprint(before),
            after: ledger::fingerprint(&after),
            new: after.split_off(before.len()),
            sees_shared,
            replans: !steps.iter().all(|step| step.script.names_nothing),
        })
    }

    /// The migrations that it applies.
    pub(super) fn ids(&self) -> Vec<MigrationId> {
        self.steps.iter().map(|(id, _)| (*id).clone()).collect()
    }

    /// Whether a function is called that may leave settings behind.
    pub(super) fn calls(&self) -> bool {
        self.calls
    }

    /// How many tables are opened, about.
    pub(super) fn tables(&self) -> usize {
        self.tables
    }

    /// The message for one schema, if the table of states still has a line for the ledger that was seen.
    pub(super) fn message(
        &self,
        registry: &Registry,
        schema: &SchemaName,
        seen: &Seen,
    ) -> Message<'a> {
        let path = registry.policy.migration_path(schema, self.sees_shared);
        let key = ledger::lock_key(schema);
        let lines: Vec<String> = self.new.iter().map(Applied::line).collect();
        let mut message = Message::beginning(sql::ledgers::begin_alone(schema, key));
        // What is prepared goes before the path, or it would be planned anew for each schema.
        message.push_own(&sql::ledgers::advance(
            schema,
            &seen.ledger,
            &self.before,
            &self.after,
            &lines,
        ));
        message.push_own(&sql::session::set_local_path(&path));
        // The server forgets what it remembers of tables when one is changed: it knows the
        // ledger as long as that comes first.
        for ((id, _), new) in self.steps.iter().zip(&self.new) {
            message.push_own(&sql::ledger::record(schema, id, &new.checksum));
        }
        for (id, sql) in &self.steps {
            message.push_text(id, sql);
        }
        if self.replans {
            message.push_own(&replan(registry, schema));
        }
        message.push_own("COMMIT");
        message
    }
}
