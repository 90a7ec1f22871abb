//! [`Known`]: statements that were read before, and do nothing to the session.

use std::any::TypeId;
use std::collections::HashMap;

use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{QueryBuilder as _, QueryFragment, QueryId};
use diesel::result::QueryResult;

use super::TenantConnection;
use crate::statement::Effects;

/// Whether statements of a type do nothing to the session, of those whose text is always the same.
///
/// Diesel keeps prepared statements by the same types, so it relies on the same.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<TypeId, bool>);

impl Known {
    /// Whether `statement` was read, now or before, and does nothing.
    fn harmless<T>(&mut self, statement: &T) -> bool
    where
        T: QueryFragment<Pg> + QueryId,
    {
        let Some(id) = T::query_id().filter(|_| T::HAS_STATIC_QUERY_ID) else {
            return false;
        };
        // Where a part says that it may be another the next time, Diesel prepares anew.
        if !matches!(statement.is_safe_to_cache_prepared(&Pg), Ok(true)) {
            return false;
        }
        *self.0.entry(id).or_insert_with(|| {
            let text = text(statement);
            text.is_ok_and(|text| Effects::of(&text) == Effects::default())
        })
    }
}

fn text(statement: &impl QueryFragment<Pg>) -> QueryResult<String> {
    let mut text = PgQueryBuilder::new();
    statement.to_sql(&mut text, &Pg)?;
    Ok(text.finish())
}

impl TenantConnection {
    /// Tells the watch whether it may leave the next statement unread, which is to be this one.
    pub(super) fn announce_harmless<T>(&mut self, statement: &T)
    where
        T: QueryFragment<Pg> + QueryId,
    {
        let harmless = self.known.harmless(statement);
        self.notes.set_harmless(harmless);
    }
}

#[cfg(test)]
mod tests {
    use diesel::prelude::*;
    use diesel::sql_types::{Bool, Text};

    use super::Known;

    diesel::table! {
        rooms (id) {
            id -> Integer,
            name -> Text,
        }
    }

    #[diesel::declare_sql_function]
    extern "SQL" {
        fn set_config(name: Text, value: Text, is_local: Bool) -> Text;
        fn renovate(name: Text) -> Text;
    }

    #[test]
    fn statements_of_the_query_builder_are_known_by_their_type() {
        let mut known = Known::default();
        for id in [1, 2] {
            assert!(known.harmless(&rooms::table.find(id).select(rooms::name)));
            assert!(known.harmless(&diesel::delete(rooms::table.find(id))));
            let room = (rooms::id.eq(id), rooms::name.eq("Blue"));
            assert!(known.harmless(&diesel::insert_into(rooms::table).values(room)));
        }
        assert_eq!(known.0.len(), 3);
    }

    #[test]
    fn what_may_do_something_is_read_each_time() {
        let mut known = Known::default();
        for _ in 0..2 {
            let moves = diesel::select(set_config("search_path", "globex", false));
            assert!(!known.harmless(&moves));
            assert!(!known.harmless(&rooms::table.select(renovate(rooms::name))));
        }
    }

    #[test]
    fn what_may_be_another_text_the_next_time_is_read_each_time() {
        let mut known = Known::default();
        assert!(!known.harmless(&diesel::sql_query("SELECT 1")));
        assert!(!known.harmless(&rooms::table.find(1).into_boxed::<diesel::pg::Pg>()));
        let names = diesel::insert_into(rooms::table)
            .values((rooms::id.eq(1), None::<diesel::dsl::Eq<rooms::name, &str>>));
        assert!(!known.harmless(&names));
        assert!(known.0.is_empty());
    }
}
