//! Foreign keys to shared tables, taken out of a schema's migrations and made last.
//!
//! Such a key locks the shared table against everyone who writes to it, and
//! against everyone else who makes one, until the transaction ends. Made behind
//! everything else it is held for a moment, and several schemas are made at once.
//!
//! PostgreSQL itself makes a table and its keys one after the other, so nothing is
//! changed but the moment. A key stays where it is unless that is certain, and
//! none is kept waiting by a statement that might ask for it.

mod read;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use self::read::{Key, Read};
use crate::script::MigrationId;
use crate::statement::{self, Effects};

/// PostgreSQL cuts longer names, in a way of its own.
const MAX_NAME: usize = 63;

/// The texts of migrations, and the keys that come behind them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeysLast {
    /// What each text may do to the session.
    pub(crate) effects: Vec<Effects>,
    pub(crate) texts: Vec<String>,
    pub(crate) keys: Vec<String>,
}

/// What was worked out for migrations that come one after the other: it is the same for each schema.
#[derive(Default)]
pub(crate) struct Memory(Mutex<HashMap<Vec<MigrationId>, Option<Arc<KeysLast>>>>);

impl Memory {
    /// What `work_out` says of these migrations; it is asked once.
    pub(crate) fn of(
        &self,
        migrations: Vec<MigrationId>,
        work_out: impl FnOnce() -> Option<KeysLast>,
    ) -> Option<Arc<KeysLast>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = known
            .entry(migrations)
            .or_insert_with(|| work_out().map(Arc::new));
        last.clone()
    }
}

/// Takes the keys to shared tables out of texts that run in a new schema, one after the other.
///
/// `None` if there is none that can wait to the end. A text that may move the search path stays as it is.
pub(crate) fn last(texts: &[&str], is_shared: impl Fn(&str) -> bool) -> Option<KeysLast> {
    let effects: Vec<Effects> = texts.iter().map(|text| Effects::of(text)).collect();
    let read: Vec<Vec<Read<'_>>> = texts
        .iter()
        .zip(&effects)
        .map(|(text, effects)| {
            if effects.moves_path {
                return vec![Read::as_it_is(text)];
            }
            statement::split(text)
                .into_iter()
                .map(|statement| Read::of(statement.text, &is_shared))
                .collect()
        })
        .collect();
    let names = Names::of(texts, read.iter().flatten());
    let mut waiting: Vec<String> = Vec::new();
    let mut own: HashSet<&str> = HashSet::new();
    let mut acts = false;
    let texts = read
        .iter()
        .map(|statements| {
            let mut text = String::new();
            for statement in statements {
                let writes = statement.writes.as_deref();
                if !statement.is_harmless
                    || writes.is_some_and(|table| acts || !own.contains(table))
                {
                    for key in waiting.drain(..) {
                        push(&mut text, &key);
                    }
                }
                own.extend(statement.makes.iter().map(String::as_str));
                acts |= statement.acts;
                let keys = statement.keys.iter().filter(|key| names.is_safe(key));
                let mut from = 0;
                let mut rest = String::new();
                for key in keys {
                    rest.push_str(&statement.text[from..key.cut.start]);
                    from = key.cut.end;
                    waiting.push(key.text.clone());
                }
                rest.push_str(&statement.text[from..]);
                push(&mut text, &rest);
            }
            text
        })
        .collect();
    (!waiting.is_empty()).then_some(KeysLast {
        effects,
        texts,
        keys: waiting,
    })
}

fn push(text: &mut String, statement: &str) {
    text.push_str(statement);
    text.push_str("\n;\n");
}

/// What a key would be called if nobody else is, and who else is.
struct Names {
    text: String,
    by_default: HashMap<String, usize>,
}

