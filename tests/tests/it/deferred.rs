//! What runs at the end of a transaction runs in the scope that the transaction is in.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::Text;

use crate::isolation::{Hotels, MODES};
use crate::support::{insert_room, name, rooms, rooms_of, strings};

#[derive(QueryableByName)]
struct Fetched {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Reads another tenant's rooms, for a while.
fn look_aside(conn: &mut tenant_schemas::TenantConnection) -> QueryResult<()> {
    conn.with_schema(&name("globex"), |conn| {
        assert_eq!(rooms_of(conn), ["Red"]);
        Ok(())
    })
}

#[test]
fn c24_a_deferred_trigger_runs_in_the_scope_of_its_transaction() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        for schema in ["acme", "globex"] {
            hotels
                .db
                .raw()
                .batch_execute(&format!("CREATE TABLE {schema}.log (line text)"))
                .expect("a table");
        }
        let mut conn = hotels.acme();
        conn.batch_execute(
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO log SELECT string_agg(name, '+' ORDER BY id) FROM rooms; RETURN NULL; END $$; \
             CREATE CONSTRAINT TRIGGER note AFTER INSERT ON rooms DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .expect("a trigger");
        conn.transaction(|conn| {
            insert_room(conn, 2, "Grey");
            look_aside(conn)
        })
        .expect("committed");
        conn.transaction(|conn| {
            conn.transaction(|conn| {
                insert_room(conn, 3, "Pink");
                Ok::<_, DieselError>(())
            })?;
            conn.with_public(|conn| {
                assert_eq!(strings(conn, "SELECT 'x' AS value"), ["x"]);
                Ok::<_, DieselError>(())
            })
        })
        .expect("committed");
        let log = strings(&mut conn, "SELECT line AS value FROM log ORDER BY 1");
        assert_eq!(log, ["Blue+Grey", "Blue+Grey+Pink"], "{mode:?}");
        drop(conn);
        let log = strings(&mut hotels.globex(), "SELECT line AS value FROM log");
        assert_eq!(log, [""; 0], "{mode:?}");
    }
}

#[test]
fn c24_a_cursor_that_outlives_its_transaction_is_filled_in_the_scope_of_it() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        let mut conn = hotels.acme();
        conn.batch_execute(
            "CREATE FUNCTION name_of(wanted int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN \
             RETURN (SELECT name FROM rooms WHERE id = wanted); END $$",
        )
        .expect("a function");
        conn.transaction(|conn| {
            conn.batch_execute(
                "DECLARE c CURSOR WITH HOLD FOR SELECT name_of(id) AS line FROM rooms",
            )?;
            look_aside(conn)
        })
        .expect("committed");
        let fetched: Vec<Fetched> = diesel::sql_query("FETCH ALL FROM c")
            .load(&mut conn)
            .expect("fetched");
        assert_eq!(fetched[0].line, "Blue", "{mode:?}");
    }
}

#[test]
fn c24_a_transaction_that_failed_in_a_nested_scope_is_rolled_back_and_the_connection_of_use() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        let mut conn = hotels.acme();
        let ended: Result<(), DieselError> = conn.transaction(|conn| {
            insert_room(conn, 2, "Grey");
            let _ = conn.with_schema(&name("globex"), |conn| conn.batch_execute("SELECT 1/0"));
            Ok(())
        });
        assert!(ended.is_ok(), "as Diesel says it: {ended:?}");
        assert_eq!(rooms_of(&mut conn), ["Blue"], "{mode:?}");
        // Diesel does not hear of this failure.
        let ended: Result<(), DieselError> = conn.transaction(|conn| {
            insert_room(conn, 2, "Grey");
            let failed = conn.with_schema(&name("globex"), |conn| {
                let rows = [(rooms::id.eq(1), rooms::name.eq("Red"))];
                let copy = diesel::copy_from(rooms::table).from_insertable(&rows[..]);
                copy.execute(conn).map(drop)
            });
            failed.expect_err("the key is there");
            Ok(())
        });
        ended.expect_err("it was rolled back");
        assert_eq!(rooms_of(&mut conn), ["Blue"], "{mode:?}");
        conn.transaction(|conn| {
            insert_room(conn, 2, "Grey");
            Ok::<_, DieselError>(())
        })
        .expect("committed");
        assert_eq!(rooms_of(&mut conn), ["Blue", "Grey"], "{mode:?}");
    }
}
