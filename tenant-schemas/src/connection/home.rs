//! [`Home`]: a session that stays where nothing of anybody's is found, while statements say themselves
//! whose tables they read.
//!
//! To turn a session costs the server as much as a query by key does. A `SELECT` that reads plain tables does not
//! need it, if their schema is written into it: nothing else of it depends on the path, and it leaves nothing
//! behind. That it is so is no belief of ours. Its text is read first; and it has a function called by the planner,
//! which fails unless the tables are what they seem. PostgreSQL plans a statement anew, and looks
//! its names up again, when a table, a schema or an operator that might matter is changed.
//!
//! On the path of a session that is at home, PostgreSQL's own schema, a name without a schema
//! finds nobody's table. Whoever needs the tenant's path is turned to it first, as ever: a round trip, if
//! a statement that was sent from home comes first. So sessions go home only after
//! checkouts that were one statement each.

use std::collections::HashMap;
use std::sync::Arc;

use diesel::connection::SimpleConnection as _;
use diesel::pg::{GetPgMetadataCache as _, Pg, PgQueryBuilder};
use diesel::query_builder::{QueryBuilder as _, QueryFragment, QueryId};
use diesel::result::{Error as DieselError, QueryResult};

use crate::error::Result;
use crate::name::SchemaName;
use crate::path::SearchPath;
use crate::sql;
use crate::sql::plain::Plans;
use crate::statement::PlainSelect;

use super::TenantConnection;
use super::belief::is_path;
use super::carry::Carrier;
use super::scope::Scope;
use super::send::Arrival;

/// After so many checkouts in a row, each of which was one statement that took its path along, a session
/// goes home.
const QUIET: u32 = 32;

/// After so many runs of a text it is asked whether PostgreSQL keeps a plan of it.
const ASK: u32 = 64;

/// So many plans PostgreSQL makes of each statement before it thinks of keeping one.
const TRIES: i64 = 5;

/// What a connection knows of statements that need no path.
pub(super) struct Home {
    path: Arc<SearchPath>,
    /// How many checkouts in a row were one statement that took its path along.
    quiet: u32,
    /// How texts are to be sent from home, of those of which Diesel keeps what it prepares; `None` if
    /// they can't be.
    texts: HashMap<Box<str>, Option<Plain>>,
}

struct Plain {
    select: PlainSelect,
    /// How often it was sent from home, and ran.
    runs: u32,
    /// PostgreSQL is known to keep a plan of it.
    kept: bool,
}

/// A statement as it is sent from home.
pub(super) struct Qualified {
    text: String,
    /// As the query builder wrote it.
    written: String,
    /// What PostgreSQL has to find still if it fails for a reason of its own.
    plain: String,
    ran: bool,
}

impl Default for Home {
    fn default() -> Self {
        Self {
            path: Arc::new(SearchPath::new(SchemaName::system())),
            quiet: 0,
            texts: HashMap::new(),
        }
    }
}

impl Home {
    /// Something was sent that needs a path, or is one.
    pub(super) fn disturb(&mut self) {
        self.quiet = 0;
    }

    /// A checkout began with a statement that took its path along.
    pub(super) fn rest(&mut self) {
        self.quiet = self.quiet.saturating_add(1);
    }

    /// Schemas were changed: what was no plain table may be one.
    pub(super) fn clear(&mut self) {
        self.texts.clear();
    }

    /// Notes that a text ran; says whether to ask about its plans.
    fn has_run(&mut self, text: &str) -> bool {
        let Some(Some(plain)) = self.texts.get_mut(text) else {
            return false;
        };
        plain.runs = plain.runs.wrapping_add(1).max(1);
        !plain.kept && plain.runs.is_multiple_of(ASK)
    }

    /// Notes how a text was planned for one tenant. What is planned each time is vouched for
    /// each time, which takes longer than to turn the session.
    fn heard_of_plans(&mut self, text: &str, plans: Option<Plans>) {
        let Some(heard) = self.texts.get_mut(text) else {
            return;
        };
        match plans {
            Some(plans) if plans.kept == 0 && plans.thrown_away > TRIES => *heard = None,
            Some(plans) if plans.kept == 0 => {}
            _ => heard.iter_mut().for_each(|plain| plain.kept = true),
        }
    }

