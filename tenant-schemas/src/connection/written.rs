//! [`Written`]: a statement with its text, as it is sent; and [`Texts`], what such texts do.
//!
//! Diesel finds what it has prepared by the text, since each path has statements of its own, and the
//! watch has to know what it does to the session. So it is written once, and read when it is new.

use std::collections::HashMap;

use diesel::connection::CacheSize;
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{AstPass, Query, QueryBuilder as _, QueryFragment, QueryId};
use diesel::result::QueryResult;

use super::TenantConnection;
use super::carry::{Cargo, Turn, Turning};
use crate::statement::Effects;

/// A statement with a mark at its end, which tells it apart from those of other paths, and perhaps with
/// a path, as a parameter that it does not use.
pub(super) struct Written<T> {
    statement: T,
    text: String,
    /// Where the mark begins in the text.
    mark: usize,
    /// Whether Diesel keeps what it prepares.
    kept: bool,
    turn: Option<Turn>,
}

/// Before the statement's own text, where a path goes with it. To the server this is a comment; the
/// parameter counts all the same. It is the first: what reads the others may be a function of the
/// tenant's own.
const TURN: (&str, &str) = ("/*", "*/");

impl<T: QueryFragment<Pg>> Written<T> {
    fn new(statement: T, mark: &str, turn: Option<Turn>) -> QueryResult<Self> {
        let mut text = PgQueryBuilder::new();
        if turn.is_some() {
            text.push_sql(TURN.0);
            text.push_bind_param();
            text.push_sql(TURN.1);
        }
        statement.to_sql(&mut text, &Pg)?;
        text.push_sql(mark);
        let text = text.finish();
        Ok(Self {
            kept: statement.is_safe_to_cache_prepared(&Pg)?,
            mark: text.len() - mark.len(),
            text,
            statement,
            turn,
        })
    }
}

impl<T> Written<T> {
    /// A statement that is sent from home, with this text.
    pub(super) fn qualified(statement: T, text: &str) -> Self {
        Self {
            statement,
            text: text.to_owned(),
            mark: text.len(),
            kept: true,
            turn: None,
        }
    }
}

impl<T: QueryFragment<Pg>> QueryFragment<Pg> for Written<T> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if let Some(turn) = &self.turn {
            pass.push_sql(TURN.0);
            pass.push_bind_param::<Turning, _>(turn)?;
            pass.push_sql(TURN.1);
        }
        self.statement.walk_ast(pass.reborrow())?;
        pass.push_sql(&self.text[self.mark..]);
        Ok(())
    }

    /// The same as by a walk, which is how Diesel asks if it has a reference.
    fn to_sql(&self, out: &mut PgQueryBuilder, _: &Pg) -> QueryResult<()> {
        out.push_sql(&self.text);
        Ok(())
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(self.kept)
    }
}

impl<T> QueryId for Written<T> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T: Query> Query for Written<T> {
    type SqlType = T::SqlType;
}

/// Whether texts do nothing to the session, of those of which Diesel keeps what it prepares: they are
/// few.
#[derive(Debug, Default)]
pub(super) struct Texts(HashMap<Box<str>, bool>);

impl Texts {
    fn harmless(&mut self, text: &str) -> bool {
        if let Some(harmless) = self.0.get(text) {
            return *harmless;
        }
        let harmless = Effects::of(text) == Effects::default();
        self.0.insert(text.into(), harmless);
        harmless
    }

    /// Diesel has forgotten what it prepared.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl TenantConnection {
    /// Writes a statement for the path in use, with what goes with it. It has to be the next that is sent:
    /// the watch is told whether to read it.
    pub(super) fn write<T>(
        &mut self,
        statement: T,
        cargo: Option<&Cargo>,
    ) -> QueryResult<Written<T>>
    where
        T: QueryFragment<Pg>,
    {
        let mark = self.plans.mark();
        let written = Written::new(statement, mark, cargo.map(Cargo::turn))?;
        // The mark would make it another for each path.
        let own = &written.text[..written.mark];
        // Where Diesel keeps nothing, texts may be without number.
        let kept = written.kept && !matches!(self.cache_size, CacheSize::Disabled);
        let harmless = kept && self.texts.harmless(own);
        self.notes.set_harmless(harmless);
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use diesel::debug_query;
    use diesel::prelude::*;

    use super::{Pg, QueryFragment as _, Texts, Turn, Written};
    use crate::path::SearchPath;

    diesel::table! {
        rooms (id) {
            id -> Integer,
            name -> Text,
        }
    }

    #[test]
    fn a_path_that_goes_along_is_the_first_parameter() {
        let path = SearchPath::new("acme".parse().expect("a name"));
        let statement = rooms::table.find(7).select(rooms::name);
        let turn = Some(Turn(Arc::new(path)));
        let written = Written::new(statement, " /*3*/", turn).expect("written");
        let walked = debug_query::<Pg, _>(&&written).to_string();
        assert_eq!(debug_query::<Pg, _>(&written).to_string(), walked);
        assert_eq!(
            walked,
            r#"/*$1*/SELECT "rooms"."name" FROM "rooms" WHERE ("rooms"."id" = $2) /*3*/ -- binds: [Turn(SearchPath { schemas: [SchemaName("acme")] }), 7]"#
        );
        assert_eq!(written.is_safe_to_cache_prepared(&Pg), Ok(true));
    }

    #[test]
    fn what_is_kept_nowhere_is_not_kept_here() {
        let literal = rooms::table.select(diesel::dsl::sql::<diesel::sql_types::Text>("name"));
        let written = Written::new(literal, "", None).expect("written");
        assert_eq!(written.is_safe_to_cache_prepared(&Pg), Ok(false));
    }

    #[test]
    fn a_text_is_known_by_itself() {
        let mut texts = Texts::default();
        for _ in 0..2 {
            assert!(texts.harmless("SELECT 1"));
            assert!(!texts.harmless("SELECT set_config($1, $2, $3)"));
            assert!(!texts.harmless("BEGIN"));
        }
        assert_eq!(texts.0.len(), 3);
    }
}