impl Names {
    fn of<'a>(texts: &[&str], statements: impl Iterator<Item = &'a Read<'a>>) -> Self {
        let mut by_default = HashMap::new();
        for key in statements.flat_map(|statement| &statement.keys) {
            *by_default.entry(key.default_name()).or_default() += 1;
        }
        Self {
            text: texts.join("\n").to_lowercase(),
            by_default,
        }
    }

    /// Whether a key can be made later: it gets the same name then, and nothing says that name.
    fn is_safe(&self, key: &Key) -> bool {
        let default = key.default_name();
        // As it is written it may look otherwise.
        let is_plain =
            !default.contains('"') && !key.name.as_ref().is_some_and(|name| name.contains('"'));
        let said = |name: &str| self.text.matches(&name.to_lowercase()).count();
        key.can_wait
            && is_plain
            && match &key.name {
                Some(name) => said(name) == 1,
                None => {
                    default.len() <= MAX_NAME
                        && self.by_default.get(&default) == Some(&1)
                        && said(&default) == 0
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(texts: &[&str]) -> Vec<String> {
        last(texts, |schema| schema == "public").map_or_else(Vec::new, |last| last.keys)
    }

    #[track_caller]
    fn taken(text: &str, left: &str, keys: &[&str]) {
        let last = last(&[text], |schema| schema == "public").expect(text);
        let left = format!("{left}\n;\n");
        assert_eq!(last.texts, [left]);
        assert_eq!(last.keys, keys);
    }

    #[test]
    fn a_key_to_a_shared_table_is_taken_out_wherever_it_stands() {
        taken(
            "CREATE TABLE t (a bigint NOT NULL REFERENCES public.x (id) ON DELETE SET NULL NOT NULL, b text)",
            "CREATE TABLE t (a bigint NOT NULL  NOT NULL, b text)",
            &["ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES public.x (id) ON DELETE SET NULL"],
        );
        taken(
            "create table \"T\" (\"A\" int constraint kk references \"public\".x on update no action not deferrable unique)",
            "create table \"T\" (\"A\" int  unique)",
            &["ALTER TABLE \"T\" ADD CONSTRAINT kk FOREIGN KEY (\"A\") \
                 references \"public\".x on update no action not deferrable"],
        );
        taken(
            "CREATE TABLE t (a int, -- one\n b numeric(9, 2), FOREIGN KEY (a, b) REFERENCES public.x (c, d) MATCH FULL)",
            "CREATE TABLE t (a int, -- one\n b numeric(9, 2))",
            &["ALTER TABLE t ADD FOREIGN KEY (a, b) REFERENCES public.x (c, d) MATCH FULL"],
        );
        taken(
            "CREATE TABLE t (CONSTRAINT kk FOREIGN KEY (a) REFERENCES public.x, a int)",
            "CREATE TABLE t ( a int)",
            &["ALTER TABLE t ADD CONSTRAINT kk FOREIGN KEY (a) REFERENCES public.x"],
        );
        taken(
            "ALTER TABLE ONLY t ADD CONSTRAINT kk FOREIGN KEY (a) REFERENCES public.x(id) DEFERRABLE INITIALLY DEFERRED;",
            "",
            &[
                "ALTER TABLE t ADD CONSTRAINT kk FOREIGN KEY (a) REFERENCES public.x(id) DEFERRABLE INITIALLY DEFERRED",
            ],
        );
        taken(
            "ALTER TABLE t ADD COLUMN a int DEFAULT f(1) REFERENCES public.x, ADD b text",
            "ALTER TABLE t ADD COLUMN a int DEFAULT f(1) , ADD b text",
            &["ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES public.x"],
        );
    }

    #[test]
    fn a_key_that_may_not_be_the_same_later_stays() {
        for text in [
            "CREATE TABLE t (a int REFERENCES x)",
            "CREATE TABLE t (a int REFERENCES other.x)",
            "CREATE TABLE IF NOT EXISTS t (a int REFERENCES public.x)",
            "CREATE TABLE s.t (a int REFERENCES public.x)",
            "CREATE TEMP TABLE t (a int REFERENCES public.x)",
            "CREATE TABLE t (a int REFERENCES public.x) PARTITION BY LIST (a)",
            "CREATE TABLE t (FOREIGN KEY (a) REFERENCES public.x)",
            "ALTER TABLE IF EXISTS t ADD FOREIGN KEY (a) REFERENCES public.x",
            "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES public.x NOT VALID",
            "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES public.x, ADD b int",
            "ALTER TABLE t ADD COLUMN IF NOT EXISTS a int REFERENCES public.x",
            "DO $$ BEGIN CREATE TABLE t (a int REFERENCES public.x); END $$",
            "CREATE TABLE t (a text DEFAULT 'REFERENCES public.x')",
            "CREATE TABLE t (a int, b daterange, FOREIGN KEY (a, PERIOD b) REFERENCES public.x)",
            "CREATE TABLE \"a\"\"b\" (c int REFERENCES public.x)",
            // Its name is said, or another key would have it.
            "CREATE TABLE t (a int REFERENCES public.x); COMMENT ON TABLE t IS 'see t_a_fkey'",
            "CREATE TABLE t (a int REFERENCES public.x CONSTRAINT t_a_fkey1 CHECK (a > 0))",
            "CREATE TABLE t (a int REFERENCES public.x REFERENCES y)",
            "CREATE TABLE a_b (c int REFERENCES public.x); CREATE TABLE a (b_c int REFERENCES y)",
            "CREATE TABLE t (a int CONSTRAINT kk REFERENCES public.x); CREATE INDEX kk ON t (a)",
            "CREATE TABLE a_table_with_a_name_that_is_not_so_very_short (a_column_of_it int REFERENCES public.x)",
        ] {
            assert_eq!(keys_of(&[text]), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_key_waits_for_no_statement_that_may_ask_for_it() {
        let key = "CREATE TABLE t (a int REFERENCES public.x)";
        let late = ["ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES public.x"];
        for harmless in [
            "CREATE UNIQUE INDEX ON t (a)",
            "CREATE OR REPLACE VIEW v AS SELECT 1",
            "CREATE TABLE u (a int GENERATED ALWAYS AS IDENTITY)",
            "ALTER TABLE u ADD c text, ALTER COLUMN a SET NOT NULL, ALTER b DROP DEFAULT",
            "ALTER TABLE u ADD CONSTRAINT l FOREIGN KEY (a) REFERENCES t",
            "INSERT INTO t VALUES (1)",
            "UPDATE t SET a = 1",
            "COMMENT ON COLUMN t.a IS 'x'",
            "-- nothing",
        ] {
            assert_eq!(keys_of(&[key, harmless]), late, "{harmless}");
        }
        for asking in [
            "DROP TABLE t",
            "ALTER TABLE t RENAME TO u",
            "ALTER TABLE t DROP COLUMN a",
            "ALTER TABLE t ALTER a TYPE bigint",
            "ALTER TABLE t DISABLE TRIGGER ALL",
            "ALTER TABLE p ATTACH PARTITION t FOR VALUES IN (1)",
            "CREATE TABLE u PARTITION OF t FOR VALUES IN (1)",
            "CREATE TABLE u AS SELECT 1",
            "CREATE TABLE u (a) AS SELECT 1",
            "DO $$ BEGIN NULL; END $$",
            "SELECT f()",
            "WITH u AS (SELECT 1) INSERT INTO t SELECT * FROM u",
            "DELETE FROM public.x",
            "INSERT INTO public.x VALUES (1)",
            "UPDATE public.x SET id = 2",
            "SET CONSTRAINTS ALL DEFERRED",
            "COMMENT ON CONSTRAINT l ON u IS 'x'",
            "CREATE EXTENSION citext",
            "UPDATE x SET id = id + 1",
            "INSERT INTO x VALUES (1)",
            "INSERT INTO t SELECT count(*) FROM pg_constraint",
            "UPDATE t SET a = (SELECT 1 FROM information_schema.key_column_usage)",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FROM public.x RETURNING 1'; INSERT INTO t SELECT f()",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC DELETE FROM public.x RETURNING 1; END; INSERT INTO t SELECT f()",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE public.x SET id = 1; END $$; \
             CREATE TRIGGER a AFTER INSERT ON t EXECUTE FUNCTION f(); INSERT INTO t VALUES (1)",
            "CREATE RULE r AS ON INSERT TO t DO ALSO DELETE FROM public.x; INSERT INTO t VALUES (1)",
        ] {
            assert_eq!(keys_of(&[key, asking]), [""; 0], "{asking}");
            let both = last(
                &[key, asking, "ALTER TABLE t ADD b int REFERENCES public.y"],
                |schema| schema == "public",
            )
            .expect(asking);
            assert!(both.texts[1].contains(late[0]), "{asking}: {both:?}");
            assert_eq!(
                both.keys,
                ["ALTER TABLE t ADD FOREIGN KEY (b) REFERENCES public.y"]
            );
        }
    }
}