    fn plain(&mut self, text: &str) -> Option<&Plain> {
        if !self.texts.contains_key(text) {
            let plain = PlainSelect::read(text).map(|select| Plain {
                select,
                runs: 0,
                kept: false,
            });
            self.texts.insert(text.into(), plain);
        }
        self.texts.get(text)?.as_ref()
    }
}

impl Qualified {
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl TenantConnection {
    /// How to send the first statement of a checkout from home; `None` if it needs its path.
    pub(super) fn qualified<T>(&mut self, statement: &T) -> QueryResult<Option<Qualified>>
    where
        T: QueryFragment<Pg> + QueryId,
    {
        if !self.carrying.due || !T::HAS_STATIC_QUERY_ID {
            return Ok(None);
        }
        self.observe();
        let at_home = self.is_at_home();
        // A tenant that stays has nothing to turn, and finds what it left itself.
        let goes =
            |scope: &Scope| self.home.quiet >= QUIET && !is_path(&self.resident, &scope.path);
        let Some(scope) = self.scope.clone().filter(|scope| at_home || goes(scope)) else {
            return Ok(None);
        };
        let Carrier::Found { plain: true, .. } = self.carrier() else {
            return Ok(None);
        };
        if !self.can_carry(&scope) || !statement.is_safe_to_cache_prepared(&Pg)? {
            return Ok(None);
        }
        let mut text = PgQueryBuilder::new();
        statement.to_sql(&mut text, &Pg)?;
        let text = text.finish();
        let Some(plain) = self.home.plain(&text) else {
            // It takes its path along, and the others' with it.
            self.home.disturb();
            return Ok(None);
        };
        let schema = scope.schema();
        let required = sql::plain::plain(&self.policy.public, schema, plain.select.tables());
        let select = plain.select.within(&text, &schema.quoted());
        let qualified = Qualified {
            text: format!("{select} OFFSET {required}"),
            written: text,
            plain: required,
            ran: plain.runs > 0,
        };
        if !at_home && self.go_home().is_err() {
            // What is wrong shows on the way to the tenant's path.
            return Ok(None);
        }
        if !is_path(&self.cached, &scope.path) {
            let types = self.inner.get_metadata_cache();
            self.plans.turn(self.cached.as_ref(), &scope.path, types);
            self.cached = Some(scope.path);
        }
        Ok(Some(qualified))
    }

    pub(super) fn is_at_home(&self) -> bool {
        self.beliefs.hold(&self.home.path) && is_path(&self.resident, &self.home.path)
    }

    /// Removes what the last tenant left, and turns the session to where nobody's tables are.
    fn go_home(&mut self) -> Result<()> {
        let mut home = Scope::new(SearchPath::clone(&self.home.path));
        self.arrive(&mut home, Arrival::Checkout)?;
        self.home.quiet = QUIET;
        Ok(())
    }

    /// Notes what came of a statement that was sent from home; `None` if it has to be sent
    /// as others are, with its path.
    pub(super) fn end_qualified<R>(
        &mut self,
        sent: Qualified,
        result: QueryResult<R>,
    ) -> Option<QueryResult<R>> {
        let Qualified {
            text,
            written,
            plain,
            ran,
        } = sent;
        let error = match result {
            Ok(rows) => {
                if self.home.has_run(&written) {
                    let asked = self.own_now(|inner| sql::plain::plans(inner, &text));
                    self.home.heard_of_plans(&written, asked.ok());
                }
                return Some(Ok(rows));
            }
            Err(error) => error,
        };
        self.home.disturb();
        self.beliefs.unknown();
        self.resident = None;
        let answered = matches!(error, DieselError::DatabaseError(..));
        let same = ran && answered && {
            let check = format!("SELECT {plain}");
            self.own_now(|inner| inner.batch_execute(&check)).is_ok()
        };
        if same {
            return Some(Err(error));
        }
        if !ran || !answered {
            // It says nothing of what else was prepared.
            self.notes.take_unprepared();
        }
        if !ran {
            self.home.texts.insert(written.into(), None);
        }
        None
    }
}
