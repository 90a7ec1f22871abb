//! [`Plans`]: prepared statements and types of each path, kept apart.
//!
//! A prepared statement has the plan of the path under which it was planned, and
//! PostgreSQL plans it anew under another: that costs several times what running
//! it does. It may even fail, if a column's type is another there. So each path
//! has statements of its own, told apart by a comment at their end, and a
//! connection that comes back to a tenant finds them planned.

use std::any::TypeId;
use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;

use diesel::pg::PgMetadataCache;

use crate::name::SchemaName;
use crate::path::SearchPath;
use crate::sql;

/// Of how many paths a connection keeps statements, if it may not serve more tenants than that.
/// A loop over a fleet, on one connection, would fill the server's memory: each statement takes
/// some 10 KB there.
const MAX_PATHS: usize = 256;

/// What a connection has prepared, path by path.
#[derive(Default)]
pub(super) struct Plans {
    paths: HashMap<Arc<SearchPath>, Kept>,
    /// How many paths were given a mark since nothing was prepared.
    marks: usize,
    mark: Arc<str>,
    /// Something was prepared without a mark, or is not prepared any more.
    mixed: bool,
}

struct Kept {
    mark: Arc<str>,
    /// What a checkout sends that finds the path in use, if one did before.
    stay: Option<Arc<str>>,
    /// The statements that are prepared with the path as a parameter.
    carriers: HashSet<TypeId>,
    /// The types that Diesel looked up under this path, while another is in use.
    types: Option<PgMetadataCache>,
}

impl Plans {
    /// Whether statements have to be deallocated before the path becomes `to`, on a connection
    /// that may serve so many tenants.
    pub(super) fn have_to_go(&self, to: &Arc<SearchPath>, tenants: usize) -> bool {
        let most = tenants.max(MAX_PATHS);
        self.mixed || self.marks >= most && !self.paths.contains_key(to)
    }

    /// What was prepared can't be told apart, or relied on, any more.
    pub(super) fn mix(&mut self) {
        self.mixed = true;
    }

    /// What was prepared in a schema is not used any more.
    pub(super) fn forget(&mut self, schema: &SchemaName) {
        self.paths.retain(|path, _| path.schema() != schema);
    }

    /// Nothing is prepared any more.
    pub(super) fn clear(&mut self) {
        self.paths.clear();
        self.marks = 0;
        self.mixed = false;
    }

    /// Takes the types of the path that was in use until now, and gives those of the next one.
    pub(super) fn turn(
        &mut self,
        from: Option<&Arc<SearchPath>>,
        to: &Arc<SearchPath>,
        types: &mut PgMetadataCache,
    ) {
        let last = mem::replace(types, PgMetadataCache::new());
        if let Some(kept) = from.and_then(|path| self.paths.get_mut(path)) {
            kept.types = Some(last);
        }
        let marks = &mut self.marks;
        let kept = self.paths.entry(Arc::clone(to)).or_insert_with(|| {
            let number = *marks;
            *marks += 1;
            Kept {
                mark: format!(" /*{number}*/").into(),
                stay: None,
                carriers: HashSet::new(),
                types: None,
            }
        });
        if let Some(kept) = kept.types.take() {
            *types = kept;
        }
        self.mark = Arc::clone(&kept.mark);
    }

    /// What a checkout sends that finds `path` in use. Not the first time: only a tenant
    /// that comes back is worth preparing a statement of ours for.
    pub(super) fn stay(&mut self, path: &Arc<SearchPath>, as_written: bool) -> Option<Arc<str>> {
        let kept = self.paths.get_mut(path)?;
        let stay = kept.stay.clone();
        if stay.is_none() {
            kept.stay =
                Some(format!("{}{}", sql::session::stay(path, as_written), kept.mark).into());
        }
        stay
    }

    /// Whether a statement is prepared for `path` that brings it along.
    pub(super) fn carries(&self, path: &Arc<SearchPath>, statement: TypeId) -> bool {
        let kept = self.paths.get(path);
        kept.is_some_and(|kept| kept.carriers.contains(&statement))
    }

    /// A statement is prepared for `path` that brings it along.
    pub(super) fn carried(&mut self, path: &Arc<SearchPath>, statement: TypeId) {
        if let Some(kept) = self.paths.get_mut(path) {
            kept.carriers.insert(statement);
        }
    }

    /// What tells the statements of the path in use from those of others.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }
}
